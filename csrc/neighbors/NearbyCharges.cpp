#include "neighbors/NearbyCharges.h"
#include "model/Printable.h"
#include "neighbors/CheckBox.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

namespace {

/** Rounding must not lose a candidate. */
constexpr double margin = 1 + 1e-6;

double smallestLength(const double box[9]) {
    return std::min({box[0], box[4], box[8]});
}

bool isFinite(const double* x) {
    return std::isfinite(x[0]) && std::isfinite(x[1]) && std::isfinite(x[2]);
}

/** The cell in which the image of a particle is that is nearest to the origin; `r` becomes that image.  It is the
    nearest one if its distance is less than half the smallest length of the (reduced) box. */
std::array<int, 3> reduce(double r[3], const double* box) {
    std::array<int, 3> cell{};
    for (int axis = 2; axis >= 0; axis--) {
        const double count = std::floor(r[axis] / box[4 * axis] + 0.5);
        for (int k = 0; k <= axis; k++)
            r[k] -= count * box[3 * axis + k];
        cell[axis] = -static_cast<int>(count);
    }
    return cell;
}

} // namespace

void checkBoxForCharges(const ChargeOptions& options, const double box[9]) {
    if (!options.images || options.cutoff == 0 || smallestLength(box) >= 2 * options.cutoff)
        return;
    throw ModelError("The periodic box is " + printNumber(smallestLength(box)) + " " + options.unit +
                     " long along an axis, less than twice the model's mm_cutoff of " + printNumber(options.cutoff) +
                     " " + options.unit +
                     ", so that a particle could meet two images of one MM charge; use a larger box, or export the "
                     "model with a smaller mm_cutoff.");
}

std::string describeTwoImages(const ChargeOptions& options, int particle) {
    return "The MM charge of particle " + std::to_string(particle) + " is within the model's mm_cutoff of " +
           printNumber(options.cutoff) + " " + options.unit +
           " as two periodic images at once, but the model takes it only once: the box is too small for the particles "
           "of the force. Use a larger box, or export the model with a smaller mm_cutoff.";
}

void NearbyCharges::update(const std::vector<double>& newRegion, const Source& source, const double newBox[9]) {
    checkBoxForCharges(options, newBox);
    std::copy_n(newBox, 9, box.begin());
    if (!candidatesHold(newRegion, source))
        findCandidates();
    choose();
}

/** Takes the new positions. */
bool NearbyCharges::candidatesHold(const std::vector<double>& newRegion, const Source& source) {
    bool hold = isBuilt && (!options.images || box == builtBox) && newRegion.size() == builtRegion.size();
    positions.resize(3 * static_cast<size_t>(source.count));
    builtPositions.resize(positions.size());
    particles.assign(source.particles, source.particles + source.count);
    const double limit = 0.25 * skin * skin;
    for (int j = 0; j < source.count; j++) {
        double square = 0;
        for (int axis = 0; axis < 3; axis++) {
            const size_t k = 3 * static_cast<size_t>(j) + axis;
            positions[k] = source.scale * source.positions[3 * static_cast<size_t>(source.particles[j]) + axis];
            square += (positions[k] - builtPositions[k]) * (positions[k] - builtPositions[k]);
        }
        hold = hold && square <= limit; // false if it is not a number
    }
    region = newRegion;
    for (size_t i = 0; hold && i < region.size(); i += 3) {
        double square = 0;
        for (size_t k = i; k < i + 3; k++)
            square += (region[k] - builtRegion[k]) * (region[k] - builtRegion[k]);
        hold = square <= limit;
    }
    return hold;
}

void NearbyCharges::findCandidates() {
    isBuilt = false;
    skin = options.images ? std::min(options.skin, smallestLength(box.data()) / 2 - options.cutoff) : options.skin;
    if (options.cutoff == 0)
        skin = 0; // which image is the nearest may change with any step
    candidates.clear();
    measureRegion();
    for (size_t j = 0; j < particles.size(); j++)
        findCandidatesOf(static_cast<int>(j));
    builtPositions = positions;
    builtRegion = region;
    builtBox = box;
    isBuilt = true;
    numBuilds++;
    chosen.reserve(candidates.size());
    chosenPositions.reserve(3 * candidates.size());
}

