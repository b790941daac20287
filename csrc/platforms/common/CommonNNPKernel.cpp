#include "platforms/common/CommonNNPKernel.h"
#include "api/NamedErrors.h"
#include "neighbors/CheckBox.h"
#include "openmmnnp/InterpreterLock.h"
#include "openmmnnp_kernels.h"
#include "platforms/common/BondInfo.h"
#include "platforms/common/SharedDeviceNeighbors.h"
#include <algorithm>
#include <numeric>
#include <openmm/common/ContextSelector.h>

namespace openmmnnp {

class CommonCalcNNPForceKernel::PreComputation : public OpenMM::ComputeContext::ForcePreComputation {
public:
    explicit PreComputation(CommonCalcNNPForceKernel& kernel) : kernel(kernel) {}
    void computeForceAndEnergy(bool includeForces, bool includeEnergy, int groups) override {
        kernel.beginWithOthers(includeForces, includeEnergy, groups);
    }

private:
    CommonCalcNNPForceKernel& kernel;
};

class CommonCalcNNPForceKernel::PostComputation : public OpenMM::ComputeContext::ForcePostComputation {
public:
    explicit PostComputation(CommonCalcNNPForceKernel& kernel) : kernel(kernel) {}
    double computeForceAndEnergy(bool, bool, int) override {
        return kernel.finishWithOthers();
    }

private:
    CommonCalcNNPForceKernel& kernel;
};

CommonCalcNNPForceKernel::CommonCalcNNPForceKernel(const std::string& name, const OpenMM::Platform& platform,
                                                   OpenMM::ContextImpl& impl, OpenMM::ComputeContext& context)
    : CalcNNPForceKernel(name, platform), impl(impl), context(context) {}

void CommonCalcNNPForceKernel::initialize(const OpenMM::System&, const NNPForce& definition) {
    const OpenMM::ContextSelector selector(context);
    force = definition;
    groupFlag = 1 << force.getForceGroup();
    scaleParameter = std::make_unique<ScaleParameter>(force);
    evaluation = load(force);
    mapParticles();
    context.addForce(new BondInfo(force));
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        context.addEnergyParameterDerivative(force.getEnergyParameterDerivativeName(i));
    compileKernels();
    if (evaluation->getEvaluation().getInputs().takesEdges() && findsNeighborsOnDevice())
        prepareNeighbors();
    prepareCharges();
    prepare();
    overlaps = context.getNumContexts() == 1 && mayOverlap();
    if (overlaps) {
        context.addPreComputation(new PreComputation(*this));
        context.addPostComputation(new PostComputation(*this));
    }
}

void CommonCalcNNPForceKernel::mapParticles() {
    std::vector<int> indices(evaluation->getNumParticles());
    std::iota(indices.begin(), indices.end(), 0);
    if (force.usesSubset())
        indices = force.getParticles();
    links = std::make_unique<DeviceLinks>(context, indices, force.getLinkAtoms());
    for (const LinkAtom& atom : force.getLinkAtoms())
        indices.push_back(atom.mmParticle);
    particles = std::make_unique<ParticleMap>(context, indices);
}

void CommonCalcNNPForceKernel::compileKernels() {
    const bool wide = context.getSupportsDoublePrecision();
    const ModelInputs& inputs = evaluation->getEvaluation().getInputs();
    const bool modelIsDouble = inputs.getDType() == DType::Float64;
    if (modelIsDouble && !wide)
        throw ModelError("The model computes in float64, which this device cannot; export it with dtype float32, or "
                         "choose the CPU platform.");
    const int numLinks = force.getNumLinkAtoms(), numAtoms = evaluation->getNumAtoms();
    positions.initialize(context, 3 * static_cast<size_t>(numAtoms), modelIsDouble ? sizeof(double) : sizeof(float),
                         "nnpPositions");
    std::map<std::string, std::string> defines = {
        {"NUM_PARTICLES", context.intToString(evaluation->getNumParticles())},
        {"NUM_ATOMS_OF_MODEL", context.intToString(numAtoms)},
        {"PADDED_NUM_ATOMS", context.intToString(context.getPaddedNumAtoms())},
        {"MODEL_REAL", modelIsDouble ? "double" : "float"},
        {"WIDE", wide ? "double" : "float"},
        {"WIDE4", wide ? "double4" : "float4"}};
    if (!force.usesPeriodicBoundaryConditions())
        defines["UNWRAP"] = "1";
    if (numLinks > 0)
        defines["NUM_LINKS"] = context.intToString(numLinks);
    const OpenMM::ComputeProgram program = context.compileProgram(
        std::string(kernels::links) + kernels::gather + kernels::scatter + kernels::accumulate, defines);
    gatherKernel = program->createKernel("gather");
    scatterKernel = program->createKernel("scatter");
    accumulateKernel = program->createKernel("accumulate");
}

void CommonCalcNNPForceKernel::prepareNeighbors() {
    const ModelSpec& spec = evaluation->getEvaluation().getModel().getSpec();
    const EdgeLayout layout = {spec.dtype == "float64", spec.indexDtype == "int64", spec.shifts != "cell",
                               spec.shifts == "cartesian", spec.edgeCapacity};
    setBox();
    const NeighborOptions options = evaluation->getNeighborOptions();
    const double* box = evaluation->getEvaluation().getInputs().getBox().data();
    neighbors = shareDeviceNeighbors(evaluation->getNeighborPositions(), options, layout, [&] {
        return DeviceNeighbors::make(context, evaluation->getNumAtoms(), options, layout, box,
                                     makeHostNumbers(DeviceNeighbors::numNumbers));
    });
}

void CommonCalcNNPForceKernel::prepareCharges() {
    const MMCharges* mm = evaluation->getMMCharges();
    if (mm == nullptr || mm->getParticles().empty())
        return;
    const ModelInputs& inputs = evaluation->getEvaluation().getInputs();
    charges =
        std::make_unique<DeviceCharges>(context, *mm, inputs.getNumParticles(), inputs.getDType() == DType::Float64,
                                        evaluation->getLengthsPerNm(), makeHostNumbers(DeviceCharges::numNumbers));
}

double CommonCalcNNPForceKernel::execute(OpenMM::ContextImpl&, bool includeForces, bool includeEnergy, double factor) {
    if (overlaps)
        return 0; // begun by the pre-computation, and to be finished by the post-computation
    if (context.getNumContexts() > 1) {
        // OpenMM prepares each device on a thread of its own, and clears the forces there.
        const WithoutInterpreterLock unlocked;
        context.getWorkThread().flush();
    }
    begin(includeForces, includeEnergy, factor);
    return finish();
}

void CommonCalcNNPForceKernel::beginWithOthers(bool includeForces, bool includeEnergy, int groups) {
    abandon();
    if ((groups & groupFlag) == 0)
        return;
    const double factor = scaleParameter->get(impl);
    if (!scaleParameter->skips(factor))
        named(force, [&] { begin(includeForces, includeEnergy, factor); });
}

double CommonCalcNNPForceKernel::finishWithOthers() {
    return begun ? named(force, [&] { return finish(); }) : 0;
}

void CommonCalcNNPForceKernel::begin(bool includeForces, bool includeEnergy, double factor) {
    abandon();
    withForces = includeForces && factor != 0; // at 0 the energy alone is of use, for the derivative by the factor
    withEnergy = includeEnergy;
    scale = factor;
    gather();
    findNeighbors();
    chooseCharges();
    begun = true;
    startEvaluate();
}

double CommonCalcNNPForceKernel::finish() {
    if (!finishEvaluate()) {
        abandon();
        context.setForcesValid(false); // OpenMM will do the evaluation again
        return 0;
    }
    begun = false;
    scatter();
    return accumulate();
}

void CommonCalcNNPForceKernel::gather() {
    clock.start();
    const OpenMM::ContextSelector selector(context);
    if (!force.usesPeriodicBoundaryConditions())
        tornMolecules.check(impl, particles->getParticles(), !force.hasModelSpec() && !force.usesSubset());
    particles->update();
    OpenMM::Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    if (context.getSupportsDoublePrecision())
        launchGather<double, OpenMM::mm_double4>(box);
    else
        launchGather<float, OpenMM::mm_float4>(box);
    setBox();
    setParameters();
}

void CommonCalcNNPForceKernel::findNeighbors() {
    if (!neighbors)
        return;
    clock.stop(StageClock::Gather);
    const double* box = evaluation->getEvaluation().getInputs().getBox().data();
    checkBox(neighbors->getOptions(), box, evaluation->getEvaluation().getModel().getSpec().lengthUnit);
    neighbors->enqueue(positions, box);
    clock.stop(StageClock::Neighbors);
}

void CommonCalcNNPForceKernel::chooseCharges() {
    if (!charges)
        return;
    clock.stop(neighbors ? StageClock::Neighbors : StageClock::Gather);
    charges->enqueue(positions);
    clock.stop(StageClock::Neighbors);
}

bool CommonCalcNNPForceKernel::inputsFit() {
    if (charges && !charges->fits())
        return false;
    if (charges)
        evaluation->getEvaluation().getInputs().getMM()->setCount(charges->getCount());
    if (!neighbors)
        return true;
    if (!neighbors->fits())
        return false;
    evaluation->getEvaluation().getInputs().setNumEdges(neighbors->getNumEdges());
    return true;
}

template <class Real, class Real4>
void CommonCalcNNPForceKernel::launchGather(const OpenMM::Vec3 box[3]) {
    if (!gatherIsBound) {
        gatherKernel->addArg(context.getPosq());
        if (context.getUseMixedPrecision())
            gatherKernel->addArg(context.getPosqCorrection());
        gatherKernel->addArg(particles->getSlots());
        gatherKernel->addArg(particles->getCellOffsets());
        for (int i = 0; i < 4; i++)
            gatherKernel->addArg();
        gatherKernel->addArg(positions);
        links->addToGather(*gatherKernel);
        gatherIsBound = true;
    }
    int index = context.getUseMixedPrecision() ? 4 : 3;
    for (int i = 0; i < 3; i++) {
        const auto component = [&](int axis) { return static_cast<Real>(box[i][axis]); };
        gatherKernel->setArg(index++, Real4(component(0), component(1), component(2), 0));
    }
    gatherKernel->setArg(index, static_cast<Real>(evaluation->getLengthsPerNm()));
    gatherKernel->execute(evaluation->getNumAtoms());
}

void CommonCalcNNPForceKernel::setBox() {
    ModelInputs& inputs = evaluation->getEvaluation().getInputs();
    if (!inputs.hasBox())
        return;
    OpenMM::Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    double rows[9];
    for (int i = 0; i < 9; i++)
        rows[i] = box[i / 3][i % 3] * evaluation->getLengthsPerNm();
    inputs.setBox(rows);
}

void CommonCalcNNPForceKernel::setParameters() {
    ModelInputs& inputs = evaluation->getEvaluation().getInputs();
    const std::vector<std::string>& names = evaluation->getParameterNames();
    for (size_t i = 0; i < names.size(); i++)
        inputs.setParameter(static_cast<int>(i), impl.getParameters().at(names[i]));
}

void CommonCalcNNPForceKernel::scatter() {
    if (!withForces)
        return;
    const OpenMM::ContextSelector selector(context);
    if (!scatterIsBound) {
        scatterKernel->addArg(getForces());
        scatterKernel->addArg(particles->getSlots());
        scatterKernel->addArg();
        scatterKernel->addArg(context.getLongForceBuffer());
        links->addToScatter(*scatterKernel);
        scatterIsBound = true;
    }
    setReal(*scatterKernel, 2, scale * evaluation->getForceUnit());
    scatterKernel->execute(evaluation->getNumAtoms());
    if (charges)
        charges->scatter(getChargeForces(), charges->getCount(), scale * evaluation->getForceUnit());
    clock.stop(StageClock::Scatter);
}

double CommonCalcNNPForceKernel::accumulate() {
    const OpenMM::ContextSelector selector(context);
    const int count = static_cast<int>(evaluation->getDerivativeNames().size());
    if (count > 0) {
        if (!accumulateIsBound)
            bindAccumulate(count);
        setReal(*accumulateKernel, 3, scale * evaluation->getEnergyUnit());
        accumulateKernel->execute(count);
    }
    const std::string& scaleName = evaluation->getScaleDerivativeName();
    if (!scaleName.empty())
        context.getEnergyParamDerivWorkspace()[scaleName] += getEnergy();
    const double energy = withEnergy ? scale * getEnergy() : 0;
    clock.stop(StageClock::Accumulate);
    clock.countCall();
    return energy;
}

void CommonCalcNNPForceKernel::bindAccumulate(int count) {
    const std::vector<std::string>& all = context.getEnergyParamDerivNames();
    std::vector<int> indices;
    for (const std::string& name : evaluation->getDerivativeNames())
        indices.push_back(static_cast<int>(std::find(all.begin(), all.end(), name) - all.begin()));
    derivativeIndices.initialize<int>(context, indices.size(), "nnpDerivativeIndices");
    derivativeIndices.upload(indices);
    accumulateKernel->addArg(getDerivatives());
    accumulateKernel->addArg(derivativeIndices);
    accumulateKernel->addArg(count);
    accumulateKernel->addArg();
    accumulateKernel->addArg(context.getEnergyParamDerivBuffer());
    accumulateIsBound = true;
}

void CommonCalcNNPForceKernel::setReal(OpenMM::ComputeKernelImpl& kernel, int index, double value) {
    if (context.getSupportsDoublePrecision())
        kernel.setArg(index, value);
    else
        kernel.setArg(index, static_cast<float>(value));
}

void CommonCalcNNPForceKernel::abandon() noexcept {
    if (!begun)
        return;
    begun = false;
    abandonEvaluate();
    evaluation->getEvaluation().invalidate();
}

void CommonCalcNNPForceKernel::skip() {
    evaluation->skip();
}

NamedOutput CommonCalcNNPForceKernel::getOutput(const std::string& name) {
    abandon();
    return evaluation->getOutput(name);
}

Diagnostics CommonCalcNNPForceKernel::getDiagnostics() {
    abandon();
    Diagnostics diagnostics = evaluation->getDiagnostics();
    diagnostics.platform = impl.getPlatform().getName();
    diagnostics.milliseconds = clock.getMilliseconds();
    if (neighbors)
        diagnostics.listBuilds = neighbors->getNumBuilds();
    return diagnostics;
}

void CommonCalcNNPForceKernel::update(const NNPForce& definition) {
    abandon();
    evaluation->update(definition);
    if (charges)
        charges->setCharges(*evaluation->getMMCharges());
    force = definition;
}

} // namespace openmmnnp
