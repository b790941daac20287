#ifndef OPENMMNNP_MM_CHARGES_H_
#define OPENMMNNP_MM_CHARGES_H_

#include "model/ModelInputs.h"
#include "neighbors/NearbyCharges.h"
#include "openmmnnp/NNPForce.h"
#include <openmm/Vec3.h>
#include <openmm/internal/ContextImpl.h>
#include <vector>

namespace openmmnnp {

/** The MM charges of a force in a Context, in ascending order of their particles, and how they are chosen. */
class OPENMMNNP_EXPORT MMCharges {
public:
    /** For a force whose model takes them.  Throws ModelError if it is not known whether they have periodic images. */
    MMCharges(const NNPForce& force, OpenMM::ContextImpl& context);

    const ChargeOptions& getOptions() const {
        return options;
    }
    const std::vector<int>& getParticles() const {
        return particles;
    }
    const std::vector<double>& getCharges() const {
        return charges; // e
    }
    /** Where particles are on the host: give the model those near to the positions that it has got.  Throws ModelError.
     *
     * @param positions   of all particles of the System, nm
     * @param box         periodic box vectors, nm
     */
    void choose(ModelInputs& inputs, const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3 box[3]);

private:
    ChargeOptions options;
    const double perNm;
    std::vector<int> particles;
    std::vector<double> charges, region;
    NearbyCharges nearby;
};

} // namespace openmmnnp

#endif // OPENMMNNP_MM_CHARGES_H_
