#ifndef OPENMMNNP_HOST_NEIGHBORS_H_
#define OPENMMNNP_HOST_NEIGHBORS_H_

#include "neighbors/CellGrid.h"
#include "neighbors/NeighborOptions.h"
#include "openmmnnp/ModelSpec.h"
#include <array>
#include <cstdint>
#include <map>
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
    /** Call visit(center, neighbor, image) for each edge, in order; the image is a number for getCell and getShift. */
    template <class Visit>
    void forEach(Visit visit) const {
        for (size_t i = 0; i + 1 < edgesBegin.size(); i++)
            for (size_t e = edgesBegin[i]; e < edgesBegin[i + 1]; e++) {
                const Candidate& edge = candidates[candidatesOf[i].begin + edges[e]];
                visit(static_cast<int>(i), edge.neighbor, edge.image);
            }
    }
    /** By how many box vectors the neighbor of an edge is displaced: whole numbers. */
    std::array<double, 3> getCell(int center, int neighbor, int image) const {
        const std::array<double, 3>&home = homes[center], &away = homes[neighbor], &cell = images[image];
        return {cell[0] + home[0] - away[0], cell[1] + home[1] - away[1], cell[2] + home[2] - away[2]};
    }
    /** The same in the unit of the positions, with the same bits whenever candidates were found. */
    std::array<double, 3> getShift(int center, int neighbor, int image) const {
        return findLength(getCell(center, neighbor, image));
    }
    /** How often candidates were found. */
    long long getNumBuilds() const {
        return numBuilds;
    }

private:
    /** With both particles put into the first box, the neighbor is the image with this number. */
    struct Candidate {
        int neighbor, image;
    };
    struct Range {
        size_t begin;
        uint32_t count;
    };
    /** A particle near a bin, as an image. */
    struct Near {
        Candidate candidate;
        std::array<double, 3> position;
    };
    bool candidatesHold() const;
    void findCandidates();
    void findNear(const std::vector<CellGrid::Near>& bins);
    void findCandidatesOf(int place);
    int numberOf(const CellGrid::Near& bin);
    bool isWanted(int center, const Candidate& candidate) const;
    void findHomes();
    void wrap();
    /** The box is in OpenMM's reduced form. */
    std::array<double, 3> findLength(const std::array<double, 3>& cell) const {
        return {cell[0] * box[0] + cell[1] * box[3] + cell[2] * box[6], cell[1] * box[4] + cell[2] * box[7],
                cell[2] * box[8]};
    }
    template <bool periodic>
    void filter();

    const NeighborOptions options;
    std::vector<double> positions, builtPositions; // [n][3]
    std::array<double, 9> box{}, builtBox{};
    bool isBuilt = false, isFiltered = false;
    CellGrid grid;                             // as of the candidates, like all that follows
    std::vector<Candidate> candidates;         // of each center sorted by neighbor and cell
    std::vector<Range> candidatesOf;           // [n]
    std::vector<std::array<double, 3>> images; // in boxes
    std::vector<std::array<double, 3>> shifts; // the same as lengths
    std::map<std::array<int, 3>, int> numbers; // of images
    std::vector<std::array<double, 3>> homes;  // [n]: the box in which a particle is, whole numbers
    std::vector<double> wrapped;               // [n][3]: positions in the first box
    std::vector<uint32_t> edges;               // which of their center's candidates they are
    std::vector<size_t> edgesBegin;            // [n+1]
    std::vector<Near> near;                    // what is near one bin, sorted by particle and image
    std::vector<size_t> within;                // range of a center: places in `near`
    long long numBuilds = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_HOST_NEIGHBORS_H_
