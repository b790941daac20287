#ifndef OPENMMNNP_CHECK_OUTPUTS_H_
#define OPENMMNNP_CHECK_OUTPUTS_H_

#include "model/Model.h"
#include <string>

namespace openmmnnp {

// Is an output of a model of the dtype and shape that is needed?  Only what the view says of itself is looked at, not
// the numbers, which may lie on a device.  All throw ModelError: what was returned, what is needed.

/** One number, float32 or float64, of any rank. */
void checkEnergyOutput(const TensorView& output);
/** One number for each particle, float32 or float64, [n] or [n][1]. */
void checkAtomicEnergyOutput(const TensorView& output, int numParticles);
/** [n][3], float32 or float64. */
void checkForcesOutput(const TensorView& output, int numParticles);
/** [m][3], float32 or float64, padding included. */
void checkMMForcesOutput(const TensorView& output, int numCharges);
/** One number, float32 or float64, of any rank. */
void checkDerivativeOutput(const TensorView& output, const std::string& name);
/** Any shape; float32, float64, int32 or int64. */
void checkExtraOutput(const TensorView& output, const std::string& name);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_OUTPUTS_H_
