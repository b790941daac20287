#include "model/DeviceEvaluate.h"
#include "model/CheckOutputs.h"
#include "model/TorchScope.h"
#include "openmmnnp/InterpreterLock.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

namespace {

/** How far a replayed graph may be from the plain evaluation. */
struct Tolerance {
    double energyRelative, energyPerParticle, force; // energyPerParticle in kJ/mol; force relative to their rms
};

constexpr Tolerance singleTolerance = {1e-6, 1e-5, 1e-5};
constexpr Tolerance doubleTolerance = {1e-9, 0, 1e-9};
constexpr double floorOfNumbers = 1e-9; // in kJ/mol (/nm): a result of zero has no relative error

double rms(const double* a, const double* b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += std::pow(a[i] - (b ? b[i] : 0), 2);
    return std::sqrt(sum / std::max<size_t>(count, 1));
}

/** Copy device memory to the host and wait for it; within a TorchScope. */
void downloadTo(void* target, void* source, DType dtype, int64_t count, const ModelDevice& device) {
    TorchTensor host = TorchTensor::wrap(TensorView::contiguous(target, dtype, {count}), {});
    host.copyFrom(TorchTensor::wrap(TensorView::contiguous(source, dtype, {count}), device));
}

} // namespace

DeviceEvaluation::DeviceEvaluation(std::shared_ptr<Model> sharedModel, int numParticles,
                                   std::vector<int> particleIndices, const std::vector<std::string>& derivativeNames,
                                   const Component& chosen)
    : Evaluation(std::move(sharedModel), numParticles, std::move(particleIndices), derivativeNames, chosen),
      ownInputs(model->getSpec().inputs.size()), deviceViews(ownInputs.size()), extraTensors(extras.size()) {
    if (sumsEnergy)
        throw ModelError("The model gives the energy of each particle ('atomic_energy') and not their sum, which a "
                         "CUDA device needs. Compile it with an output for the energy (nequip-compile --target ase).");
}

DeviceEvaluation::~DeviceEvaluation() = default;

void DeviceEvaluation::bind(const Memory& where, void* onStream, std::unique_ptr<GraphReplay> newReplay) {
    invalidate();
    memory = where;
    stream = onStream;
    replay = std::move(newReplay);
    const TorchScope scope(model->getDevice(), stream);
    for (size_t i = 0; i < deviceViews.size(); i++)
        deviceViews[i] = viewOf(i);
    inputs.remember();
}

TensorView DeviceEvaluation::viewOf(size_t i) {
    const TensorView& view = inputs.getViews()[i];
    const std::string& name = model->getSpec().inputs[i];
    if (name == "positions")
        return view.sameShape(memory.positions, view.dtype);
    if (name == "edges" && memory.edges != nullptr)
        return TensorView::contiguous(memory.edges, view.dtype, {2, memory.edgeCapacity});
    if (name == "shifts" && memory.shifts != nullptr)
        return TensorView::contiguous(memory.shifts, view.dtype, {memory.edgeCapacity, 3});
    if (name == "mm_positions" && memory.mmPositions != nullptr)
        return TensorView::contiguous(memory.mmPositions, view.dtype, {memory.mmCapacity, 3});
    if (name == "mm_charges" && memory.mmCharges != nullptr)
        return TensorView::contiguous(memory.mmCharges, view.dtype, {memory.mmCapacity});
    // Each in memory of its own: compiled kernels are fastest where data begin at a multiple of 16 bytes.
    if (!ownInputs[i].isDefined())
        ownInputs[i] = TorchTensor::allocateLike(view, view.dtype, model->getDevice());
    upload(i);
    return ownInputs[i].view();
}

void DeviceEvaluation::upload(size_t input) {
    ownInputs[input].copyFrom(TorchTensor::wrap(inputs.getViews()[input], {}), false);
}

/** Box and parameters, if they are not those of the last evaluation; positions on the host take no part. */
void DeviceEvaluation::uploadChanged() {
    if (inputs.equalLast())
        return;
    const TorchScope scope(model->getDevice(), stream);
    for (size_t i = 0; i < ownInputs.size(); i++)
        if (ownInputs[i].isDefined() && inputs.isInBlock(i))
            upload(i);
    inputs.remember();
}

