#ifndef OPENMMNNP_MM_CHARGE_OPTIONS_H_
#define OPENMMNNP_MM_CHARGE_OPTIONS_H_

#include "neighbors/NearbyCharges.h"
#include "openmmnnp/NNPForce.h"
#include <openmm/System.h>

namespace openmmnnp {

/** Are the particles of the MM charges in the System, named once, and outside of the force?  Does the model take
    charges?  Throws ModelError. */
void checkMMParticles(const NNPForce& force, int numParticles);
/** Do the MM charges fit the model's spec and the System?  Throws ModelError. */
void checkMMCharges(const NNPForce& force, const OpenMM::System& system);
/** How the charges of a force, whose model has a spec that takes them, are chosen. */
OPENMMNNP_EXPORT ChargeOptions mmChargeOptions(const NNPForce& force, const OpenMM::System& system);

} // namespace openmmnnp

#endif // OPENMMNNP_MM_CHARGE_OPTIONS_H_
