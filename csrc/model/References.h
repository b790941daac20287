#ifndef OPENMMNNP_REFERENCES_H_
#define OPENMMNNP_REFERENCES_H_

#include "model/Model.h"

namespace openmmnnp {

/**
 * Evaluate the references of the model's spec on the real device.  Throws ModelError if the model disagrees:
 * energy within 1e-6 |E - constant| + 1e-5 n kJ/mol and forces within 1e-3 rms(F) for float32,
 * 1e-9 and 1e-7 relative for float64.
 */
void checkReferences(Model& model);

} // namespace openmmnnp

#endif // OPENMMNNP_REFERENCES_H_
