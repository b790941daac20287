#include "model/Evaluate.h"
#include "openmmnnp/InterpreterLock.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace openmmnnp {

namespace {

const std::string derivativePrefix = "parameter_derivative.";

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.6g", value);
    return text;
}

bool isReal(const TensorView& view) {
    return view.dtype == DType::Float32 || view.dtype == DType::Float64;
}

} // namespace

Evaluation::Evaluation(std::shared_ptr<Model> sharedModel, int numParticles, std::vector<int> particleIndices,
                       const std::vector<std::string>& derivativeNames)
    : model(std::move(sharedModel)), particles(std::move(particleIndices)), inputs(model->getSpec(), numParticles),
      energyOutput(model->findOutput("energy")), forcesOutput(model->findOutput("forces")),
      forces(3 * static_cast<size_t>(numParticles)), derivatives(derivativeNames.size()) {
    const std::vector<std::string>& names = model->getSpec().inputs;
    for (const std::string& name : derivativeNames) {
        const auto input = std::find(names.begin(), names.end(), "parameters." + name);
        derivativeInputs.push_back(static_cast<int>(input - names.begin()));
        derivativeOutputs.push_back(model->findOutput(derivativePrefix + name));
        if (input == names.end() || derivativeOutputs.back() < 0)
            throw ModelError("The derivative of the energy with respect to '" + name +
                             "' was asked for, but the model does not give it: export the model with the output '" +
                             derivativePrefix + name + "'.");
    }
    const std::vector<std::string>& outputs = model->getOutputNames();
    for (size_t i = 0; i < outputs.size(); i++)
        if (outputs[i] != "energy" && outputs[i] != "forces" &&
            outputs[i].compare(0, derivativePrefix.size(), derivativePrefix) != 0)
            extras.push_back({outputs[i], static_cast<int>(i), {}, {}});
}

void Evaluation::run(bool forcesWanted) {
    if (valid && (withForces || !forcesWanted) && inputs.equalLast()) {
        numReused++;
        return;
    }
    valid = false;
    withForces = forcesWanted;
    checkPositions();
    {
        const WithoutInterpreterLock unlocked;
        model->evaluate(inputs.getViews(), {forcesWanted, &derivativeInputs}, *this);
    }
    lastEnergies[numEvaluations++ % lastEnergies.size()] = energy;
    inputs.remember();
    valid = true;
}

void Evaluation::invalidate() {
    valid = false;
    inputs.forget();
}

void Evaluation::read(const std::vector<TensorView>& outputs) {
    if (withForces)
        readForces(outputs[forcesOutput]);
    readEnergy(outputs[energyOutput]);
    for (size_t i = 0; i < derivatives.size(); i++)
        readDerivative(outputs[derivativeOutputs[i]], i);
    for (Extra& extra : extras)
        readExtra(outputs[extra.output], extra);
}

void Evaluation::readEnergy(const TensorView& output) {
    if (!isReal(output) || output.count() != 1)
        throw ModelError("The model returned an energy that is " + output.describe() +
                         ", but one number, float32 or float64 [], is needed.");
    output.copyTo(&energy);
    if (!std::isfinite(energy))
        failNonFinite("energy is " + number(energy), -1);
}

void Evaluation::readForces(const TensorView& output) {
    const int n = inputs.getNumParticles();
    if (!isReal(output) || output.rank != 2 || output.sizes[0] != n || output.sizes[1] != 3)
        throw ModelError("The model returned forces that are " + output.describe() + ", but float32 or float64 [" +
                         std::to_string(n) + ", 3] is needed.");
    output.copyTo(forces.data());
    for (int i = 0; i < n; i++) {
        const double* f = &forces[3 * static_cast<size_t>(i)];
        if (!std::isfinite(f[0] + f[1] + f[2]))
            failNonFinite(describeForce(i), i);
    }
}

