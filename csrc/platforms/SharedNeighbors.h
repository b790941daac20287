#ifndef OPENMMNNP_SHARED_NEIGHBORS_H_
#define OPENMMNNP_SHARED_NEIGHBORS_H_

#include "neighbors/HostNeighbors.h"
#include <memory>
#include <string>
#include <vector>

namespace openmmnnp {

/** Whose positions a neighbor list is of. */
struct NeighborPositions {
    const void* context;
    std::vector<int> particles; // empty: all
    std::string lengthUnit, dtype;

    bool operator==(const NeighborPositions& other) const {
        return context == other.context && particles == other.particles && lengthUnit == other.lengthUnit &&
               dtype == other.dtype;
    }
};

/** The list of these positions with these options, which forces of one Context share. */
std::shared_ptr<HostNeighbors> shareNeighbors(const NeighborPositions& positions, const NeighborOptions& options);

} // namespace openmmnnp

#endif // OPENMMNNP_SHARED_NEIGHBORS_H_
