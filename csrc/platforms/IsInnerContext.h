#ifndef OPENMMNNP_IS_INNER_CONTEXT_H_
#define OPENMMNNP_IS_INNER_CONTEXT_H_

#include "openmmnnp/ModelSpec.h"
#include <openmm/internal/ContextImpl.h>

namespace openmmnnp {

/**
 * Does the Context belong to a CustomCVForce or an ATMForce?
 *
 * OpenMM does not say.  It is recognized by what CustomCVForceImpl and ATMForceImpl hold: their System(s) and then
 * their VerletIntegrator(s) of 1 ps, side by side in memory.
 */
OPENMMNNP_EXPORT bool isInnerContext(OpenMM::ContextImpl& context);

} // namespace openmmnnp

#endif // OPENMMNNP_IS_INNER_CONTEXT_H_
