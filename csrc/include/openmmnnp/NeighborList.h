#ifndef OPENMMNNP_NEIGHBOR_LIST_H_
#define OPENMMNNP_NEIGHBOR_LIST_H_

#include "openmmnnp/ModelSpec.h"
#include <cstdint>
#include <memory>

namespace openmmnnp {

class HostNeighbors;

/**
 * The edges that a force gives to its model, without a force: for examples, references and tests.
 *
 * An edge is a center i, a neighbor j and a cell S of three integers with |r_ij| < cutoff, where
 * r_ij = r_j - r_i + S * box.  Edges are sorted by (i, j, S).  Lengths are in any one unit.
 */
class OPENMMNNP_EXPORT NeighborList {
public:
    /**
     * `skin`: pairs up to cutoff + skin are kept as candidates until a particle has moved by half of it.
     * `full`: i -> j and j -> i; else i < j, or i = j and the first number in S that is not 0 above 0.
     * `images`: a box smaller than twice the cutoff is allowed, with several edges of one pair.
     * Throws ModelError if cutoff or skin is no length.
     */
    NeighborList(double cutoff, double skin, bool full, bool images);
    ~NeighborList();
    /**
     * Find the edges of n positions [n][3].  `box` has the vectors as rows, in OpenMM's reduced form; null: no periodic
     * boundary conditions.  Throws ModelError if a number is not finite, or if the box is not reduced or too small.
     */
    void find(const double* positions, int n, const double* box);
    int64_t getNumEdges() const;
    /** Copy the edges [2][e] (centers, then neighbors) and their cells [e][3]. */
    void copy(int64_t* edges, int64_t* cells) const;

private:
    const double cutoff, skin;
    const bool full, images;
    std::unique_ptr<HostNeighbors> list;
};

} // namespace openmmnnp

#endif // OPENMMNNP_NEIGHBOR_LIST_H_
