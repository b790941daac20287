#ifndef OPENMMNNP_DEVICE_CHARGES_H_
#define OPENMMNNP_DEVICE_CHARGES_H_

#include "platforms/MMCharges.h"
#include "platforms/common/HostNumbers.h"
#include "platforms/common/ParticleMap.h"
#include <memory>
#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeContext.h>
#include <openmm/common/ComputeKernel.h>

namespace openmmnnp {

/**
 * Chooses on a device the charges outside of the force that its model is given, in arrays of fixed size that are filled
 * up with padding, and adds the model's forces on them to OpenMM's.
 *
 * An evaluation enqueues kernels and waits for nothing.  How many charges there were reaches the host by itself: when
 * it looks, and they did not fit, the evaluation is void, and the arrays grow at the beginning of the next one.  What
 * used the arrays before must have been ordered before the queue by then.
 */
class DeviceCharges {
public:
    static constexpr int numNumbers = 2; // that reach the host

    /** `numRegion` particles are the model's, `perNm` its length units in one nm. */
    DeviceCharges(OpenMM::ComputeContext& context, const MMCharges& charges, int numRegion, bool modelIsDouble,
                  double perNm, std::unique_ptr<HostNumbers> numbers);
    DeviceCharges(const DeviceCharges&) = delete;
    DeviceCharges& operator=(const DeviceCharges&) = delete;

    /** Take other charges of the same particles. */
    void setCharges(const MMCharges& charges);
    /** Enqueue the choice; the region is [numRegion][3] of the model's dtype and unit.  Throws ModelError if the box is
        too small. */
    void enqueue(OpenMM::ComputeArray& region);
    /**
     * Wait for the number of charges of this evaluation.  False: they did not fit, and the evaluation is void.  Throws
     * ModelError if a charge is near as two images and only one may be.
     */
    bool fits();
    /** Enqueue adding forces [at least count][3] on the first charges, in the model's unit, times a factor. */
    void scatter(OpenMM::ComputeArray& forces, int count, double factor);

    OpenMM::ComputeArray& getPositions() {
        return positions; // [capacity][3] of the model's dtype
    }
    OpenMM::ComputeArray& getCharges() {
        return charges; // [capacity] likewise
    }
    OpenMM::ComputeArray& getChosen() {
        return chosen; // [capacity] int: indices into MMCharges::getParticles(), -1 for padding
    }
    int getCapacity() const {
        return capacity;
    }
    /** Of the evaluation that fits() waited for last. */
    int getCount() const {
        return static_cast<int>(count);
    }
    /** How often arrays have grown, after which they lie elsewhere. */
    int getNumGrowths() const {
        return numGrowths;
    }

private:
    void compile();
    void grow();
    template <class Real, class Real4>
    void launch(OpenMM::ComputeArray& region, const double box[9]);

    OpenMM::ComputeContext& context;
    const ChargeOptions options;
    ParticleMap particles;
    const int numCharges, numRegion, numParts;
    const bool modelIsDouble, wide;
    const double perNm;
    const std::unique_ptr<HostNumbers> numbers;
    int capacity, numGrowths = 0, groupSize = 0;
    int64_t count = 0;
    bool isKnown = false; // the numbers of this evaluation have arrived
    OpenMM::ComputeArray allCharges, images, partCounts, positions, charges, chosen; // as the kernels say
    OpenMM::ComputeKernel marker, writer, scatterer;
};

} // namespace openmmnnp

#endif // OPENMMNNP_DEVICE_CHARGES_H_
