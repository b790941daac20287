#ifndef OPENMMNNP_CHECK_FORCE_H_
#define OPENMMNNP_CHECK_FORCE_H_

#include "openmmnnp/NNPForce.h"
#include <openmm/System.h>

namespace openmmnnp {

/** Does the force fit the System and the model's spec?  Throws ModelError: what was given, what is needed, what to do.
 */
void checkForce(const NNPForce& force, const OpenMM::System& system);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_FORCE_H_
