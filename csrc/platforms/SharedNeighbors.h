#ifndef OPENMMNNP_SHARED_NEIGHBORS_H_
#define OPENMMNNP_SHARED_NEIGHBORS_H_

#include "neighbors/HostNeighbors.h"
#include "openmmnnp/NNPForce.h"
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace openmmnnp {

/** Whose positions a neighbor list is of. */
struct NeighborPositions {
    const void* context;
    std::vector<int> particles; // empty: all
    std::vector<LinkAtom> linkAtoms;
    std::string lengthUnit, dtype;

    bool operator==(const NeighborPositions& other) const {
        return context == other.context && particles == other.particles && linkAtoms == other.linkAtoms &&
               lengthUnit == other.lengthUnit && dtype == other.dtype;
    }
};

/** Lists that forces of one Context share, each as long as a force has it. */
template <class List>
class SharedLists {
public:
    /** The list of these positions that `fits`, else the one that `make` returns. */
    template <class Fits, class Make>
    std::shared_ptr<List> share(const NeighborPositions& positions, Fits fits, Make make) {
        if (std::shared_ptr<List> found = find(positions, fits))
            return found;
        std::shared_ptr<List> made = make(); // without the lock: it may compile kernels
        const std::lock_guard<std::mutex> lock(mutex);
        entries.push_back({positions, made});
        return made;
    }

private:
    struct Entry {
        NeighborPositions positions;
        std::weak_ptr<List> list;
    };
    template <class Fits>
    std::shared_ptr<List> find(const NeighborPositions& positions, Fits fits) {
        const std::lock_guard<std::mutex> lock(mutex);
        const auto isGone = [](const Entry& entry) { return entry.list.expired(); };
        entries.erase(std::remove_if(entries.begin(), entries.end(), isGone), entries.end());
        for (const Entry& entry : entries)
            if (const std::shared_ptr<List> list = entry.list.lock();
                list && entry.positions == positions && fits(*list))
                return list;
        return nullptr;
    }

    std::mutex mutex;
    std::vector<Entry> entries;
};

/** The list of these positions with these options, on the host. */
std::shared_ptr<HostNeighbors> shareNeighbors(const NeighborPositions& positions, const NeighborOptions& options);

} // namespace openmmnnp

#endif // OPENMMNNP_SHARED_NEIGHBORS_H_
