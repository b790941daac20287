#include "neighbors/CellGrid.h"
#include "neighbors/CheckBox.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

void CellGrid::sort(const double* positions, int n, const double* box, double range) {
    periodic = box != nullptr;
    if (periodic)
        std::copy_n(box, 9, boxRows.begin());
    binOf.resize(n);
    cells.assign(n, {});
    chooseBins(positions, n, box, range);
    for (int i = 0; i < n; i++)
        binOf[i] = place(positions + 3 * static_cast<size_t>(i), box, cells[i]);
    fill(positions, box);
}

void CellGrid::chooseBins(const double* positions, int n, const double* box, double range) {
    std::array<double, 3> extent{};
    if (periodic)
        findHeights(box, extent.data());
    for (int axis = 0; axis < 3 && !periodic && n > 0; axis++) {
        double low = positions[axis], high = low;
        for (int i = 1; i < n; i++) {
            low = std::min(low, positions[3 * static_cast<size_t>(i) + axis]);
            high = std::max(high, positions[3 * static_cast<size_t>(i) + axis]);
        }
        origin[axis] = low;
        extent[axis] = high - low;
    }
    const double most = 4.0 * n + 64;
    for (int axis = 0; axis < 3; axis++)
        numBins[axis] = static_cast<int>(std::clamp(std::floor(extent[axis] / range), 1.0, most));
    while (static_cast<double>(numBins[0]) * numBins[1] * numBins[2] > most) { // far more space than particles
        int& largest = *std::max_element(numBins.begin(), numBins.end());
        largest = (largest + 1) / 2;
    }
    for (int axis = 0; axis < 3; axis++) {
        perLength[axis] = extent[axis] > 0 ? numBins[axis] / extent[axis] : 0;
        reach[axis] = periodic ? static_cast<int>(std::ceil(range * perLength[axis])) : std::min(1, numBins[axis] - 1);
    }
}

/** The particle's bin, and its box. */
int CellGrid::place(const double* x, const double* box, std::array<int, 3>& cell) const {
    std::array<double, 3> inBins{};
    if (periodic) {
        std::array<double, 3> s{};
        s[2] = x[2] / box[8];
        s[1] = (x[1] - s[2] * box[7]) / box[4];
        s[0] = (x[0] - s[1] * box[3] - s[2] * box[6]) / box[0];
        for (int axis = 0; axis < 3; axis++) {
            const double floor = std::floor(s[axis]);
            cell[axis] = static_cast<int>(floor);
            inBins[axis] = (s[axis] - floor) * numBins[axis];
        }
    } else
        for (int axis = 0; axis < 3; axis++)
            inBins[axis] = (x[axis] - origin[axis]) * perLength[axis];
    int index = 0;
    for (int axis = 0; axis < 3; axis++)
        index = index * numBins[axis] + std::min(static_cast<int>(inBins[axis]), numBins[axis] - 1);
    return index;
}

/** Sort by bin, and by index within a bin. */
void CellGrid::fill(const double* positions, const double* box) {
    const size_t n = binOf.size();
    binBegin.assign(static_cast<size_t>(numBins[0]) * numBins[1] * numBins[2] + 1, 0);
    for (const int bin : binOf)
        binBegin[bin]++;
    int end = 0;
    for (int& begin : binBegin)
        begin = end += begin;
    sorted.resize(n);
    wrapped.resize(n);
    for (size_t i = n; i-- > 0;) {
        const int to = --binBegin[binOf[i]];
        const std::array<int, 3>& c = cells[i];
        sorted[to] = static_cast<int>(i);
        for (int axis = 0; axis < 3; axis++)
            wrapped[to][axis] = positions[3 * i + axis] -
                                (periodic ? c[0] * box[axis] + c[1] * box[3 + axis] + c[2] * box[6 + axis] : 0);
    }
}

/** Which bin lies at a number along an axis, and in which image; false if there is none. */
bool CellGrid::findTarget(int axis, int target, int& bin, int& cell) const {
    const int k = numBins[axis];
    cell = target >= 0 ? target / k : -((k - 1 - target) / k);
    bin = target - cell * k;
    return periodic || cell == 0;
}

void CellGrid::findNear(const std::array<int, 3>& bin) {
    near.clear();
    int x, y, z;
    std::array<int, 3> m{};
    for (int i = -reach[0]; i <= reach[0]; i++)
        for (int j = -reach[1]; j <= reach[1]; j++)
            for (int k = -reach[2]; k <= reach[2]; k++) {
                if (!findTarget(0, bin[0] + i, x, m[0]) || !findTarget(1, bin[1] + j, y, m[1]) ||
                    !findTarget(2, bin[2] + k, z, m[2]))
                    continue;
                const int index = (x * numBins[1] + y) * numBins[2] + z;
                Near found{binBegin[index], binBegin[index + 1], m, {}};
                for (int axis = 0; axis < 3 && periodic; axis++)
                    found.shift[axis] = m[0] * boxRows[axis] + m[1] * boxRows[3 + axis] + m[2] * boxRows[6 + axis];
                if (found.begin < found.end)
                    near.push_back(found);
            }
}

} // namespace openmmnnp
