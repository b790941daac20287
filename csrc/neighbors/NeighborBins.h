#ifndef OPENMMNNP_NEIGHBOR_BINS_H_
#define OPENMMNNP_NEIGHBOR_BINS_H_

#include "neighbors/NeighborOptions.h"
#include "openmmnnp/ModelSpec.h"
#include <array>

namespace openmmnnp {

/**
 * Bins into which particles are sorted, so that those within a range are in bins that are near.
 *
 * They fill the periodic box.  Without one they repeat through space, with `box` as the period.
 */
struct OPENMMNNP_EXPORT NeighborBins {
    std::array<double, 9> box{};
    std::array<int, 3> count{1, 1, 1}, reach{}; // along each vector: bins, and how many to either side are near

    /** At most so many bins are ever chosen for n particles. */
    static int getMost(int n) {
        return n + 64;
    }
    /** For n particles within `range`, in this box (ignored without one).  Throws ModelError if it is far too small. */
    static NeighborBins choose(const NeighborOptions& options, double range, int n, const double box[9]);
};

} // namespace openmmnnp

#endif // OPENMMNNP_NEIGHBOR_BINS_H_
