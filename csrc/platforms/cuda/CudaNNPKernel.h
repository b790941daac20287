#ifndef OPENMMNNP_CUDA_NNP_KERNEL_H_
#define OPENMMNNP_CUDA_NNP_KERNEL_H_

#include "platforms/common/CommonNNPKernel.h"
#include "platforms/cuda/CudaHandles.h"
#include "platforms/cuda/FailureCheck.h"
#include "platforms/cuda/PinnedNumbers.h"
#include <openmm/cuda/CudaContext.h>

namespace openmmnnp {

/**
 * NNPForce on CUDA: the model runs on the device that the Context runs on, and positions and forces stay there.
 *
 * OpenMM has a CUDA context of its own, torch uses the primary one of the device.  Gather runs on OpenMM's stream; the
 * model runs on a stream of the primary context that waits for it, and OpenMM's stream waits for the model before
 * scatter.  Arrays are OpenMM's: kernels of both contexts may use the memory of either.
 *
 * The host waits for nothing unless it is asked for an energy, or the model takes edges: then for their number, which
 * is there before the model has begun.
 */
class CudaNNPKernel : public CommonCalcNNPForceKernel {
public:
    CudaNNPKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ContextImpl& impl,
                  OpenMM::CudaContext& context);
    ~CudaNNPKernel() override;
    NamedOutput getOutput(const std::string& name) override;
    Diagnostics getDiagnostics() override;
    void update(const NNPForce& force) override;

protected:
    std::unique_ptr<ForceEvaluation> load(const NNPForce& force) override;
    void prepare() override;
    bool mayOverlap() const override {
        return true;
    }
    bool findsNeighborsOnDevice() const override {
        return true;
    }
    std::unique_ptr<HostNumbers> makeHostNumbers(int count) override {
        return std::make_unique<PinnedNumbers>(cuda, count);
    }
    void startEvaluate() override;
    bool finishEvaluate() override;
    void abandonEvaluate() noexcept override;
    OpenMM::ComputeArray& getForces() override {
        return forces;
    }
    OpenMM::ComputeArray& getDerivatives() override {
        return derivatives;
    }
    OpenMM::ComputeArray& getChargeForces() override {
        return chargeForces;
    }
    double getEnergy() override;

private:
    void bind();
    int countGrowths() const;
    void settle() const;
    void waitForModel() const;
    template <class T>
    T* pointerTo(OpenMM::ComputeArray& array) const;

    OpenMM::CudaContext& cuda;
    PrimaryContext primary;
    std::shared_ptr<CUstream_st> stream;              // of the primary context
    std::unique_ptr<CudaMark> gathered;               // in OpenMM's stream
    std::unique_ptr<CudaMark> evaluated;              // in ours
    OpenMM::ComputeArray forces, energy, derivatives; // double [n][3], [], [k]
    OpenMM::ComputeArray chargeForces;                // double [capacity of charges][3]
    std::unique_ptr<FailureCheck> failures;
    int boundGrowths = 0; // of the neighbor list and the charges whose arrays the model was given
};

} // namespace openmmnnp

#endif // OPENMMNNP_CUDA_NNP_KERNEL_H_
