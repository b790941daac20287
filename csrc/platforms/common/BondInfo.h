#ifndef OPENMMNNP_BOND_INFO_H_
#define OPENMMNNP_BOND_INFO_H_

#include "openmmnnp/NNPForce.h"
#include <openmm/common/ComputeForceInfo.h>
#include <vector>

namespace openmmnnp {

/**
 * Tells OpenMM which particles belong together when it sorts molecules: those with a bond of the force, or with a link
 * atom between them.  Nothing else of the force depends on the order of particles, since ParticleMap follows it.
 */
class BondInfo : public OpenMM::ComputeForceInfo {
public:
    explicit BondInfo(const NNPForce& force) : bonds(force.getNumBonds(), std::vector<int>(2)) {
        for (int i = 0; i < force.getNumBonds(); i++)
            force.getBondParameters(i, bonds[i][0], bonds[i][1]);
        for (const LinkAtom& atom : force.getLinkAtoms())
            bonds.push_back({atom.mlParticle, atom.mmParticle});
    }
    int getNumParticleGroups() override {
        return static_cast<int>(bonds.size());
    }
    void getParticlesInGroup(int index, std::vector<int>& particles) override {
        particles = bonds[index];
    }
    bool areGroupsIdentical(int, int) override {
        return true;
    }

private:
    std::vector<std::vector<int>> bonds;
};

} // namespace openmmnnp

#endif // OPENMMNNP_BOND_INFO_H_
