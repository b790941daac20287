#ifndef OPENMMNNP_FAILURE_CHECK_H_
#define OPENMMNNP_FAILURE_CHECK_H_

#include "platforms/ForceEvaluation.h"
#include "platforms/cuda/CudaHandles.h"
#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeKernel.h>
#include <openmm/cuda/CudaContext.h>

namespace openmmnnp {

/**
 * Finds on the device that an evaluation went wrong, without making the host wait for each: a kernel looks at the
 * results before they are added to OpenMM's, and tells the host through page-locked memory.
 *
 * OpenMM's context must be current in all calls and for the constructor.
 */
class FailureCheck {
public:
    /** What the kernel looks at; the arrays must outlive this object. */
    struct Arrays {
        OpenMM::ComputeArray &positions, &forces, &energy, &derivatives;
        OpenMM::ComputeArray* chargeForces; // null if there are no charges outside
    };
    FailureCheck(OpenMM::CudaContext& context, const ForceEvaluation& evaluation, const Arrays& arrays);
    FailureCheck(const FailureCheck&) = delete;
    FailureCheck& operator=(const FailureCheck&) = delete;
    /** Enqueue the check of an evaluation with so many charges outside.  A component of a force must be below the
        limit, in the model's unit. */
    void enqueue(long long evaluation, int numCharges, bool withForces, double forceLimit);
    /** Wait until at most one check is still to be done, so that the host is at most two evaluations ahead. */
    void waitForOlder() const;
    /** Wait for the last check. */
    void waitForLast() const;
    /** Throw the ModelError of the first evaluation that was found wrong, if one was found so far. */
    void throwIfFailed(DeviceEvaluation& evaluation);
    /** Energy and derivatives [1 + k] of the evaluation whose check was waited for, in the model's unit. */
    const double* getResults() const {
        return static_cast<const double*>(pinned.getHost()) + 1;
    }

private:
    void compile(const Arrays& arrays, bool modelIsDouble);

    OpenMM::CudaContext& context;
    const int numParticles, numDerivatives;
    int blockSize;
    PinnedMemory pinned; // int flag, padded to 8 bytes; energy; derivatives
    OpenMM::ComputeArray lastEnergies, failed, kept;
    OpenMM::ComputeKernel kernel;
    CudaMark marks[2]; // after the last check and the one before it
    long long numChecks = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_FAILURE_CHECK_H_
