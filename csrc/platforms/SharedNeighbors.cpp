#include "platforms/SharedNeighbors.h"

namespace openmmnnp {

std::shared_ptr<HostNeighbors> shareNeighbors(const NeighborPositions& positions, const NeighborOptions& options) {
    static SharedLists<HostNeighbors> lists;
    return lists.share(
        positions, [&](const HostNeighbors& list) { return list.getOptions() == options; },
        [&] { return std::make_shared<HostNeighbors>(options); });
}

} // namespace openmmnnp
