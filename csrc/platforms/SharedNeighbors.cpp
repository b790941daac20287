#include "platforms/SharedNeighbors.h"
#include <algorithm>
#include <mutex>

namespace openmmnnp {

namespace {

struct Shared {
    NeighborPositions positions;
    std::weak_ptr<HostNeighbors> list;
};

} // namespace

std::shared_ptr<HostNeighbors> shareNeighbors(const NeighborPositions& positions, const NeighborOptions& options) {
    static std::mutex mutex;
    static std::vector<Shared> lists;
    const std::lock_guard<std::mutex> lock(mutex);
    lists.erase(std::remove_if(lists.begin(), lists.end(), [](const Shared& shared) { return shared.list.expired(); }),
                lists.end());
    for (const Shared& shared : lists)
        if (const auto list = shared.list.lock();
            list && shared.positions == positions && list->getOptions() == options)
            return list;
    auto list = std::make_shared<HostNeighbors>(options);
    lists.push_back({positions, list});
    return list;
}

} // namespace openmmnnp