void DeviceEvaluation::run(bool forcesWanted) {
    if (memory.positions == nullptr)
        throw ModelError("The memory for the model's inputs and results could not be set up; make a new Context.");
    valid = false;
    withForces = forcesWanted;
    // A graph always holds the forces: replaying it costs less than enqueuing the energy alone.
    wantsForces = forcesWanted || (replay != nullptr && replay->isPossible());
    {
        const WithoutInterpreterLock unlocked;
        uploadChanged();
        if (replay != nullptr)
            replay->run(*this, stream);
        else
            enqueue();
    }
    numEvaluations++;
    valid = true;
}

void DeviceEvaluation::enqueue() {
    model->evaluate(deviceViews, request(wantsForces, stream), *this);
}

void DeviceEvaluation::read(const std::vector<TensorView>& outputs) {
    if (wantsForces) {
        const TensorView ours = component.of(outputs[forcesOutput], 2);
        checkForcesOutput(ours, inputs.getNumParticles());
        copyResult(forcesOutput, ours, memory.forces);
    }
    if (wantsForces && mmForcesOutput >= 0) {
        checkMMForcesOutput(outputs[mmForcesOutput], static_cast<int>(getNumPassedCharges()));
        if (memory.mmForces != nullptr)
            copyResult(mmForcesOutput, outputs[mmForcesOutput], memory.mmForces);
    }
    const TensorView ours = component.of(outputs[energyOutput], 0);
    checkEnergyOutput(ours);
    copyResult(energyOutput, ours, memory.energy);
    for (size_t i = 0; i < derivatives.size(); i++) {
        const int output = derivativeOutputs[i];
        checkDerivativeOutput(outputs[output], model->getOutputNames()[output]);
        copyResult(output, outputs[output], memory.derivatives + i);
    }
    for (size_t i = 0; i < extras.size(); i++)
        copyExtra(i, outputs[extras[i].output]);
}

/** With padding; on the host where the device has no arrays of the caller's. */
int64_t DeviceEvaluation::getNumPassedCharges() const {
    return memory.mmPositions != nullptr ? memory.mmCapacity : inputs.getMM() ? inputs.getMM()->getNumPassed() : 0;
}

void DeviceEvaluation::copyResult(int output, const TensorView& view, double* target) {
    const TensorView place = view.sameShape(target, DType::Float64);
    if (component.isEnergy())
        model->copyOutput(output, place);
    else // a part of the output
        TorchTensor::wrap(place, model->getDevice()).copyFrom(TorchTensor::wrap(view, model->getDevice()), false);
}

void DeviceEvaluation::copyExtra(size_t index, const TensorView& view) {
    Extra& extra = extras[index];
    checkExtraOutput(view, extra.name);
    TorchTensor& tensor = extraTensors[index];
    if (!tensor.isDefined() || !tensor.view().hasShapeOf(view)) {
        tensor = TorchTensor::allocateLike(view, DType::Float64, model->getDevice());
        extra.shape.assign(view.sizes, view.sizes + view.rank);
    }
    model->copyOutput(extra.output, tensor.view());
}

const Evaluation::Extra* DeviceEvaluation::findExtra(const std::string& name) {
    if (valid && extrasAreFrom != numEvaluations) {
        const TorchScope scope(model->getDevice(), stream);
        for (size_t i = 0; i < extras.size(); i++) {
            const TensorView view = extraTensors[i].view();
            extras[i].values.resize(view.count());
            downloadTo(extras[i].values.data(), view.data, DType::Float64, view.count(), model->getDevice());
        }
        extrasAreFrom = numEvaluations;
    }
    return Evaluation::findExtra(name);
}

