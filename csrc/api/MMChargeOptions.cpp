#include "api/MMChargeOptions.h"
#include <numeric>
#include <set>

namespace openmmnnp {

void checkMMParticles(const NNPForce& force, int numParticles) {
    if (!force.getMMParticles().empty() && !(force.hasModelSpec() && force.getModelSpec().hasInput("mm_positions")))
        throw ModelError("setMMCharges() was called, but the model takes no MM charges: its spec has no inputs "
                         "'mm_positions' and 'mm_charges'. Export one that takes them, or use mechanical embedding.");
    std::set<int> inside(force.getParticles().begin(), force.getParticles().end()), seen;
    for (const int particle : force.getMMParticles()) {
        if (particle < 0 || particle >= numParticles)
            throw ModelError("setMMCharges() was given the particle " + std::to_string(particle) +
                             ", but the System has particles 0 to " + std::to_string(numParticles - 1) + ".");
        if (!seen.insert(particle).second)
            throw ModelError("setMMCharges() was given the particle " + std::to_string(particle) +
                             " twice; name each particle once.");
        if (!force.usesSubset() || inside.count(particle))
            throw ModelError("setMMCharges() was given the particle " + std::to_string(particle) +
                             ", which is one of the force's own particles; name only particles that the model does not "
                             "describe, and choose those that it does with setParticles().");
    }
}

void checkMMCharges(const NNPForce& force, const OpenMM::System& system) {
    const ModelSpec& spec = force.getModelSpec();
    if (!spec.hasInput("mm_positions"))
        return;
    if (!force.usesMMCharges())
        throw ModelError(
            "The model takes the charges of particles around it (mm_positions, mm_charges): give them with "
            "setMMCharges(), or setMMCharges([], []) if there are none.");
    const ChargeOptions options = mmChargeOptions(force, system);
    if (options.images && options.oneImage && options.cutoff == 0)
        throw ModelError("The System is periodic and the model takes MM charges at any distance, since its spec has no "
                         "\"mm_cutoff\": the energy would jump wherever another image of a charge becomes the nearest. "
                         "Export the model with mm_cutoff and charges that are switched off before it "
                         "(openmmnnp.models.SwitchedCharges).");
}

ChargeOptions mmChargeOptions(const NNPForce& force, const OpenMM::System& system) {
    const ModelSpec& spec = force.getModelSpec();
    const bool isPeriodic = force.usesPeriodicBoundaryConditions();
    ChargeOptions options;
    options.cutoff = spec.mmCutoff.value_or(0);
    options.skin = force.getSkin() / spec.getLengthInNm();
    options.images = isPeriodic || force.getMMPeriodic().value_or(system.usesPeriodicBoundaryConditions());
    options.oneImage = !isPeriodic;
    options.unit = spec.lengthUnit;
    return options;
}

} // namespace openmmnnp
