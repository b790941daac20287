#include "api/CheckForce.h"
#include "api/LinkAtoms.h"
#include "api/ParticleTypes.h"
#include "model/ModelFile.h"
#include <algorithm>
#include <set>

namespace openmmnnp {

namespace {

std::string listNumbers(const std::vector<int>& numbers) {
    std::string text;
    for (const int number : numbers)
        text += (text.empty() ? "" : ", ") + std::to_string(number);
    return text;
}

std::string count(int n, const std::string& noun) {
    return std::to_string(n) + " " + noun + (n == 1 ? "" : "s");
}

/** "4 particles", or "4 particles and 1 link atom". */
std::string countAtoms(const NNPForce& force, int n) {
    const int links = force.getNumLinkAtoms();
    return count(n, "particle") + (links > 0 ? " and " + count(links, "link atom") : "");
}

void checkParticles(const NNPForce& force, int numParticles) {
    std::vector<bool> seen(numParticles, false);
    for (const int particle : force.getParticles()) {
        if (particle < 0 || particle >= numParticles)
            throw ModelError("setParticles() was given the particle " + std::to_string(particle) +
                             ", but the System has particles 0 to " + std::to_string(numParticles - 1) + ".");
        if (seen[particle])
            throw ModelError("setParticles() was given the particle " + std::to_string(particle) +
                             " twice; name each particle once.");
        seen[particle] = true;
    }
    if (force.usesSubset() && force.getParticles().empty())
        throw ModelError(
            "setParticles() was given no particles; name those that the model describes, or don't call it to use all.");
    for (int i = 0; i < force.getNumBonds(); i++) {
        int p1 = 0, p2 = 0;
        force.getBondParameters(i, p1, p2);
        if (std::min(p1, p2) < 0 || std::max(p1, p2) >= numParticles || p1 == p2)
            throw ModelError("addBond() was given the particles " + std::to_string(p1) + " and " + std::to_string(p2) +
                             ", but two different ones from 0 to " + std::to_string(numParticles - 1) + " are needed.");
    }
}

/** `atoms` says what these are, which must be n. */
void checkLength(const std::vector<int>& values, int n, const std::string& atoms, const std::string& name,
                 const std::string& method) {
    if (values.empty())
        throw ModelError("The model takes " + name + ", and a System has none: give them with " + method +
                         ", one for each of the " + atoms + " of the force.");
    if (static_cast<int>(values.size()) != n)
        throw ModelError(method + " was given " + count(static_cast<int>(values.size()), "value") +
                         ", but the force has " + atoms + "; give one for each.");
}

void checkElements(const NNPForce& force, const ModelSpec& spec) {
    const std::vector<int> numbers = modelAtomicNumbers(force);
    const std::set<int> known(spec.elements.begin(), spec.elements.end());
    for (size_t i = 0; i < numbers.size() && !known.empty(); i++)
        if (!known.count(numbers[i]))
            throw ModelError(describeAtom(force, i) + " has the atomic number " + std::to_string(numbers[i]) +
                             ", but the model knows only " + listNumbers(spec.elements) + ".");
    for (size_t i = 0; i < spec.atomicNumbers.size() && !numbers.empty(); i++)
        if (numbers.size() != spec.atomicNumbers.size() || numbers[i] != spec.atomicNumbers[i])
            throw ModelError("The model is made for atoms with the atomic numbers " + listNumbers(spec.atomicNumbers) +
                             ", in this order, but the force has " + listNumbers(numbers) +
                             "; check the order of setParticles().");
}

void checkTypes(const NNPForce& force, const ModelSpec& spec, int n) {
    const std::vector<int>& types = force.getTypes();
    if (types.empty() && !spec.typeMap.empty())
        checkLength(force.getAtomicNumbers(), n, count(n, "particle"), "atomic numbers (or types)",
                    "setAtomicNumbers()");
    else if (spec.typeMap.empty() || static_cast<int>(types.size()) != n) // else those of link atoms are in the map
        checkLength(types, n + force.getNumLinkAtoms(), countAtoms(force, n), "types", "setTypes()");
    particleTypes(force, spec);
}

void checkAtoms(const NNPForce& force, const ModelSpec& spec, int n) {
    const int links = force.getNumLinkAtoms();
    if (spec.particles != 0 && spec.particles != n + links)
        throw ModelError("The model is made for " + count(spec.particles, "particle") + ", but the force has " +
                         (links > 0 ? countAtoms(force, n) : std::to_string(n)) + "; choose them with setParticles().");
    if (spec.hasInput("atomic_numbers") || !spec.atomicEnergies.empty())
        checkLength(force.getAtomicNumbers(), n, count(n, "particle"), "atomic numbers", "setAtomicNumbers()");
    checkElements(force, spec);
    if (spec.hasInput("types"))
        checkTypes(force, spec, n);
    spec.getConstantEnergy(modelAtomicNumbers(force));
    if (force.getMultiplicity() < 1)
        throw ModelError("setMultiplicity() was given " + std::to_string(force.getMultiplicity()) +
                         ", but 2S+1, at least 1, is needed.");
}

void checkPeriodicity(const NNPForce& force, const ModelSpec& spec) {
    const bool takesBox = spec.hasInput("box"), takesShifts = spec.hasInput("shifts");
    if (takesShifts) { // with or without a box: there are edges for both
        if (spec.periodic && *spec.periodic != force.usesPeriodicBoundaryConditions())
            throw ModelError(std::string("The model's spec says \"periodic\": ") + (*spec.periodic ? "true" : "false") +
                             ", but the force does " + (*spec.periodic ? "not use" : "use") +
                             " periodic boundary conditions: call setUsesPeriodicBoundaryConditions(" +
                             (*spec.periodic ? "True" : "False") + ").");
        return;
    }
    if (takesBox && !force.usesPeriodicBoundaryConditions())
        throw ModelError("The model takes the box, but the force does not use periodic boundary conditions: call "
                         "setUsesPeriodicBoundaryConditions(True).");
    if (!takesBox && force.usesPeriodicBoundaryConditions())
        throw ModelError("The force uses periodic boundary conditions, but the model does not take the box: call "
                         "setUsesPeriodicBoundaryConditions(False), "
                         "or export the model with the input 'box'.");
}

void checkParameters(const NNPForce& force, const ModelSpec& spec) {
    std::set<std::string> declared;
    for (int i = 0; i < force.getNumGlobalParameters(); i++)
        declared.insert(force.getGlobalParameterName(i));
    const std::vector<std::string> names = spec.getParameterNames();
    for (const std::string& name : names)
        if (!declared.count(name))
            throw ModelError("The model takes the parameter '" + name + "': declare it with addGlobalParameter('" +
                             name + "', default).");
    for (const std::string& name : declared)
        if (std::find(names.begin(), names.end(), name) == names.end())
            throw ModelError("The force has the global parameter '" + name + "', which the model does not take" +
                             (names.empty()
                                  ? " (it takes none)."
                                  : "; it takes '" + names.front() + "'" + (names.size() > 1 ? " and others." : ".")));
}

void checkDerivatives(const NNPForce& force) {
    std::set<std::string> known;
    for (int i = 0; i < force.getNumGlobalParameters(); i++)
        if (!known.insert(force.getGlobalParameterName(i)).second)
            throw ModelError("The force has the global parameter '" + force.getGlobalParameterName(i) +
                             "' twice; give each a name of its own.");
    if (!force.getScaleParameter().empty() && !known.insert(force.getScaleParameter()).second)
        throw ModelError("The scale parameter '" + force.getScaleParameter() +
                         "' is also a global parameter that the model receives; give it a name of its own.");
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        if (!known.count(force.getEnergyParameterDerivativeName(i)))
            throw ModelError("addEnergyParameterDerivative() was given '" + force.getEnergyParameterDerivativeName(i) +
                             "', which is neither a global parameter of the force nor its scale parameter.");
}

} // namespace

void checkForce(const NNPForce& force, const OpenMM::System& system) {
    if (!force.hasModel())
        throw ModelError("The force has no model: give it one with setModelFile() or in the constructor.");
    const int numParticles = system.getNumParticles();
    checkParticles(force, numParticles);
    checkLinkAtoms(force, system);
    checkDerivatives(force);
    const int n = force.usesSubset() ? static_cast<int>(force.getParticles().size()) : numParticles;
    const std::vector<int>& numbers = force.getAtomicNumbers();
    if (!numbers.empty())
        checkLength(numbers, n, count(n, "particle"), "atomic numbers", "setAtomicNumbers()");
    if (!force.hasModelSpec())
        return;
    const ModelSpec& spec = force.getModelSpec();
    checkAtoms(force, spec, n);
    checkPeriodicity(force, spec);
    checkParameters(force, spec);
    if (force.getOutputsForces())
        throw ModelError("setOutputsForces(True) is for models without a spec; this model's spec says what it gives.");
}

} // namespace openmmnnp