void Evaluation::readDerivative(const TensorView& output, size_t index) {
    const std::string& name = model->getOutputNames()[derivativeOutputs[index]];
    if (!isReal(output) || output.count() != 1)
        throw ModelError("The model returned the output '" + name + "' that is " + output.describe() +
                         ", but one number is needed.");
    output.copyTo(&derivatives[index]);
    if (!std::isfinite(derivatives[index]))
        failNonFinite("output '" + name + "' is " + number(derivatives[index]), -1);
}

void Evaluation::readExtra(const TensorView& output, Extra& extra) {
    if (output.dtype == DType::Other)
        throw ModelError("The model returned the output '" + extra.name + "' that is " + output.describe() +
                         ", but float32, float64, int32 or int64 is needed.");
    extra.shape.assign(output.sizes, output.sizes + output.rank);
    extra.values.resize(output.count());
    output.copyTo(extra.values.data());
}

const Evaluation::Extra* Evaluation::findExtra(const std::string& name) const {
    for (const Extra& extra : extras)
        if (extra.name == name)
            return &extra;
    return nullptr;
}

void Evaluation::checkPositions() const {
    const int bad = inputs.findNonFinitePosition();
    if (bad >= 0)
        throw ModelError(
            "The position of " + describeParticle(bad) +
            " is not a finite number, before the model was evaluated: the simulation has blown up, or wrong "
            "positions were set. " +
            describeLastEnergies() + "Minimize first, or use a shorter time step.");
}

void Evaluation::failNonFinite(const std::string& what, int particle) const {
    fail(what, particle, numEvaluations + 1);
}

void Evaluation::checkForcesBelow(double limit) const {
    for (size_t i = 0; i < forces.size(); i++)
        if (!(std::abs(forces[i]) < limit)) {
            const int particle = static_cast<int>(i / 3);
            fail(describeForce(particle) + ", more than OpenMM's fixed-point numbers can hold on this platform,",
                 particle, numEvaluations);
        }
}

std::string Evaluation::describeForce(int particle) const {
    const double* f = &forces[3 * static_cast<size_t>(particle)];
    return "force on " + describeParticle(particle) + " is (" + number(f[0]) + ", " + number(f[1]) + ", " +
           number(f[2]) + ")";
}

void Evaluation::fail(const std::string& what, int particle, long long evaluation) const {
    throw ModelError("The model's " + what + " in evaluation " + std::to_string(evaluation) + ". " +
                     describeNeighbor(particle) + describeLastEnergies() +
                     "Common causes are a clash, a time step too long for free hydrogens, and a geometry outside the "
                     "model's domain; minimize first, or use a shorter time step.");
}

std::string Evaluation::describeParticle(int particle) const {
    return "particle " + std::to_string(particles.empty() ? particle : particles[particle]);
}

/** The nearest neighbor of a particle, or the closest pair if particle is -1. */
std::string Evaluation::describeNeighbor(int particle) const {
    const int n = inputs.getNumParticles();
    double closest = INFINITY;
    int first = -1, second = -1;
    for (int i = std::max(particle, 0); i < (particle < 0 ? n : particle + 1); i++)
        for (int j = 0; j < n; j++) {
            if (i == j)
                continue;
            double square = 0;
            for (int axis = 0; axis < 3; axis++)
                square += std::pow(inputs.getPosition(i, axis) - inputs.getPosition(j, axis), 2);
            if (square < closest) {
                closest = square;
                first = i;
                second = j;
            }
        }
    if (first < 0)
        return "";
    return "The nearest neighbor of " + describeParticle(first) + " among the particles of the force is " +
           describeParticle(second) + ", " + number(std::sqrt(closest) * model->getSpec().getLengthInNm()) +
           " nm away. ";
}

std::string Evaluation::describeLastEnergies() const {
    const long long count = std::min<long long>(numEvaluations, lastEnergies.size());
    if (count == 0)
        return "";
    std::string text = "The last good energies were";
    for (long long i = numEvaluations - count; i < numEvaluations; i++)
        text += " " + number(lastEnergies[i % lastEnergies.size()] * model->getSpec().getEnergyInKJPerMol());
    return text + " kJ/mol (without the model's constant). ";
}

} // namespace openmmnnp
