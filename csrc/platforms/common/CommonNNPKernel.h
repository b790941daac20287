#ifndef OPENMMNNP_COMMON_NNP_KERNEL_H_
#define OPENMMNNP_COMMON_NNP_KERNEL_H_

#include "api/NNPKernel.h"
#include "api/ScaleParameter.h"
#include "platforms/ForceEvaluation.h"
#include "platforms/StageClock.h"
#include "platforms/common/DeviceLinks.h"
#include "platforms/common/DeviceNeighbors.h"
#include "platforms/common/InnerContext.h"
#include "platforms/common/ParticleMap.h"
#include <memory>
#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeContext.h>
#include <openmm/common/ComputeKernel.h>
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * NNPForce on platforms with a device: OpenCL and CUDA.  It leads an evaluation through its stages; a subclass says
 * where the model runs.
 *
 * Where OpenMM allows it, an evaluation begins before OpenMM computes its own forces and finishes after them, so that
 * both run at the same time.
 */
class CommonCalcNNPForceKernel : public CalcNNPForceKernel {
public:
    CommonCalcNNPForceKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ContextImpl& impl,
                             OpenMM::ComputeContext& context);
    void initialize(const OpenMM::System& system, const NNPForce& force) override;
    double execute(OpenMM::ContextImpl& impl, bool includeForces, bool includeEnergy, double scale) override;
    void skip() override;
    NamedOutput getOutput(const std::string& name) override;
    Diagnostics getDiagnostics() override;
    void update(const NNPForce& force) override;

protected:
    /** Load the model and return what evaluates it; called once, before the kernels are compiled. */
    virtual std::unique_ptr<ForceEvaluation> load(const NNPForce& force) = 0;
    /** Set up what the subclass needs, after the kernels were compiled. */
    virtual void prepare() = 0;
    /** Whether an evaluation may begin before OpenMM's own forces and finish after them. */
    virtual bool mayOverlap() const = 0;
    /** Whether the neighbors stage is done by kernels, for a model that takes edges. */
    virtual bool findsNeighborsOnDevice() const = 0;
    virtual std::unique_ptr<HostNumbers> makeHostNumbers(int count) = 0;
    /** Stage evaluate: start it.  Gather and, if they are found on the device, neighbors were enqueued. */
    virtual void startEvaluate() = 0;
    /** Wait until the results can be used by what is enqueued next; throw what went wrong.  False if !edgesFit(). */
    virtual bool finishEvaluate() = 0;
    /** The model's forces [n][3] and derivatives [k] on the device, for the kernels scatter and accumulate. */
    virtual OpenMM::ComputeArray& getForces() = 0;
    virtual OpenMM::ComputeArray& getDerivatives() = 0;
    /** The energy in kJ/mol with its constant part, not scaled. */
    virtual double getEnergy() = 0;
    /** Give up an evaluation that was started; throws nothing. */
    virtual void abandonEvaluate() noexcept = 0;
    /** Wait for the number of edges, if they are found on the device.  False: the evaluation is void, and must be done
        again with more room. */
    bool edgesFit();
    /** Call from the destructor of the subclass: ends an evaluation that an error elsewhere left unfinished. */
    void abandon() noexcept;
    /** Whether evaluations begin before OpenMM's own forces: mayOverlap(), and a single device. */
    bool overlapsOthers() const {
        return overlaps;
    }

    OpenMM::ContextImpl& impl;
    OpenMM::ComputeContext& context;
    NNPForce force; // as it was when the Context was created or last updated
    std::unique_ptr<ForceEvaluation> evaluation;
    OpenMM::ComputeArray positions;              // [n][3] of the model's dtype and length unit, with link atoms
    std::shared_ptr<DeviceNeighbors> neighbors;  // null if they are not found on the device
    bool withForces = false, withEnergy = false; // what the evaluation that was begun is asked for
    double scale = 1;                            // by which its energy and forces are multiplied
    StageClock clock;

private:
    class PreComputation;
    class PostComputation;
    void mapParticles();
    void compileKernels();
    void prepareNeighbors();
    void begin(bool includeForces, bool includeEnergy, double factor);
    double finish();
    void beginWithOthers(bool includeForces, bool includeEnergy, int groups);
    double finishWithOthers();
    void gather();
    void findNeighbors();
    template <class Real, class Real4>
    void launchGather(const OpenMM::Vec3 box[3]);
    void setBox();
    void setParameters();
    void scatter();
    double accumulate();
    void bindAccumulate(int count);
    void setReal(OpenMM::ComputeKernelImpl& kernel, int index, double value);

    int groupFlag = 0; // of the Context's copy, which a CustomCVForce gives a group of its own
    std::unique_ptr<ScaleParameter> scaleParameter;
    std::unique_ptr<ParticleMap> particles; // of the force, then those of the link atoms outside
    std::unique_ptr<DeviceLinks> links;
    TornMolecules tornMolecules;
    OpenMM::ComputeKernel gatherKernel, scatterKernel, accumulateKernel;
    OpenMM::ComputeArray derivativeIndices;
    bool gatherIsBound = false, scatterIsBound = false, accumulateIsBound = false;
    bool overlaps = false, begun = false;
};

} // namespace openmmnnp

#endif // OPENMMNNP_COMMON_NNP_KERNEL_H_
