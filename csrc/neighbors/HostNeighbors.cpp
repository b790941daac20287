#include "neighbors/HostNeighbors.h"
#include <algorithm>

namespace openmmnnp {

namespace {

/** Rounding must not lose a candidate. */
constexpr double margin = 1 + 1e-6;

void displace(double r[3], const int cell[3], const double* box) {
    r[0] += cell[0] * box[0] + cell[1] * box[3] + cell[2] * box[6];
    r[1] += cell[1] * box[4] + cell[2] * box[7];
    r[2] += cell[2] * box[8];
}

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
    const int n = static_cast<int>(positions.size() / 3);
    const double range = margin * (options.cutoff + options.skin);
    grid.sort(positions.data(), n, NeighborBins::choose(options, range, n, box.data()), options.periodic);
    candidates.clear();
    candidatesOf.resize(n);
    grid.forEachBin([&](int begin, int end, const std::vector<CellGrid::Near>& near) {
        for (int place = begin; place < end; place++)
            findCandidatesOf(place, near);
    });
    edges.resize(candidates.size());
    edgesBegin.assign(n + 1, 0);
    builtPositions = positions;
    builtBox = box;
    isBuilt = true;
    numBuilds++;
}

/** Neighbor and bin make up a key that sorts like neighbor and cell. */
void HostNeighbors::findCandidatesOf(int place, const std::vector<CellGrid::Near>& near) {
    const double range = margin * (options.cutoff + options.skin), limit = range * range;
    const std::array<double, 3>& x = grid.getPosition(place);
    size_t count = 0, room = 0;
    for (const CellGrid::Near& bin : near)
        room += bin.end - bin.begin;
    keys.resize(std::max(keys.size(), room + 1));
    for (size_t b = 0; b < near.size(); b++)
        for (int other = near[b].begin; other < near[b].end; other++) {
            const std::array<double, 3>& y = grid.getPosition(other);
            double r[3];
            for (int axis = 0; axis < 3; axis++)
                r[axis] = y[axis] + near[b].shift[axis] - x[axis];
            keys[count] = static_cast<uint64_t>(grid.getParticle(other)) << 32 | b;
            count += square(r) < limit;
        }
    std::sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count));
    const int center = grid.getParticle(place);
    const std::array<int, 3>& home = grid.getCell(center);
    const size_t first = candidates.size();
    for (size_t k = 0; k < count; k++) {
        const int neighbor = static_cast<int>(keys[k] >> 32);
        const std::array<int, 3>&image = near[keys[k] & 0xffffffff].cell, &away = grid.getCell(neighbor);
        if (isWanted(center, neighbor, image))
            candidates.push_back(
                {neighbor, {image[0] + home[0] - away[0], image[1] + home[1] - away[1], image[2] + home[2] - away[2]}});
    }
    candidatesOf[center] = {first, static_cast<uint32_t>(candidates.size() - first)};
}

bool HostNeighbors::isWanted(int center, int neighbor, const std::array<int, 3>& image) const {
    if (center != neighbor)
        return options.full || center < neighbor;
    constexpr std::array<int, 3> none{};
    return options.full ? image != none : image > none;
}

template <bool periodic>
void HostNeighbors::filter() {
    const double limit = options.cutoff * options.cutoff;
    const size_t n = positions.size() / 3;
    size_t count = 0;
    edgesBegin[0] = 0;
    for (size_t i = 0; i < n; i++) {
        const double* xi = &positions[3 * i];
        const Candidate* candidate = candidates.data() + candidatesOf[i].begin;
        const uint32_t total = candidatesOf[i].count;
        for (uint32_t k = 0; k < total; k++, candidate++) {
            const double* xj = &positions[3 * static_cast<size_t>(candidate->neighbor)];
            double r[3] = {xj[0] - xi[0], xj[1] - xi[1], xj[2] - xi[2]};
            if constexpr (periodic)
                displace(r, candidate->cell, box.data());
            edges[count] = k;
            count += square(r) < limit; // no branch, which would be guessed wrong
        }
        edgesBegin[i + 1] = count;
    }
}

} // namespace openmmnnp
