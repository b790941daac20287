#ifndef OPENMMNNP_HOST_NEIGHBORS_H_
#define OPENMMNNP_HOST_NEIGHBORS_H_

#include "neighbors/CellGrid.h"
#include "neighbors/NeighborOptions.h"
#include "openmmnnp/ModelSpec.h"
#include <array>
#include <cstdint>
#include <vector>

namespace openmmnnp {

/**
 * The neighbors stage on the host: the edges of a set of particles, on one thread.
 *
 * Candidates (pairs within cutoff + skin) are kept, and found again when the box has changed or a particle has moved by
 * more than half the skin; from these each update takes the pairs within the cutoff.  An update without finding
 * candidates allocates nothing, once the arrays have grown.
 */
class OPENMMNNP_EXPORT HostNeighbors {
public:
    explicit HostNeighbors(const NeighborOptions& options) : options(options) {}

    const NeighborOptions& getOptions() const {
        return options;
    }
    /**
     * Find the edges of n particles, whose positions [n][3] are finite.  The rows of the box are its vectors, in
     * OpenMM's reduced form; it is ignored if the options are not periodic.  Throws ModelError if the box is far too
     * small, or a particle too far away.  Repeated with the same numbers this costs
     * a comparison, so that forces can share a list.
     */
    template <class Real>
    void update(const Real* positions, int n, const double box[9]);
    int64_t getNumEdges() const {
        return edgesBegin.empty() ? 0 : static_cast<int64_t>(edgesBegin.back());
    }
    /** The most edges until candidates are found again. */
    int64_t getNumCandidates() const {
        return static_cast<int64_t>(candidates.size());
    }
    /** Call visit(center, neighbor, const int cell[3]) for each edge, in order. */
    template <class Visit>
    void forEach(Visit visit) const {
        for (size_t i = 0; i + 1 < edgesBegin.size(); i++)
            for (size_t e = edgesBegin[i]; e < edgesBegin[i + 1]; e++) {
                const Candidate& edge = candidates[candidatesOf[i].begin + edges[e]];
                visit(static_cast<int>(i), edge.neighbor, edge.cell);
            }
    }
    /** How often candidates were found. */
    long long getNumBuilds() const {
        return numBuilds;
    }

private:
    struct Candidate {
        int neighbor;
        int cell[3];
    };
    struct Range {
        size_t begin;
        uint32_t count;
    };
    bool candidatesHold() const;
    void findCandidates();
    void findCandidatesOf(int place, const std::vector<CellGrid::Near>& near);
    bool isWanted(int center, int neighbor, const std::array<int, 3>& image) const;
    template <bool periodic>
    void filter();

    const NeighborOptions options;
    std::vector<double> positions, builtPositions; // [n][3]
    std::array<double, 9> box{}, builtBox{};
    bool isBuilt = false, isFiltered = false;
    CellGrid grid;
    std::vector<Candidate> candidates; // of each center sorted by neighbor and cell
    std::vector<Range> candidatesOf;   // [n]
    std::vector<uint64_t> keys;        // of one center
    std::vector<uint32_t> edges;       // which of their center's candidates they are
    std::vector<size_t> edgesBegin;    // [n+1]
    long long numBuilds = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_HOST_NEIGHBORS_H_
