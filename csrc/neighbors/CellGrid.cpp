#include "neighbors/CellGrid.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

namespace {

constexpr double mostBoxes = 1 << 30; // that can be counted

/** What a cell is away, an axis of the box at a time. */
double displacement(const std::array<int, 3>& cell, const std::array<double, 9>& box, int axis) {
    return cell[0] * box[axis] + cell[1] * box[3 + axis] + cell[2] * box[6 + axis];
}

} // namespace

void CellGrid::sort(const double* positions, int n, const NeighborBins& newBins, bool isPeriodic) {
    bins = newBins;
    periodic = isPeriodic;
    binOf.resize(n);
    cells.assign(n, {});
    for (int i = 0; i < n; i++)
        binOf[i] = place(positions + 3 * static_cast<size_t>(i), i);
    fill(positions);
}

/** The particle's bin; sets its cell. */
int CellGrid::place(const double* x, int particle) {
    const std::array<double, 9>& box = bins.box;
    std::array<double, 3> s{};
    s[2] = x[2] / box[8];
    s[1] = (x[1] - s[2] * box[7]) / box[4];
    s[0] = (x[0] - s[1] * box[3] - s[2] * box[6]) / box[0];
    int index = 0;
    for (int axis = 0; axis < 3; axis++) {
        const double floor = std::floor(s[axis]), inBins = (s[axis] - floor) * bins.count[axis];
        if (periodic && !(std::abs(floor) < mostBoxes))
            throw ModelError("The position number " + std::to_string(particle) +
                             " is more than a billion boxes away from the periodic box: the simulation has blown up, "
                             "or wrong positions were set.");
        if (periodic)
            cells[particle][axis] = static_cast<int>(floor);
        const int bin = inBins > 0 ? static_cast<int>(inBins) : 0; // also where it is no number
        index = index * bins.count[axis] + std::min(bin, bins.count[axis] - 1);
    }
    return index;
}

/** Sort by bin, and by index within a bin. */
void CellGrid::fill(const double* positions) {
    const size_t n = binOf.size();
    binBegin.assign(static_cast<size_t>(bins.count[0]) * bins.count[1] * bins.count[2] + 1, 0);
    for (const int bin : binOf)
        binBegin[bin]++;
    int end = 0;
    for (int& begin : binBegin)
        begin = end += begin;
    sorted.resize(n);
    wrapped.resize(n);
    for (size_t i = n; i-- > 0;) {
        const int to = --binBegin[binOf[i]];
        sorted[to] = static_cast<int>(i);
        for (int axis = 0; axis < 3; axis++)
            wrapped[to][axis] = positions[3 * i + axis] - displacement(cells[i], bins.box, axis);
    }
}

/** Bins that repeat through space are as near as images, but nothing is displaced. */
void CellGrid::findNear(const std::array<int, 3>& bin) {
    near.clear();
    const std::array<int, 3>&k = bins.count, &reach = bins.reach;
    std::array<int, 3> offset{}, there{};
    for (offset[0] = -reach[0]; offset[0] <= reach[0]; offset[0]++)
        for (offset[1] = -reach[1]; offset[1] <= reach[1]; offset[1]++)
            for (offset[2] = -reach[2]; offset[2] <= reach[2]; offset[2]++) {
                Near found{};
                for (int axis = 0; axis < 3; axis++) {
                    const int target = bin[axis] + offset[axis];
                    const int cell = target >= 0 ? target / k[axis] : -((k[axis] - 1 - target) / k[axis]);
                    there[axis] = target - cell * k[axis];
                    found.cell[axis] = periodic ? cell : 0;
                }
                const int index = (there[0] * k[1] + there[1]) * k[2] + there[2];
                found.begin = binBegin[index];
                found.end = binBegin[index + 1];
                for (int axis = 0; axis < 3; axis++)
                    found.shift[axis] = displacement(found.cell, bins.box, axis);
                if (found.begin < found.end)
                    near.push_back(found);
            }
}

} // namespace openmmnnp
