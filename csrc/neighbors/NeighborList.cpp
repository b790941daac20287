#include "openmmnnp/NeighborList.h"
#include "neighbors/CheckBox.h"
#include "neighbors/HostNeighbors.h"
#include <algorithm>
#include <array>
#include <cmath>

namespace openmmnnp {

namespace {

void checkFinite(const double* numbers, int count, const char* what) {
    for (int i = 0; i < count; i++)
        if (!std::isfinite(numbers[i]))
            throw ModelError(std::string(what) + " that is not finite was given; finite numbers are needed.");
}

void checkReduced(const double* box) {
    const double &ax = box[0], &bx = box[3], &by = box[4], &cx = box[6], &cy = box[7], &cz = box[8];
    const double most = 0.5 * (1 + 1e-6);
    const bool isLower = box[1] == 0 && box[2] == 0 && box[5] == 0;
    const bool isReduced = std::abs(bx) <= most * ax && std::abs(cx) <= most * ax && std::abs(cy) <= most * by;
    if (!isLower || !(ax > 0 && by > 0 && cz > 0) || !isReduced)
        throw ModelError("The box vectors are not in OpenMM's reduced form, which is needed: a along x, b in the xy "
                         "plane, and no component longer than half the vector before it; see "
                         "openmm.app.internal.unitcell.reducePeriodicBoxVectors().");
}

} // namespace

NeighborList::NeighborList(double cutoff, double skin, bool full, bool images)
    : cutoff(cutoff), skin(skin), full(full), images(images) {
    if (!(cutoff > 0 && std::isfinite(cutoff)))
        throw ModelError("The cutoff is " + std::to_string(cutoff) + ", but a length above 0 is needed.");
    if (!(skin >= 0 && std::isfinite(skin)))
        throw ModelError("The skin is " + std::to_string(skin) + ", but a length of 0 or more is needed.");
}

NeighborList::~NeighborList() = default;

void NeighborList::find(const double* positions, int n, const double* box) {
    const bool periodic = box != nullptr;
    checkFinite(positions, 3 * n, "A position");
    if (periodic) {
        checkFinite(box, 9, "A box vector");
        checkReduced(box);
    }
    if (!list || list->getOptions().periodic != periodic)
        list = std::make_unique<HostNeighbors>(NeighborOptions{cutoff, std::min(skin, cutoff), full, periodic, images});
    if (periodic)
        checkBox(list->getOptions(), box, "(in the unit of the positions)");
    list->update(positions, n, periodic ? box : std::array<double, 9>{}.data());
}

int64_t NeighborList::getNumEdges() const {
    return list ? list->getNumEdges() : 0;
}

void NeighborList::copy(int64_t* edges, int64_t* cells) const {
    int64_t *center = edges, *neighbor = edges + getNumEdges();
    if (list)
        list->forEach([&](int i, int j, int image) {
            *center++ = i;
            *neighbor++ = j;
            for (const double number : list->getCell(i, j, image))
                *cells++ = static_cast<int64_t>(number);
        });
}

} // namespace openmmnnp