/** Energy, derivatives, forces, forces on charges. */
std::vector<double> DeviceEvaluation::download() {
    const TorchScope scope(model->getDevice(), stream);
    const ModelDevice& device = model->getDevice();
    const size_t first = 1 + derivatives.size(), numForces = wantsForces ? forces.size() : 0;
    const size_t numMM = wantsForces && memory.mmForces != nullptr ? 3 * getNumPassedCharges() : 0;
    std::vector<double> values(first + numForces + numMM);
    downloadTo(values.data(), memory.energy, DType::Float64, 1, device);
    if (!derivatives.empty())
        downloadTo(values.data() + 1, memory.derivatives, DType::Float64, derivatives.size(), device);
    if (wantsForces)
        downloadTo(values.data() + first, memory.forces, DType::Float64, numForces, device);
    if (numMM > 0)
        downloadTo(values.data() + first + numForces, memory.mmForces, DType::Float64, numMM, device);
    return values;
}

void DeviceEvaluation::waitForResults() {
    const std::vector<double> values = download();
    adopt(values.data());
    if (withForces) {
        const auto begin = values.begin() + static_cast<std::ptrdiff_t>(1 + derivatives.size());
        std::copy_n(begin, forces.size(), forces.begin());
        mmForces.assign(begin + static_cast<std::ptrdiff_t>(forces.size()), values.end());
        if (inputs.getMM() != nullptr)
            mmForces.resize(std::min(mmForces.size(), 3 * static_cast<size_t>(inputs.getMM()->getCount())));
    }
    checkFinite(numEvaluations);
    keepEnergy(numEvaluations);
}

void DeviceEvaluation::adopt(const double* energyAndDerivatives) {
    energy = energyAndDerivatives[0];
    std::copy_n(energyAndDerivatives + 1, derivatives.size(), derivatives.begin());
}

void DeviceEvaluation::discard() {
    if (valid)
        numEvaluations--;
    invalidate();
}

void DeviceEvaluation::throwFailure(const Failure& failure) {
    withForces = failure.withForces;
    energy = failure.energy;
    std::copy_n(failure.derivatives, derivatives.size(), derivatives.begin());
    std::copy_n(failure.forces, forces.size(), forces.begin());
    inputs.setPositions(failure.positions);
    std::copy_n(failure.lastEnergies, numLastEnergies, lastEnergies.begin());
    numEvaluations = failure.evaluation - 1;
    invalidate();
    checkPositions();
    checkFinite(failure.evaluation);
    if (failure.charge >= 0)
        fail("force on the MM charge " + std::to_string(failure.charge) +
                 " of those near, in ascending order of particles, is not finite or larger than OpenMM's fixed-point "
                 "numbers can hold on this platform,",
             -1, failure.evaluation);
    if (withForces)
        checkForcesBelow(failure.forceLimit, failure.evaluation);
    fail("results were found wrong on the device", -1, failure.evaluation);
}

std::string DeviceEvaluation::compare(const std::vector<double>& eager, const std::vector<double>& replayed) const {
    const ModelSpec& spec = model->getSpec();
    const Tolerance& tolerance = spec.isPrecise() ? doubleTolerance : singleTolerance;
    const double unit = spec.getEnergyInKJPerMol();
    const double allowed = tolerance.energyRelative * std::abs(eager[0]) +
                           tolerance.energyPerParticle * inputs.getNumParticles() / unit + floorOfNumbers / unit;
    if (!(std::abs(replayed[0] - eager[0]) <= allowed))
        return "its energy, replayed, differs by " + std::to_string((replayed[0] - eager[0]) * unit) + " kJ/mol";
    const size_t first = 1 + derivatives.size(), count = eager.size() - first;
    const double difference = rms(&eager[first], &replayed[first], count), size = rms(&eager[first], nullptr, count);
    if (!(difference <= tolerance.force * size + floorOfNumbers / unit))
        return "its forces, replayed, differ by " + std::to_string(difference / size) + " of their size";
    for (size_t i = 1; i < first; i++)
        if (!(std::abs(replayed[i] - eager[i]) <= 10 * tolerance.force * std::abs(eager[i]) + floorOfNumbers / unit))
            return "a derivative of its energy, replayed, differs by " +
                   std::to_string((replayed[i] - eager[i]) * unit) + " kJ/mol";
    return "";
}

} // namespace openmmnnp
