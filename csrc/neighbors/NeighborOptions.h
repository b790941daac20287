#ifndef OPENMMNNP_NEIGHBOR_OPTIONS_H_
#define OPENMMNNP_NEIGHBOR_OPTIONS_H_

namespace openmmnnp {

/**
 * Which pairs of particles are neighbors.  All lengths are in the unit of the positions.
 *
 * An edge is a center i, a neighbor j and a cell S of three integers with |r_ij| < cutoff, where
 * r_ij = r_j - r_i + S * box.  Edges are sorted by (i, j, S).
 */
struct NeighborOptions {
    double cutoff = 0;
    double skin = 0;       // candidates are kept until a particle has moved by half of it; changes no result
    bool full = true;      // i -> j and j -> i; else i < j, or i = j and the first number in S that is not 0 above 0
    bool periodic = false; // S is 0 otherwise
    bool images = true;    // a box smaller than twice the cutoff is allowed: then there are several edges of one pair

    bool operator==(const NeighborOptions& other) const {
        return cutoff == other.cutoff && skin == other.skin && full == other.full && periodic == other.periodic &&
               images == other.images;
    }
};

} // namespace openmmnnp

#endif // OPENMMNNP_NEIGHBOR_OPTIONS_H_
