#include "platforms/common/DeviceNeighbors.h"
#include "openmmnnp_kernels.h"
#include <algorithm>
#include <cmath>
#include <openmm/common/ContextSelector.h>

namespace openmmnnp {

namespace {

constexpr int mostOfFew = 128;        // particles for which one launch does all
constexpr int mostThreads = 512;      // of a group
constexpr int wordSize = 32;          // candidates that make up a word
constexpr int64_t leastCapacity = 64; // for which there is room at first
constexpr double slack = 1.2;         // room beyond what is needed or expected
constexpr int neighborsInVacuum = 60; // expected within the range: as in an organic liquid, about 0.5 nm
constexpr double mostExpected = 256;  // likewise in any box, which need not be the one that will be used

int64_t roundUp(double count) {
    return wordSize * static_cast<int64_t>(std::ceil(count / wordSize));
}

/** Rounding must not lose a candidate. */
double widen(double range, bool wide) {
    return range * (wide ? 1 + 1e-6 : 1 + 1e-4);
}

template <class... Arguments>
void setArguments(OpenMM::ComputeKernelImpl& kernel, Arguments&... arguments) {
    int index = 0;
    (kernel.setArg(index++, arguments), ...);
}

template <class Real4>
Real4 row(const std::array<double, 9>& box, int i) {
    Real4 vector;
    vector.x = box[3 * i];
    vector.y = box[3 * i + 1];
    vector.z = box[3 * i + 2];
    vector.w = 0;
    return vector;
}

OpenMM::mm_int4 makeInt4(const std::array<int, 3>& values) {
    return OpenMM::mm_int4(values[0], values[1], values[2], 0);
}

} // namespace

/** OpenMM's word that an evaluation begins. */
class DeviceNeighbors::NewEvaluation : public OpenMM::ComputeContext::ForcePreComputation {
public:
    explicit NewEvaluation(std::weak_ptr<DeviceNeighbors> neighbors) : neighbors(std::move(neighbors)) {}
    void computeForceAndEnergy(bool, bool, int) override {
        if (const std::shared_ptr<DeviceNeighbors> alive = neighbors.lock())
            alive->isCurrent = false;
    }

private:
    std::weak_ptr<DeviceNeighbors> neighbors;
};

std::shared_ptr<DeviceNeighbors> DeviceNeighbors::make(OpenMM::ComputeContext& context, int numParticles,
                                                       const NeighborOptions& options, const EdgeLayout& layout,
                                                       const double box[9], std::unique_ptr<HostNumbers> numbers) {
    const OpenMM::ContextSelector selector(context);
    std::shared_ptr<DeviceNeighbors> made(
        new DeviceNeighbors(context, numParticles, options, layout, box, std::move(numbers)));
    context.addPreComputation(new NewEvaluation(made));
    return made;
}

DeviceNeighbors::DeviceNeighbors(OpenMM::ComputeContext& context, int numParticles, const NeighborOptions& options,
                                 const EdgeLayout& layout, const double box[9], std::unique_ptr<HostNumbers> numbers)
    : context(context), numParticles(numParticles), options(options), layout(layout),
      wide(context.getSupportsDoublePrecision()), isFew(numParticles <= mostOfFew),
      range(widen(options.cutoff + options.skin, wide)), numbers(std::move(numbers)) {
    estimateSizes(box);
    allocate();
    compile();
}

/** As if the particles filled the box evenly. */
void DeviceNeighbors::estimateSizes(const double box[9]) {
    const double volume = box[0] * box[4] * box[8];
    const auto expect = [&](double within) {
        const double inBox = numParticles / volume * 4.19 * std::pow(range, 3);
        const double inRange = options.periodic ? inBox : std::min(neighborsInVacuum, numParticles - 1);
        return std::min(inRange, mostExpected) * std::pow(within / range, 3);
    };
    rowCapacity = static_cast<int>(roundUp(expect(range) + 6 * std::sqrt(expect(range)) + 8));
    const double numPairs = numParticles * expect(options.cutoff) * (options.full ? 1 : 0.5);
    capacity = layout.fixedCapacity > 0 ? layout.fixedCapacity : std::max(leastCapacity, roundUp(slack * numPairs));
}

void DeviceNeighbors::allocate() {
    const size_t n = numParticles, real = layout.modelIsDouble ? sizeof(double) : sizeof(float);
    const size_t index = layout.longIndices ? sizeof(int64_t) : sizeof(int32_t);
    numParts = isFew ? 1 : context.getNumThreadBlocks();
    builtPositions.initialize(context, 3 * n, real, "nnpBuiltPositions");
    binBegin.initialize<int>(context, NeighborBins::getMost(numParticles) + 1, "nnpBinBegin");
    sorted.initialize<int>(context, n, "nnpSorted");
    wrapped.initialize(context, n, wide ? sizeof(OpenMM::mm_double4) : sizeof(OpenMM::mm_float4), "nnpWrapped");
    cells.initialize<OpenMM::mm_int4>(context, n, "nnpCells");
    rowCounts.initialize<int>(context, n, "nnpRowCounts");
    candidates.initialize<uint64_t>(context, n * rowCapacity, "nnpCandidates");
    masks.initialize<uint32_t>(context, n * rowCapacity / wordSize, "nnpMasks");
    partCounts.initialize<int64_t>(context, 2 * numParts, "nnpPartCounts");
    state.initialize<int>(context, 2, "nnpState");
    state.upload(std::vector<int>{1, 0});
    edges.initialize(context, 2 * capacity, index, "nnpEdges");
    shifts.initialize(context, 3 * capacity, layout.realShifts ? real : index, "nnpShifts");
}

void DeviceNeighbors::compile() {
    const char* index = layout.longIndices ? "mm_long" : "int";
    const char* real = layout.modelIsDouble ? "double" : "float";
    std::map<std::string, std::string> defines = {{"NUM_PARTICLES", context.intToString(numParticles)},
                                                  {"GROUP_SIZE", context.intToString(mostThreads)},
                                                  {"MODEL_REAL", real},
                                                  {"WIDE", wide ? "double" : "float"},
                                                  {"WIDE4", wide ? "double4" : "float4"},
                                                  {"INDEX", index},
                                                  {"SHIFT", layout.realShifts ? real : index}};
    if (options.periodic)
        defines["PERIODIC"] = "1";
    if (!options.full)
        defines["HALF"] = "1";
    if (layout.cartesian)
        defines["CARTESIAN"] = "1";
    const OpenMM::ComputeProgram program =
        context.compileProgram(std::string(kernels::sums) + kernels::candidates + kernels::neighbors, defines);
    int mostAlone = mostThreads;
    const auto make = [&](const char* name, int numArguments) {
        const OpenMM::ComputeKernel kernel = program->createKernel(name);
        for (int i = 0; i < numArguments; i++)
            kernel->addArg();
        mostAlone = std::min(mostAlone, kernel->getMaxBlockSize());
        return kernel;
    };
    if (isFew)
        all = make("findNeighborsOfFew", 25);
    else {
        moved = make("findMoved", 5);
        sorter = make("sortIntoBins", 11);
        finder = make("findCandidates", 14);
        marker = make("markEdges", 12);
        writer = make("writeEdges", 14);
    }
    numbers->addTo(isFew ? *all : *writer);
    loneGroupSize = context.getIsCPU() ? wordSize : mostAlone / wordSize * wordSize;
    groupSize = std::min(loneGroupSize, 4 * wordSize);
}

void DeviceNeighbors::enqueue(OpenMM::ComputeArray& positions, const double box[9]) {
    if (isCurrent)
        return;
    const OpenMM::ContextSelector selector(context);
    grow();
    const NeighborBins newBins = NeighborBins::choose(options, range, numParticles, box);
    mustBuild |= newBins.box != bins.box;
    bins = newBins;
    if (wide)
        isFew ? launchForFew<double, OpenMM::mm_double4>(positions) : launch<double, OpenMM::mm_double4>(positions);
    else
        isFew ? launchForFew<float, OpenMM::mm_float4>(positions) : launch<float, OpenMM::mm_float4>(positions);
    numbers->send();
    mustBuild = 0;
    isCurrent = true;
    isKnown = false;
}

template <class Real, class Real4>
void DeviceNeighbors::launch(OpenMM::ComputeArray& positions) {
    const Real4 a = row<Real4>(bins.box, 0), b = row<Real4>(bins.box, 1), c = row<Real4>(bins.box, 2);
    const OpenMM::mm_int4 numBins = makeInt4(bins.count), reach = makeInt4(bins.reach);
    const Real moveLimit = 0.25 * options.skin * options.skin, rangeLimit = range * range,
               cutoffLimit = options.cutoff * options.cutoff, padding = getPadding();
    setArguments(*moved, positions, builtPositions, moveLimit, mustBuild, state);
    setArguments(*sorter, positions, builtPositions, a, b, c, numBins, binBegin, sorted, wrapped, cells, state);
    setArguments(*finder, a, b, c, numBins, reach, rangeLimit, rowCapacity, binBegin, sorted, wrapped, cells, rowCounts,
                 candidates, state);
    setArguments(*marker, numParts, positions, a, b, c, cutoffLimit, rowCapacity, cells, rowCounts, candidates, masks,
                 partCounts);
    setArguments(*writer, numParts, a, b, c, rowCapacity, capacity, padding, cells, candidates, masks, partCounts,
                 edges, shifts, state);
    moved->execute(numParticles);
    sorter->execute(loneGroupSize, loneGroupSize);
    finder->execute(numParticles * groupSize, groupSize);
    marker->execute(numParts * groupSize, groupSize);
    writer->execute(numParts * groupSize, groupSize);
}

template <class Real, class Real4>
void DeviceNeighbors::launchForFew(OpenMM::ComputeArray& positions) {
    const Real4 a = row<Real4>(bins.box, 0), b = row<Real4>(bins.box, 1), c = row<Real4>(bins.box, 2);
    const OpenMM::mm_int4 numBins = makeInt4(bins.count), reach = makeInt4(bins.reach);
    const Real moveLimit = 0.25 * options.skin * options.skin, rangeLimit = range * range,
               cutoffLimit = options.cutoff * options.cutoff, padding = getPadding();
    setArguments(*all, positions, builtPositions, moveLimit, mustBuild, a, b, c, numBins, reach, rangeLimit,
                 cutoffLimit, rowCapacity, capacity, padding, binBegin, sorted, wrapped, cells, rowCounts, candidates,
                 masks, partCounts, edges, shifts, state);
    all->execute(loneGroupSize, loneGroupSize);
}

/** The first component of a padding edge's shift: at least twice the cutoff long. */
double DeviceNeighbors::getPadding() const {
    if (layout.cartesian)
        return 2 * options.cutoff;
    return options.periodic ? std::ceil(2 * options.cutoff / bins.box[0]) : 1; // of the four cutoffs the model is given
}

bool DeviceNeighbors::fits() {
    if (!isKnown) {
        const long long* values = numbers->wait();
        numEdges = values[0];
        longestRow = values[1];
        numBuilds = values[2];
        isKnown = true;
    }
    return longestRow <= rowCapacity && (numEdges <= capacity || layout.fixedCapacity > 0);
}

/** Nothing that was enqueued may use the old arrays when they go. */
void DeviceNeighbors::grow() {
    const bool moreEdges = numEdges > capacity && layout.fixedCapacity == 0, moreCandidates = longestRow > rowCapacity;
    if (!moreEdges && !moreCandidates)
        return;
    const OpenMM::ComputeEvent passed = context.createEvent();
    passed->enqueue();
    passed->wait();
    mustBuild = 1;
    numGrowths++; // also if there is no memory: what was there before is gone then
    if (moreCandidates) {
        const auto needed = static_cast<size_t>(roundUp(slack * longestRow));
        rowCapacity = 0; // until there is memory: no kernel runs before
        candidates.resize(numParticles * needed);
        masks.resize(numParticles * needed / wordSize);
        rowCapacity = static_cast<int>(needed);
    }
    if (moreEdges) {
        const int64_t needed = roundUp(slack * numEdges);
        capacity = 0;
        edges.resize(2 * needed);
        shifts.resize(3 * needed);
        capacity = needed;
    }
    numEdges = longestRow = 0;
}

} // namespace openmmnnp
