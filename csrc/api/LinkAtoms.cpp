#include "api/LinkAtoms.h"
#include "model/Elements.h"
#include <set>

namespace openmmnnp {

namespace {

void checkParents(const LinkAtom& atom, const std::set<int>& ours, const OpenMM::System& system,
                  const std::string& prefix) {
    if (!ours.count(atom.mlParticle))
        throw ModelError(prefix + "the mlParticle " + std::to_string(atom.mlParticle) +
                         ", which is not one of the force; name one that setParticles() was given.");
    if (atom.mmParticle < 0 || atom.mmParticle >= system.getNumParticles())
        throw ModelError(prefix + "the mmParticle " + std::to_string(atom.mmParticle) +
                         ", but the System has particles 0 to " + std::to_string(system.getNumParticles() - 1) + ".");
    if (ours.count(atom.mmParticle))
        throw ModelError(prefix + "the mmParticle " + std::to_string(atom.mmParticle) +
                         ", which the model sees already, as a particle of the force; name the particle on the other "
                         "side of a bond that is cut.");
    for (const int particle : {atom.mlParticle, atom.mmParticle})
        if (system.isVirtualSite(particle))
            throw ModelError(prefix + "the particle " + std::to_string(particle) +
                             ", which is a virtual site; a link atom stands for a bond between two atoms.");
}

} // namespace

void checkLinkAtoms(const NNPForce& force, const OpenMM::System& system) {
    if (force.getNumLinkAtoms() > 0 && !force.usesSubset())
        throw ModelError("The force has link atoms, but the model sees all particles of the System, so that there is "
                         "none on the other side of a bond; choose those of the region with setParticles().");
    const std::set<int> ours(force.getParticles().begin(), force.getParticles().end());
    std::set<int> linked;
    for (int i = 0; i < force.getNumLinkAtoms(); i++) {
        const LinkAtom& atom = force.getLinkAtoms()[i];
        const std::string prefix = "Link atom " + std::to_string(i) + " was given ";
        checkParents(atom, ours, system, prefix);
        if (!linked.insert(atom.mmParticle).second)
            throw ModelError(prefix + "the mmParticle " + std::to_string(atom.mmParticle) +
                             ", which has a link atom already; there is one for each particle outside: put this "
                             "particle into the force, or cut one of its bonds only.");
        if (elementSymbol(atom.atomicNumber).empty())
            throw ModelError(prefix + "the atomic number " + std::to_string(atom.atomicNumber) +
                             ", but one from 1 (H) to 118 is needed.");
    }
}

std::vector<int> modelAtomicNumbers(const NNPForce& force) {
    std::vector<int> numbers = force.getAtomicNumbers();
    if (!numbers.empty())
        for (const LinkAtom& atom : force.getLinkAtoms())
            numbers.push_back(atom.atomicNumber);
    return numbers;
}

std::string describeAtom(const NNPForce& force, size_t i) {
    if (!force.usesSubset())
        return "Particle " + std::to_string(i);
    const std::vector<int>& particles = force.getParticles();
    return i < particles.size() ? "Particle " + std::to_string(particles[i])
                                : "Link atom " + std::to_string(i - particles.size());
}

} // namespace openmmnnp
