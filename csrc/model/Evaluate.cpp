#include "model/Evaluate.h"
#include "model/CheckOutputs.h"
#include "model/Printable.h"
#include "neighbors/CheckBox.h"
#include "openmmnnp/InterpreterLock.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace openmmnnp {

namespace {

const std::string derivativePrefix = "parameter_derivative.";

} // namespace

Evaluation::Evaluation(std::shared_ptr<Model> sharedModel, int numParticles, std::vector<int> particleIndices,
                       const std::vector<std::string>& derivativeNames)
    : model(std::move(sharedModel)), inputs(model->getSpec(), numParticles),
      sumsEnergy(model->findOutput("energy") < 0),
      energyOutput(model->findOutput(sumsEnergy ? "atomic_energy" : "energy")),
      forcesOutput(model->findOutput("forces")), forces(3 * static_cast<size_t>(numParticles)),
      derivatives(derivativeNames.size()), particles(std::move(particleIndices)) {
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

void Evaluation::findNeighbors() {
    if (!neighbors || inputs.equalLast())
        return;
    invalidate(); // what was found last is gone, whatever happens now
    checkPositions();
    const double* box = inputs.getBox().data();
    checkBox(neighbors->getOptions(), box, model->getSpec().lengthUnit);
    const int n = inputs.getNumParticles();
    if (inputs.getDType() == DType::Float64)
        neighbors->update(inputs.getPositions<double>(), n, box);
    else
        neighbors->update(inputs.getPositions<float>(), n, box);
    inputs.setEdges(*neighbors);
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
        model->evaluate(inputs.getViews(), {forcesWanted, &derivativeInputs, nullptr}, *this);
    }
    keepEnergy(++numEvaluations);
    inputs.remember();
    valid = true;
}

void Evaluation::invalidate() {
    valid = false;
    inputs.forget();
}

void Evaluation::read(const std::vector<TensorView>& outputs) {
    if (withForces) {
        checkForcesOutput(outputs[forcesOutput], inputs.getNumParticles());
        outputs[forcesOutput].copyTo(forces.data());
    }
    readEnergy(outputs[energyOutput]);
    for (size_t i = 0; i < derivatives.size(); i++) {
        checkDerivativeOutput(outputs[derivativeOutputs[i]], model->getOutputNames()[derivativeOutputs[i]]);
        outputs[derivativeOutputs[i]].copyTo(&derivatives[i]);
    }
    checkFinite(numEvaluations + 1);
    for (Extra& extra : extras) {
        const TensorView& output = outputs[extra.output];
        checkExtraOutput(output, extra.name);
        extra.shape.assign(output.sizes, output.sizes + output.rank);
        extra.values.resize(output.count());
        output.copyTo(extra.values.data());
    }
}

void Evaluation::readEnergy(const TensorView& output) {
    if (!sumsEnergy) {
        checkEnergyOutput(output);
        output.copyTo(&energy);
        return;
    }
    checkAtomicEnergyOutput(output, inputs.getNumParticles());
    atomicEnergies.resize(inputs.getNumParticles());
    output.copyTo(atomicEnergies.data());
    energy = std::accumulate(atomicEnergies.begin(), atomicEnergies.end(), 0.0);
}

void Evaluation::checkFinite(long long evaluation) const {
    if (withForces)
        for (int i = 0; i < inputs.getNumParticles(); i++) {
            const double* f = &forces[3 * static_cast<size_t>(i)];
            if (!std::isfinite(f[0] + f[1] + f[2]))
                fail(describeForce(i), i, evaluation);
        }
    if (!std::isfinite(energy))
        fail("energy is " + printNumber(energy), -1, evaluation);
    for (size_t i = 0; i < derivatives.size(); i++)
        if (!std::isfinite(derivatives[i]))
            fail("output '" + model->getOutputNames()[derivativeOutputs[i]] + "' is " + printNumber(derivatives[i]), -1,
                 evaluation);
}

void Evaluation::keepEnergy(long long evaluation) {
    lastEnergies[(evaluation - 1) % numLastEnergies] = energy;
}

const Evaluation::Extra* Evaluation::findExtra(const std::string& name) {
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
            describeLastEnergies(numEvaluations + 1) + "Minimize first, or use a shorter time step.");
}

void Evaluation::checkForcesBelow(double limit, long long evaluation) const {
    for (size_t i = 0; i < forces.size(); i++)
        if (!(std::abs(forces[i]) < limit)) {
            const int particle = static_cast<int>(i / 3);
            fail(describeForce(particle) + ", more than OpenMM's fixed-point numbers can hold on this platform,",
                 particle, evaluation);
        }
}

std::string Evaluation::describeForce(int particle) const {
    const double* f = &forces[3 * static_cast<size_t>(particle)];
    return "force on " + describeParticle(particle) + " is (" + printNumber(f[0]) + ", " + printNumber(f[1]) + ", " +
           printNumber(f[2]) + ")";
}

void Evaluation::fail(const std::string& what, int particle, long long evaluation) const {
    throw ModelError("The model's " + what + " in evaluation " + std::to_string(evaluation) + ". " +
                     describeNeighbor(particle) + describeLastEnergies(evaluation) +
                     "Common causes are a clash, a time step too long for free hydrogens, and a geometry outside the "
                     "model's domain; minimize first, or use a shorter time step.");
}

std::string Evaluation::describeParticle(int particle) const {
    if (particles.empty())
        return "particle " + std::to_string(particle);
    const int n = static_cast<int>(particles.size());
    return particle < n ? "particle " + std::to_string(particles[particle])
                        : "link atom " + std::to_string(particle - n);
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
           describeParticle(second) + ", " + printNumber(std::sqrt(closest) * model->getSpec().getLengthInNm()) +
           " nm away. ";
}

/** Of the evaluations before this one. */
std::string Evaluation::describeLastEnergies(long long before) const {
    const long long count = std::min<long long>(before - 1, numLastEnergies - 1);
    if (count == 0)
        return "";
    std::string text = "The last good energies were";
    for (long long i = before - count; i < before; i++)
        text += " " + printNumber(lastEnergies[(i - 1) % numLastEnergies] * model->getSpec().getEnergyInKJPerMol());
    return text + " kJ/mol (without the model's constant). ";
}

} // namespace openmmnnp
