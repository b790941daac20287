#include "model/References.h"
#include "model/DeviceEvaluate.h"
#include "model/TorchScope.h"
#include <cmath>
#include <cstdio>

namespace openmmnnp {

namespace {

struct Tolerance {
    double energyRelative, energyPerParticle, force; // energyPerParticle in kJ/mol
};

constexpr Tolerance singleTolerance = {1e-6, 1e-5, 1e-3};
constexpr Tolerance doubleTolerance = {1e-9, 0, 1e-7};
constexpr double energyFloor = 1e-9; // kJ/mol: a reference of zero has no relative error

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.10g", value);
    return text;
}

std::vector<int> atomicNumbers(const ModelSpec& spec, const SpecReference& reference) {
    const auto found = reference.inputs.find("atomic_numbers");
    if (found == reference.inputs.end())
        return spec.atomicNumbers;
    return std::vector<int>(found->second.values.begin(), found->second.values.end());
}

double rmsDifference(const double* a, const std::vector<double>& b, bool subtract) {
    double sum = 0;
    for (size_t i = 0; i < b.size(); i++)
        sum += std::pow((subtract ? a[i] : 0) - b[i], 2);
    return std::sqrt(sum / std::max<size_t>(b.size(), 1));
}

/** After an evaluation with forces, or for its energy alone. */
void compare(const Evaluation& evaluation, const ModelSpec& spec, const SpecReference& reference, int n, int index) {
    const Tolerance& tolerance = spec.isPrecise() ? doubleTolerance : singleTolerance;
    const double unit = spec.getEnergyInKJPerMol(),
                 expected = reference.energy - spec.getConstantEnergy(atomicNumbers(spec, reference));
    const double allowed =
        tolerance.energyRelative * std::abs(expected) + tolerance.energyPerParticle * n / unit + energyFloor / unit;
    const std::string which = "Reference " + std::to_string(index) + " of the model's spec";
    const std::string advice = " The compiled model is wrong on this machine, or its spec belongs to another model; "
                               "export it again. setCheckReferences(False) turns this check off.";
    if (!(std::abs(evaluation.getEnergy() - expected) <= allowed))
        throw ModelError(which + " gives the energy " + number(expected) + " " + spec.energyUnit +
                         " (without the constant), but the model gives " + number(evaluation.getEnergy()) +
                         "; at most " + number(allowed) + " of difference is allowed." + advice);
    if (!evaluation.hasForces())
        return;
    const auto compareForces = [&](const char* name, const double* found, const std::vector<double>& right) {
        const double difference = rmsDifference(found, right, true), rms = rmsDifference(nullptr, right, false);
        if (!(difference <= tolerance.force * rms + energyFloor))
            throw ModelError(which + ": the model's " + name + " differ from it by " + number(difference) + " " +
                             spec.energyUnit + "/" + spec.lengthUnit + " (root mean square) where they are " +
                             number(rms) + "; at most " + number(tolerance.force) + " of that is allowed." + advice);
    };
    compareForces("forces", evaluation.getForces(), reference.forces.values);
    if (evaluation.getMMForces() != nullptr)
        compareForces("mm_forces", evaluation.getMMForces(), reference.mmForces.values);
}

void setInputs(Evaluation& evaluation, const SpecReference& reference) {
    for (const auto& [input, array] : reference.inputs)
        evaluation.getInputs().set(input, array);
}

/** An evaluation on a device with memory of torch's, on the default stream. */
class ReferenceOnDevice : public DeviceEvaluation {
public:
    ReferenceOnDevice(std::shared_ptr<Model> shared, int n) : DeviceEvaluation(std::move(shared), n) {}

    /** After all inputs are set. */
    void evaluate(bool withForces) {
        const int64_t n = inputs.getNumParticles();
        const TorchScope scope(model->getDevice(), nullptr);
        positions = TorchTensor::allocate(inputs.getDType(), {n, 3}, model->getDevice());
        const int64_t m = inputs.getMM() ? inputs.getMM()->getNumPassed() : 0;
        results = TorchTensor::allocate(DType::Float64, {1 + 3 * n + 3 * m}, model->getDevice());
        positions.copyFrom(
            TorchTensor::wrap(TensorView::contiguous(inputs.getPositions<char>(), inputs.getDType(), {n, 3}), {}));
        auto* numbers = static_cast<double*>(results.view().data);
        Memory memory = {positions.view().data, numbers, nullptr, numbers + 1};
        memory.mmForces = numbers + 1 + 3 * n;
        bind(memory, nullptr);
        run(withForces);
        waitForResults();
    }

private:
    TorchTensor positions, results; // [n][3]; energy, then forces [n][3] and forces on charges [m][3]
};

} // namespace

void checkReferences(Model& model) {
    const ModelSpec& spec = model.getSpec();
    int index = 0;
    for (const SpecReference& reference : spec.references) {
        const int n = static_cast<int>(reference.inputs.at("positions").shape[0]);
        // The evaluation does not own the model: it ends with this scope.
        const std::shared_ptr<Model> shared(&model, [](Model*) {});
        index++;
        const auto checkWith = [&](auto& evaluation, auto evaluate) {
            setInputs(evaluation, reference);
            evaluate(true);
            compare(evaluation, spec, reference, n, index);
            if (!model.hasEnergyEntry())
                return;
            evaluation.invalidate();
            evaluate(false);
            compare(evaluation, spec, reference, n, index);
        };
        if (model.getDevice().isCuda) {
            ReferenceOnDevice evaluation(shared, n);
            checkWith(evaluation, [&](bool withForces) { evaluation.evaluate(withForces); });
        } else {
            Evaluation evaluation(shared, n);
            checkWith(evaluation, [&](bool withForces) { evaluation.run(withForces); });
        }
    }
}

} // namespace openmmnnp
