#include "platforms/common/SharedDeviceNeighbors.h"

namespace openmmnnp {

std::shared_ptr<DeviceNeighbors> shareDeviceNeighbors(const NeighborPositions& positions,
                                                      const NeighborOptions& options, const EdgeLayout& layout,
                                                      const std::function<std::shared_ptr<DeviceNeighbors>()>& make) {
    static SharedLists<DeviceNeighbors> lists;
    return lists.share(
        positions,
        [&](const DeviceNeighbors& list) { return list.getOptions() == options && list.getLayout() == layout; }, make);
}

} // namespace openmmnnp
