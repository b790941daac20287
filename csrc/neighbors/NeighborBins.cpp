#include "neighbors/NeighborBins.h"
#include "neighbors/CheckBox.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

namespace {

constexpr int mostForAllPairs = 512; // without a box
constexpr int mostImages = 500;      // to either side: a candidate has ten bits for each axis

/** As many bins per axis as there are particles for, four in a bin. */
NeighborBins chooseRepeating(double range, int n) {
    NeighborBins bins;
    const int count = n > mostForAllPairs ? std::max(3, static_cast<int>(std::cbrt(n / 4.0))) : 1;
    for (int axis = 0; axis < 3; axis++) {
        bins.box[4 * axis] = count * range;
        bins.count[axis] = count;
        bins.reach[axis] = count > 1;
    }
    return bins;
}

} // namespace

NeighborBins NeighborBins::choose(const NeighborOptions& options, double range, int n, const double box[9]) {
    if (!options.periodic)
        return chooseRepeating(range, n);
    NeighborBins bins;
    std::copy_n(box, 9, bins.box.begin());
    double heights[3];
    findHeights(box, heights);
    if (!(range / *std::min_element(heights, heights + 3) < mostImages))
        throw ModelError("The cutoff and the skin are more than " + std::to_string(mostImages) +
                         " times as long as the periodic box, and its edges cannot be found; use a larger box.");
    for (int axis = 0; axis < 3; axis++)
        bins.count[axis] = static_cast<int>(std::clamp(std::floor(heights[axis] / range), 1.0, getMost(n) * 1.0));
    while (static_cast<double>(bins.count[0]) * bins.count[1] * bins.count[2] > getMost(n)) {
        int& largest = *std::max_element(bins.count.begin(), bins.count.end());
        largest = (largest + 1) / 2;
    }
    for (int axis = 0; axis < 3; axis++)
        bins.reach[axis] = static_cast<int>(std::ceil(range * bins.count[axis] / heights[axis]));
    return bins;
}

} // namespace openmmnnp
