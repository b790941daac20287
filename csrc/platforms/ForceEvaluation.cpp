#include "platforms/ForceEvaluation.h"
#include "api/CheckForce.h"
#include "api/CompareForces.h"
#include "api/LinkAtoms.h"
#include "api/ParticleTypes.h"
#include "model/ModelFile.h"
#include <algorithm>

namespace openmmnnp {

namespace {

std::string join(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names)
        text += (text.empty() ? "" : ", ") + name;
    return text.empty() ? "none" : text;
}

void checkSameInterface(const Model& now, const Model& next) {
    const ModelSpec &a = now.getSpec(), &b = next.getSpec();
    if (a.inputs != b.inputs || a.outputs != b.outputs)
        throw ModelError("The new model takes " + join(b.inputs) + " and gives " + join(b.outputs) +
                         ", but the model in the Context takes " + join(a.inputs) + " and gives " + join(a.outputs) +
                         "; make a new Context for it.");
    if (a.dtype != b.dtype)
        throw ModelError("The new model computes in " + b.dtype + ", but the model in the Context computes in " +
                         a.dtype + "; make a new Context for it.");
    if (a.cutoff != b.cutoff)
        throw ModelError("The new model has another cutoff than the model in the Context; make a new Context for it.");
    if (a.edges != b.edges || a.shifts != b.shifts || a.indexDtype != b.indexDtype || a.smallBox != b.smallBox ||
        a.edgeCapacity != b.edgeCapacity || a.lengthUnit != b.lengthUnit)
        throw ModelError("The new model takes other edges than the model in the Context (edges, shifts, index_dtype, "
                         "edge_capacity, small_box or length_unit); make a new Context for it.");
}

NeighborOptions neighborOptions(const NNPForce& force, const ModelSpec& spec) {
    NeighborOptions options;
    options.cutoff = spec.cutoff.value_or(0);
    options.skin = std::min(force.getSkin() / spec.getLengthInNm(), options.cutoff);
    options.full = spec.edges == "full";
    options.periodic = force.usesPeriodicBoundaryConditions();
    options.images = spec.smallBox == "images";
    return options;
}

} // namespace

ForceEvaluation::ForceEvaluation(const NNPForce& original, const OpenMM::ContextImpl& context,
                                 const std::string& device, const std::string& contractDtype, bool listOnHost,
                                 int computeCapability)
    : force(original), context(context), device(device), contractDtype(contractDtype), listOnHost(listOnHost),
      computeCapability(computeCapability),
      numParticles(force.usesSubset() ? static_cast<int>(force.getParticles().size())
                                      : context.getSystem().getNumParticles()) {
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++) {
        const std::string& name = force.getEnergyParameterDerivativeName(i);
        if (name == force.getScaleParameter())
            scaleDerivativeName = name;
        else
            derivativeNames.push_back(name);
    }
    adopt(force, makeEvaluation(force, load(force)));
    parameterNames = evaluation->getModel().getSpec().getParameterNames();
}

void ForceEvaluation::update(const NNPForce& newForce) {
    if (!sameStructure(force, newForce))
        throw ModelError(
            "updateParametersInContext() changes the model, atomic numbers, types, charge and "
            "multiplicity, but something else of the force was changed "
            "(name, particles, link atoms, bonds, periodicity, global parameters, skin, device neighbors); "
            "call reinitialize() of the Context, or make a new one.");
    checkForce(newForce, context.getSystem());
    std::shared_ptr<Model> model = load(newForce);
    checkSameInterface(evaluation->getModel(), *model);
    adopt(newForce, makeEvaluation(newForce, std::move(model)));
}

std::shared_ptr<Model> ForceEvaluation::load(const NNPForce& source) const {
    LoadOptions options;
    options.device = device;
    options.computeCapability = computeCapability;
    options.checkReferences = source.getCheckReferences();
    options.dtype = contractDtype;
    options.periodic = source.usesPeriodicBoundaryConditions();
    options.outputsForces = source.getOutputsForces();
    for (int i = 0; i < source.getNumGlobalParameters(); i++)
        options.parameters.push_back(source.getGlobalParameterName(i));
    return loadModel(*source.getModel(), options);
}

std::unique_ptr<Evaluation> ForceEvaluation::makeEvaluation(const NNPForce& source,
                                                            std::shared_ptr<Model> model) const {
    std::unique_ptr<Evaluation> made;
    if (model->getDevice().isCuda)
        made =
            std::make_unique<DeviceEvaluation>(std::move(model), getNumAtoms(), source.getParticles(), derivativeNames);
    else
        made = std::make_unique<Evaluation>(std::move(model), getNumAtoms(), source.getParticles(), derivativeNames);
    ModelInputs& inputs = made->getInputs();
    inputs.setPeriodic(source.usesPeriodicBoundaryConditions());
    const ModelSpec& spec = made->getModel().getSpec();
    if (inputs.takesEdges() && listOnHost)
        made->setNeighbors(shareNeighbors(getNeighborPositions(spec), neighborOptions(source, spec)));
    inputs.setIntegers("atomic_numbers", modelAtomicNumbers(source));
    if (spec.hasInput("types"))
        inputs.setIntegers("types", particleTypes(source, spec));
    inputs.setIntegers("charge", {source.getCharge()});
    inputs.setIntegers("multiplicity", {source.getMultiplicity()});
    return made;
}