void NearbyCharges::findCandidatesOf(int charge) {
    const double* x = &positions[3 * static_cast<size_t>(charge)];
    if (!isFinite(x)) {
        candidates.push_back({charge, {}, true});
        return;
    }
    const bool all = options.cutoff == 0;
    if (!all && !isNearRegion(x))
        return;
    const size_t first = candidates.size();
    const double range = margin * (options.cutoff + skin);
    double closest = INFINITY;
    for (size_t i = 0; i < region.size(); i += 3) {
        double r[3] = {x[0] - region[i], x[1] - region[i + 1], x[2] - region[i + 2]};
        const std::array<int, 3> cell = options.images ? reduce(r, box.data()) : std::array<int, 3>{};
        const double square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
        if (!all && square >= range * range)
            continue;
        closest = std::min(closest, square);
        const bool known = std::any_of(candidates.begin() + static_cast<std::ptrdiff_t>(first), candidates.end(),
                                       [&](const Candidate& candidate) { return candidate.cell == cell; });
        if (!known)
            candidates.push_back({charge, cell, false});
    }
    const double surely = options.cutoff - skin;
    if (candidates.size() == first + 1)
        candidates.back().inside = all || (surely > 0 && closest * margin < surely * surely);
}

/** Could one of its images be within cutoff + skin?  Looks at distances from planes alone. */
bool NearbyCharges::isNearRegion(const double* position) const {
    const std::array<double, 3> fraction = toFractions(position);
    for (int axis = 0; axis < 3; axis++) {
        double away = fraction[axis] - middle[axis];
        if (options.images)
            away -= std::floor(away + 0.5);
        if (std::abs(away) * heights[axis] > halfWidth[axis] + margin * (options.cutoff + skin))
            return false;
    }
    return true;
}

void NearbyCharges::measureRegion() {
    heights = {1, 1, 1};
    if (options.images)
        findHeights(box.data(), heights.data());
    std::array<double, 3> low, high;
    low.fill(INFINITY);
    high.fill(-INFINITY);
    for (size_t i = 0; i < region.size(); i += 3) {
        const std::array<double, 3> fraction = toFractions(&region[i]);
        for (int axis = 0; axis < 3; axis++) {
            low[axis] = std::min(low[axis], fraction[axis]);
            high[axis] = std::max(high[axis], fraction[axis]);
        }
    }
    for (int axis = 0; axis < 3; axis++) {
        middle[axis] = 0.5 * (low[axis] + high[axis]);
        halfWidth[axis] = 0.5 * (high[axis] - low[axis]) * heights[axis];
    }
}

/** Coordinates along the box vectors; the position itself without a box. */
std::array<double, 3> NearbyCharges::toFractions(const double* x) const {
    if (!options.images)
        return {x[0], x[1], x[2]};
    const double c = x[2] / box[8], b = (x[1] - c * box[7]) / box[4];
    return {(x[0] - b * box[3] - c * box[6]) / box[0], b, c};
}

std::array<double, 3> NearbyCharges::imageOf(const Candidate& candidate) const {
    const double* x = &positions[3 * static_cast<size_t>(candidate.charge)];
    std::array<double, 3> image = {x[0], x[1], x[2]};
    for (int axis = 0; options.images && axis < 3; axis++)
        for (int k = 0; k <= axis; k++)
            image[k] += candidate.cell[axis] * box[3 * axis + k];
    return image;
}

double NearbyCharges::squareToRegion(const std::array<double, 3>& x) const {
    double least = INFINITY;
    for (size_t i = 0; i < region.size(); i += 3) {
        const double r[3] = {x[0] - region[i], x[1] - region[i + 1], x[2] - region[i + 2]};
        least = std::min(least, r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    }
    return least;
}

/** Candidates of one charge stand together, each as another image. */
void NearbyCharges::choose() {
    chosen.clear();
    chosenPositions.clear();
    const double limit = options.cutoff == 0 ? INFINITY : options.cutoff * options.cutoff;
    for (size_t first = 0, end = 0; first < candidates.size(); first = end) {
        double closest = limit;
        int numNear = 0;
        std::array<double, 3> nearest{};
        for (end = first; end < candidates.size() && candidates[end].charge == candidates[first].charge; end++) {
            const std::array<double, 3> image = imageOf(candidates[end]);
            const double square = candidates[end].inside ? 0 : squareToRegion(image);
            if (square >= limit)
                continue;
            numNear++;
            if (square < closest) {
                closest = square;
                nearest = image;
            }
        }
        if (numNear == 0)
            continue;
        if (numNear > 1 && options.images && options.oneImage)
            throw ModelError(describeTwoImages(options, particles[candidates[first].charge]));
        chosen.push_back(candidates[first].charge);
        chosenPositions.insert(chosenPositions.end(), nearest.begin(), nearest.end());
    }
}

} // namespace openmmnnp
