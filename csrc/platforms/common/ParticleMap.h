#ifndef OPENMMNNP_PARTICLE_MAP_H_
#define OPENMMNNP_PARTICLE_MAP_H_

#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeContext.h>
#include <vector>

namespace openmmnnp {

/**
 * Where OpenMM keeps the particles of a force on its device, and by how many box vectors it moved each: OpenMM sorts
 * whole molecules in space and puts them into the periodic box now and then.
 *
 * The order changes with an event.  The cells do not always: setPositions(), checkpoints and barostats rewrite them
 * without one, so they are compared with what the device has before each use.
 */
class ParticleMap {
public:
    /** The particles are indices in the System, in the order of the force. */
    ParticleMap(OpenMM::ComputeContext& context, const std::vector<int>& particles);
    ParticleMap(const ParticleMap&) = delete;
    ParticleMap& operator=(const ParticleMap&) = delete;

    const std::vector<int>& getParticles() const {
        return particles;
    }
    /** Bring the cell offsets on the device up to date. */
    void update();
    /** [n] int: position of each particle in OpenMM's order. */
    OpenMM::ComputeArray& getSlots() {
        return slots;
    }
    /** [n] int4: OpenMM's position plus minus these times the box vectors is the position that the user knows. */
    OpenMM::ComputeArray& getCellOffsets() {
        return cellOffsets;
    }

private:
    class Listener;
    void reorder();

    OpenMM::ComputeContext& context;
    const std::vector<int> particles;
    std::vector<int> hostSlots, inverseOrder;
    std::vector<OpenMM::mm_int4> hostOffsets;
    OpenMM::ComputeArray slots, cellOffsets;
};

} // namespace openmmnnp

#endif // OPENMMNNP_PARTICLE_MAP_H_
