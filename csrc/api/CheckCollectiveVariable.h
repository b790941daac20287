#ifndef OPENMMNNP_CHECK_COLLECTIVE_VARIABLE_H_
#define OPENMMNNP_CHECK_COLLECTIVE_VARIABLE_H_

#include "openmmnnp/NNPForce.h"

namespace openmmnnp {

/** Throws ModelError if the model cannot give the force's collective variable, or gives nothing but such. */
void checkCollectiveVariable(const NNPForce& force);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_COLLECTIVE_VARIABLE_H_
