#ifndef OPENMMNNP_DEVICE_NEIGHBORS_H_
#define OPENMMNNP_DEVICE_NEIGHBORS_H_

#include "neighbors/NeighborBins.h"
#include "platforms/common/HostNumbers.h"
#include <cstdint>
#include <memory>
#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeContext.h>
#include <openmm/common/ComputeKernel.h>

namespace openmmnnp {

/** How a model wants its edges. */
struct EdgeLayout {
    bool modelIsDouble = false;
    bool longIndices = true;   // int64, else int32: of edges, and of shifts that are not real
    bool realShifts = false;   // in the model's dtype
    bool cartesian = false;    // shifts are vectors, else cells
    int64_t fixedCapacity = 0; // 0: it grows as needed

    bool operator==(const EdgeLayout& other) const {
        return modelIsDouble == other.modelIsDouble && longIndices == other.longIndices &&
               realShifts == other.realShifts && cartesian == other.cartesian && fixedCapacity == other.fixedCapacity;
    }
};

/**
 * The neighbors stage on a device: the edges of a set of particles, in arrays of fixed size that are filled up with
 * padding.
 *
 * An evaluation enqueues kernels and waits for nothing.  How many edges there were reaches the host by itself: when it
 * looks, and they or the candidates did not fit, the evaluation is void, and the arrays grow at the beginning of the
 * next one.  What used the arrays before must have been ordered before the queue by then.
 *
 * Several forces may share an object: in one evaluation of OpenMM, only the first call does something.
 */
class DeviceNeighbors {
public:
    static constexpr int numNumbers = 3; // that reach the host

    /** All lengths are in the model's unit; `box` [9] is that of now, from which sizes are estimated. */
    static std::shared_ptr<DeviceNeighbors> make(OpenMM::ComputeContext& context, int numParticles,
                                                 const NeighborOptions& options, const EdgeLayout& layout,
                                                 const double box[9], std::unique_ptr<HostNumbers> numbers);
    DeviceNeighbors(const DeviceNeighbors&) = delete;
    DeviceNeighbors& operator=(const DeviceNeighbors&) = delete;

    /** Enqueue finding the edges; positions are [n][3] of the model's dtype, the rows of the box its vectors. */
    void enqueue(OpenMM::ComputeArray& positions, const double box[9]);
    /**
     * Wait for the number of edges of this evaluation.  False: they did not fit, and the evaluation is void.  A fixed
     * capacity that is too small is the caller's to see.
     */
    bool fits();

    const NeighborOptions& getOptions() const {
        return options;
    }
    const EdgeLayout& getLayout() const {
        return layout;
    }
    OpenMM::ComputeArray& getEdges() {
        return edges; // [2][capacity]: centers, neighbors
    }
    OpenMM::ComputeArray& getShifts() {
        return shifts; // [capacity][3]
    }
    int64_t getCapacity() const {
        return capacity;
    }
    /** Of the evaluation that fits() waited for last. */
    int64_t getNumEdges() const {
        return numEdges;
    }
    /** How often candidates were found until then. */
    int64_t getNumBuilds() const {
        return numBuilds;
    }
    /** How often arrays have grown, after which they lie elsewhere. */
    int getNumGrowths() const {
        return numGrowths;
    }

private:
    class NewEvaluation;
    DeviceNeighbors(OpenMM::ComputeContext& context, int numParticles, const NeighborOptions& options,
                    const EdgeLayout& layout, const double box[9], std::unique_ptr<HostNumbers> numbers);
    void estimateSizes(const double box[9]);
    void allocate();
    void compile();
    void grow();
    double getPadding() const;
    template <class Real, class Real4>
    void launch(OpenMM::ComputeArray& positions);
    template <class Real, class Real4>
    void launchForFew(OpenMM::ComputeArray& positions);

    OpenMM::ComputeContext& context;
    const int numParticles;
    const NeighborOptions options;
    const EdgeLayout layout;
    const bool wide, isFew;
    const double range; // of candidates
    const std::unique_ptr<HostNumbers> numbers;
    NeighborBins bins;
    int64_t capacity = 0, numEdges = 0, longestRow = 0, numBuilds = 0;
    int rowCapacity = 0, numParts = 1, numGrowths = 0;
    int mustBuild = 1;
    bool isCurrent = false, isKnown = false; // enqueued in this evaluation; and its numbers have arrived

    OpenMM::ComputeArray builtPositions, binBegin, sorted, wrapped, cells, rowCounts, candidates, masks, partCounts,
        state, edges, shifts;                                         // as the kernels say
    OpenMM::ComputeKernel moved, sorter, finder, marker, writer, all; // the last one alone for few particles
    int groupSize = 0, loneGroupSize = 0; // threads of a group, and of one that is launched alone
};

} // namespace openmmnnp

#endif // OPENMMNNP_DEVICE_NEIGHBORS_H_
