#include "neighbors/HostNeighbors.h"
#include <algorithm>

namespace openmmnnp {

namespace {

/** Rounding must not lose a candidate. */
constexpr double margin = 1 + 1e-6;

double square(const double r[3]) {
    return r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
}

} // namespace

template <class Real>
void HostNeighbors::update(const Real* newPositions, int n, const double newBox[9]) {
    const size_t count = 3 * static_cast<size_t>(n);
    const bool sameBox = !options.periodic || std::equal(box.begin(), box.end(), newBox);
    if (isFiltered && sameBox && positions.size() == count &&
        std::equal(positions.begin(), positions.end(), newPositions))
        return;
    isFiltered = false;
    positions.assign(newPositions, newPositions + count);
    std::copy_n(newBox, 9, box.begin());
    if (!candidatesHold())
        findCandidates();
    options.periodic ? filter<true>() : filter<false>();
    isFiltered = true;
}

template void HostNeighbors::update(const float*, int, const double[9]);
template void HostNeighbors::update(const double*, int, const double[9]);

bool HostNeighbors::candidatesHold() const {
    if (!isBuilt || builtPositions.size() != positions.size() || (options.periodic && builtBox != box))
        return false;
    const double limit = 0.25 * options.skin * options.skin;
    for (size_t i = 0; i < positions.size(); i += 3) {
        const double r[3] = {positions[i] - builtPositions[i], positions[i + 1] - builtPositions[i + 1],
                             positions[i + 2] - builtPositions[i + 2]};
        if (square(r) > limit)
            return false;
    }
    return true;
}

void HostNeighbors::findCandidates() {
    isBuilt = false;
    edgesBegin.clear();
    const int n = static_cast<int>(positions.size() / 3);
    const double range = margin * (options.cutoff + options.skin);
    grid.sort(positions.data(), n, NeighborBins::choose(options, range, n, box.data()), options.periodic);
    candidates.clear();
    candidatesOf.resize(n);
    images.clear();
    shifts.clear();
    numbers.clear();
    grid.forEachBin([&](int begin, int end, const std::vector<CellGrid::Near>& bins) {
        findNear(bins);
        for (int place = begin; place < end; place++)
            findCandidatesOf(place);
    });
    findHomes();
    edges.resize(candidates.size());
    edgesBegin.assign(n + 1, 0);
    builtPositions = positions;
    builtBox = box;
    isBuilt = true;
    numBuilds++;
}

/** Sorted for all centers in a bin at once; images of one particle stand in ascending order already. */
void HostNeighbors::findNear(const std::vector<CellGrid::Near>& bins) {
    near.clear();
    for (const CellGrid::Near& bin : bins) {
        const int image = numberOf(bin);
        for (int place = bin.begin; place < bin.end; place++) {
            const std::array<double, 3>& x = grid.getPosition(place);
            near.push_back(
                {{grid.getParticle(place), image}, {x[0] + bin.shift[0], x[1] + bin.shift[1], x[2] + bin.shift[2]}});
        }
    }
    std::stable_sort(near.begin(), near.end(),
                     [](const Near& a, const Near& b) { return a.candidate.neighbor < b.candidate.neighbor; });
    within.resize(std::max(within.size(), near.size() + 1));
}

int HostNeighbors::numberOf(const CellGrid::Near& bin) {
    const auto [place, isNew] = numbers.try_emplace(bin.cell, static_cast<int>(images.size()));
    if (isNew) {
        images.push_back(
            {static_cast<double>(bin.cell[0]), static_cast<double>(bin.cell[1]), static_cast<double>(bin.cell[2])});
        shifts.push_back(bin.shift);
    }
    return place->second;
}

void HostNeighbors::findCandidatesOf(int place) {
    const double range = margin * (options.cutoff + options.skin), limit = range * range;
    const std::array<double, 3>& x = grid.getPosition(place);
    size_t count = 0;
    for (size_t k = 0; k < near.size(); k++) {
        const std::array<double, 3>& y = near[k].position;
        const double r[3] = {y[0] - x[0], y[1] - x[1], y[2] - x[2]};
        within[count] = k;
        count += square(r) < limit; // no branch, which would be guessed wrong
    }
    const int center = grid.getParticle(place);
    const size_t first = candidates.size();
    for (size_t k = 0; k < count; k++)
        if (isWanted(center, near[within[k]].candidate))
            candidates.push_back(near[within[k]].candidate);
    candidatesOf[center] = {first, static_cast<uint32_t>(candidates.size() - first)};
}

bool HostNeighbors::isWanted(int center, const Candidate& candidate) const {
    if (center != candidate.neighbor)
        return options.full || center < candidate.neighbor;
    constexpr std::array<double, 3> none{};
    const std::array<double, 3>& image = images[candidate.image];
    return options.full ? image != none : image > none;
}

void HostNeighbors::findHomes() {
    homes.resize(positions.size() / 3);
    for (size_t i = 0; i < homes.size(); i++)
        for (int axis = 0; axis < 3; axis++)
            homes[i][axis] = grid.getCell(static_cast<int>(i))[axis];
}

void HostNeighbors::wrap() {
    wrapped.resize(positions.size());
    for (size_t i = 0; i < homes.size(); i++) {
        const std::array<double, 3> length = findLength(homes[i]);
        for (int axis = 0; axis < 3; axis++)
            wrapped[3 * i + axis] = positions[3 * i + axis] - length[axis];
    }
}

template <bool periodic>
void HostNeighbors::filter() {
    const double limit = options.cutoff * options.cutoff;
    const size_t n = positions.size() / 3;
    if constexpr (periodic)
        wrap();
    const double* x = periodic ? wrapped.data() : positions.data();
    size_t count = 0;
    edgesBegin[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const double* xi = x + 3 * i;
        const Candidate* candidate = candidates.data() + candidatesOf[i].begin;
        const uint32_t total = candidatesOf[i].count;
        for (uint32_t k = 0; k < total; k++, candidate++) {
            const double* xj = x + 3 * static_cast<size_t>(candidate->neighbor);
            double r[3] = {xj[0] - xi[0], xj[1] - xi[1], xj[2] - xi[2]};
            if constexpr (periodic)
                for (int axis = 0; axis < 3; axis++)
                    r[axis] += shifts[candidate->image][axis];
            edges[count] = k;
            count += square(r) < limit; // no branch, which would be guessed wrong
        }
        edgesBegin[i + 1] = count;
    }
}

} // namespace openmmnnp
