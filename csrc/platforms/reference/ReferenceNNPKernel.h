#ifndef OPENMMNNP_REFERENCE_NNP_KERNEL_H_
#define OPENMMNNP_REFERENCE_NNP_KERNEL_H_

#include "api/NNPKernel.h"
#include "platforms/ForceEvaluation.h"
#include "platforms/StageClock.h"
#include "platforms/reference/HostLinks.h"
#include <memory>

namespace openmmnnp {

/** NNPForce on the Reference and CPU platforms. */
class ReferenceCalcNNPForceKernel : public CalcNNPForceKernel {
public:
    ReferenceCalcNNPForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ContextImpl& context)
        : CalcNNPForceKernel(name, platform), context(context) {}
    void initialize(const OpenMM::System& system, const NNPForce& force) override;
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy, double scale) override;
    void skip() override;
    NamedOutput getOutput(const std::string& name) override;
    Diagnostics getDiagnostics() override;
    void update(const NNPForce& force) override;

private:
    void gatherInputs();
    template <class Real>
    void gatherPositions();
    void scatterForces(double scale);

    OpenMM::ContextImpl& context;
    std::string platformName;
    std::unique_ptr<ForceEvaluation> force;
    std::unique_ptr<HostLinks> links;
    StageClock clock;
};

} // namespace openmmnnp

#endif // OPENMMNNP_REFERENCE_NNP_KERNEL_H_
