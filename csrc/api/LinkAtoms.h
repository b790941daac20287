#ifndef OPENMMNNP_LINK_ATOMS_H_
#define OPENMMNNP_LINK_ATOMS_H_

#include "openmmnnp/NNPForce.h"
#include <openmm/System.h>
#include <string>
#include <vector>

namespace openmmnnp {

/** Do the link atoms fit the System and the other particles of the force?  Throws ModelError. */
void checkLinkAtoms(const NNPForce& force, const OpenMM::System& system);
/** Atomic numbers of all that the model sees: particles, then link atoms; empty if the force has none. */
std::vector<int> modelAtomicNumbers(const NNPForce& force);
/** "Particle 12" or "Link atom 0", for the i-th atom that the model sees. */
std::string describeAtom(const NNPForce& force, size_t i);

} // namespace openmmnnp

#endif // OPENMMNNP_LINK_ATOMS_H_
