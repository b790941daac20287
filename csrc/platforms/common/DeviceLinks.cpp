#include "platforms/common/DeviceLinks.h"
#include <algorithm>

namespace openmmnnp {

DeviceLinks::DeviceLinks(OpenMM::ComputeContext& context, const std::vector<int>& particles,
                         const std::vector<LinkAtom>& atoms) {
    if (atoms.empty())
        return;
    const bool wide = context.getSupportsDoublePrecision();
    std::vector<int> rows;
    std::vector<double> lengths;
    for (const LinkAtom& atom : atoms) {
        const auto parent = std::find(particles.begin(), particles.end(), atom.mlParticle);
        rows.push_back(static_cast<int>(parent - particles.begin()));
        lengths.push_back(atom.distance);
    }
    parents.initialize<int>(context, atoms.size(), "nnpLinkParents");
    parents.upload(rows);
    distances.initialize(context, atoms.size(), wide ? sizeof(double) : sizeof(float), "nnpLinkDistances");
    distances.upload(lengths, true);
    bonds.initialize(context, atoms.size(), 4 * distances.getElementSize(), "nnpLinkBonds");
}

void DeviceLinks::addToGather(OpenMM::ComputeKernelImpl& kernel) {
    if (!parents.isInitialized())
        return;
    kernel.addArg(parents);
    kernel.addArg(distances);
    kernel.addArg(bonds);
}

void DeviceLinks::addToScatter(OpenMM::ComputeKernelImpl& kernel) {
    if (!parents.isInitialized())
        return;
    kernel.addArg(parents);
    kernel.addArg(bonds);
}

} // namespace openmmnnp