void ForceEvaluation::adopt(const NNPForce& newForce, std::unique_ptr<Evaluation> newEvaluation) {
    const ModelSpec& spec = newEvaluation->getModel().getSpec();
    const double newConstant = spec.getConstantEnergy(modelAtomicNumbers(newForce)) * spec.getEnergyInKJPerMol();
    lengthsPerNm = 1 / spec.getLengthInNm();
    energyUnit = spec.getEnergyInKJPerMol();
    constantEnergy = newConstant;
    evaluation = std::move(newEvaluation);
    force = newForce;
}

NeighborOptions ForceEvaluation::getNeighborOptions() const {
    return neighborOptions(force, evaluation->getModel().getSpec());
}

NeighborPositions ForceEvaluation::getNeighborPositions(const ModelSpec& spec) const {
    return {&context, force.getParticles(), force.getLinkAtoms(), spec.lengthUnit, spec.dtype};
}

NeighborPositions ForceEvaluation::getNeighborPositions() const {
    return getNeighborPositions(evaluation->getModel().getSpec());
}

void ForceEvaluation::skip() {
    skipped = true;
    numSkipped++;
}

void ForceEvaluation::run(bool withForces) {
    skipped = false;
    evaluation->run(withForces);
}

NamedOutput ForceEvaluation::getOutput(const std::string& name) const {
    const ModelSpec& spec = evaluation->getModel().getSpec();
    const Evaluation::Extra* extra = evaluation->findExtra(name);
    if (extra == nullptr && name != "energy" && spec.hasOutput(name))
        throw ModelError("The output '" + name +
                         "' is not kept by name: ask the Context, getState(forces=True, parameterDerivatives=True).");
    if (extra == nullptr && name != "energy")
        throw ModelError("The model has no output '" + name + "'; it gives " + join(spec.outputs) + ".");
    if (skipped)
        throw ModelError("The output '" + name +
                         "' does not exist: the last evaluation was skipped, because the scale parameter '" +
                         force.getScaleParameter() + "' is 0.");
    if (!evaluation->isValid())
        throw ModelError("The output '" + name +
                         "' does not exist: the model was not evaluated yet, or not to the end. Ask the Context for "
                         "the energy or the forces first.");
    if (extra == nullptr)
        return {{getEnergy() / energyUnit}, {}, spec.energyUnit};
    const auto unit = spec.outputUnits.find(name);
    return {extra->values, extra->shape, unit == spec.outputUnits.end() ? "" : unit->second};
}

Diagnostics ForceEvaluation::getDiagnostics() const {
    const Model& model = evaluation->getModel();
    const ModelSpec& spec = model.getSpec();
    Diagnostics diagnostics;
    diagnostics.device = device;
    diagnostics.dtype = spec.dtype;
    diagnostics.lengthUnit = spec.lengthUnit;
    diagnostics.energyUnit = spec.energyUnit;
    diagnostics.modelName = spec.name;
    diagnostics.modelPath = force.getModelPath();
    diagnostics.modelHash = force.getModelHash();
    diagnostics.modelFormat =
        force.getModel()->getFormat() == ModelFile::Format::AotInductor ? "AOTInductor" : "TorchScript";
    diagnostics.license = spec.license;
    diagnostics.torchVersion = model.getTorchVersion();
    diagnostics.energyOffset = constantEnergy;
    diagnostics.particles = numParticles;
    diagnostics.linkAtoms = force.getNumLinkAtoms();
    diagnostics.edges = evaluation->getInputs().getNumEdges();
    diagnostics.listBuilds = evaluation->getNumListBuilds();
    diagnostics.threads = model.getNumThreads();
    diagnostics.cudaGraphReason = "the model runs on the CPU";
    if (model.getDevice().isCuda) {
        const auto& onDevice = static_cast<const DeviceEvaluation&>(*evaluation);
        diagnostics.cudaGraph = onDevice.isCaptured();
        diagnostics.cudaGraphReason = onDevice.getGraphReason();
    }
    diagnostics.evaluations = evaluation->getNumEvaluations();
    diagnostics.reused = evaluation->getNumReused();
    diagnostics.skipped = numSkipped;
    return diagnostics;
}

} // namespace openmmnnp
