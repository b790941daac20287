#ifndef OPENMMNNP_CELL_GRID_H_
#define OPENMMNNP_CELL_GRID_H_

#include "neighbors/NeighborBins.h"
#include <array>
#include <vector>

namespace openmmnnp {

/**
 * Particles sorted into bins (NeighborBins), on the host.
 *
 * If a periodic box is small, a bin is near itself and others more than once, as different images.
 */
class CellGrid {
public:
    /** A bin in reach of another, as the image that is displaced by `cell` * box. */
    struct Near {
        int begin, end; // of its particles in the sorted order
        std::array<int, 3> cell;
        std::array<double, 3> shift;
    };
    /** Sort n particles, positions [n][3].  Throws ModelError if one is too many boxes away to count them. */
    void sort(const double* positions, int n, const NeighborBins& bins, bool periodic);
    /** Call visit(begin, end, near) for each bin and those in reach of it, which stand in ascending order of cells. */
    template <class Visit>
    void forEachBin(Visit visit);
    /** Which particle has a place in the sorted order. */
    int getParticle(int place) const {
        return sorted[place];
    }
    /** Its position, in the first box if there is one. */
    const std::array<double, 3>& getPosition(int place) const {
        return wrapped[place];
    }
    /** By how many box vectors a particle is away from there. */
    const std::array<int, 3>& getCell(int particle) const {
        return cells[particle];
    }

private:
    int place(const double* position, int particle);
    void fill(const double* positions);
    void findNear(const std::array<int, 3>& bin);

    NeighborBins bins;
    bool periodic = false;
    std::vector<int> binOf;                     // by particle
    std::vector<std::array<int, 3>> cells;      // by particle
    std::vector<int> binBegin;                  // in the sorted order
    std::vector<int> sorted;                    // particles
    std::vector<std::array<double, 3>> wrapped; // in the sorted order
    std::vector<Near> near;
};

template <class Visit>
void CellGrid::forEachBin(Visit visit) {
    int index = 0;
    for (int x = 0; x < bins.count[0]; x++)
        for (int y = 0; y < bins.count[1]; y++)
            for (int z = 0; z < bins.count[2]; z++, index++)
                if (binBegin[index] < binBegin[index + 1]) {
                    findNear({x, y, z});
                    visit(binBegin[index], binBegin[index + 1], near);
                }
}

} // namespace openmmnnp

#endif // OPENMMNNP_CELL_GRID_H_
