#include "platforms/common/SharedDeviceNeighbors.h"
#include <algorithm>
#include <mutex>
#include <vector>

namespace openmmnnp {

namespace {

struct Shared {
    NeighborPositions positions;
    std::weak_ptr<DeviceNeighbors> list;
};

} // namespace

std::shared_ptr<DeviceNeighbors> shareDeviceNeighbors(const NeighborPositions& positions,
                                                      const NeighborOptions& options, const EdgeLayout& layout,
                                                      const std::function<std::shared_ptr<DeviceNeighbors>()>& make) {
    static std::mutex mutex;
    static std::vector<Shared> lists;
    const std::lock_guard<std::mutex> lock(mutex);
    lists.erase(std::remove_if(lists.begin(), lists.end(), [](const Shared& shared) { return shared.list.expired(); }),
                lists.end());
    for (const Shared& shared : lists)
        if (const auto list = shared.list.lock();
            list && shared.positions == positions && list->getOptions() == options && list->getLayout() == layout)
            return list;
    std::shared_ptr<DeviceNeighbors> list = make();
    lists.push_back({positions, list});
    return list;
}

} // namespace openmmnnp
