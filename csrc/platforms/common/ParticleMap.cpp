#include "platforms/common/ParticleMap.h"

namespace openmmnnp {

class ParticleMap::Listener : public OpenMM::ComputeContext::ReorderListener {
public:
    explicit Listener(ParticleMap& map) : map(map) {}
    void execute() override {
        map.reorder();
    }

private:
    ParticleMap& map;
};

ParticleMap::ParticleMap(OpenMM::ComputeContext& context, const std::vector<int>& particles)
    : context(context), particles(particles), hostSlots(particles.size()), inverseOrder(context.getNumAtoms()),
      hostOffsets(particles.size(), OpenMM::mm_int4(0, 0, 0, 0)) {
    slots.initialize<int>(context, particles.size(), "nnpSlots");
    cellOffsets.initialize<OpenMM::mm_int4>(context, particles.size(), "nnpCellOffsets");
    cellOffsets.upload(hostOffsets);
    reorder();
    context.addReorderListener(new Listener(*this));
}

void ParticleMap::reorder() {
    const std::vector<int>& order = context.getAtomIndex(); // padded
    for (int slot = 0; slot < context.getNumAtoms(); slot++)
        inverseOrder[order[slot]] = slot;
    for (size_t i = 0; i < particles.size(); i++)
        hostSlots[i] = inverseOrder[particles[i]];
    slots.upload(hostSlots);
}

void ParticleMap::update() {
    const std::vector<OpenMM::mm_int4>& offsets = context.getPosCellOffsets();
    bool changed = false;
    for (size_t i = 0; i < hostSlots.size(); i++) {
        const OpenMM::mm_int4& now = offsets[hostSlots[i]];
        OpenMM::mm_int4& last = hostOffsets[i];
        if (now.x != last.x || now.y != last.y || now.z != last.z) {
            last = now;
            changed = true;
        }
    }
    if (changed)
        cellOffsets.upload(hostOffsets);
}

} // namespace openmmnnp
