/**
 * The kernels that find edges, run by OpenMM's OpenCL platform and compared with a search of all pairs and images.
 * A library whose testNeighbors() returns the number of failures; the platform must have been loaded.
 */
#include "neighbors/CheckBox.h"
#include "platforms/common/DeviceNeighbors.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <openmm/Context.h>
#include <openmm/VerletIntegrator.h>
#include <openmm/opencl/OpenCLContext.h>
#include <openmm/opencl/OpenCLPlatform.h>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace openmmnnp;

int numFailures = 0;

void expect(bool condition, const std::string& what) {
    if (!condition)
        std::printf("FAILED: %s\n", what.c_str());
    numFailures += !condition;
}

using Box = std::array<double, 9>;
using Edge = std::array<int, 5>; // center, neighbor, cell

Box cube(double size) {
    return {size, 0, 0, 0, size, 0, 0, 0, size};
}

/** OpenMM's platform, as a force sees it. */
class Device {
public:
    Device() : integrator(0.001) {
        system.addParticle(1);
        context = std::make_unique<OpenMM::Context>(system, integrator, OpenMM::Platform::getPlatform("OpenCL"));
        auto* impl = *reinterpret_cast<OpenMM::ContextImpl**>(context.get());
        compute = static_cast<OpenMM::OpenCLPlatform::PlatformData*>(impl->getPlatformData())->contexts[0];
    }
    OpenMM::ComputeContext& get() {
        return *compute;
    }
    /** As at the beginning of an evaluation. */
    void begin() {
        for (auto* computation : compute->getPreComputations())
            computation->computeForceAndEnergy(true, true, -1);
    }

private:
    OpenMM::System system;
    OpenMM::VerletIntegrator integrator;
    std::unique_ptr<OpenMM::Context> context;
    OpenMM::OpenCLContext* compute;
};

/** Edges of positions [n][3] in ascending order. */
template <class Real>
std::vector<Edge> searchAll(const std::vector<Real>& x, const NeighborOptions& options, const Box& box) {
    std::vector<Edge> found;
    const int n = static_cast<int>(x.size() / 3);
    double heights[3];
    findHeights(box.data(), heights);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            const double d[3] = {double(x[3 * j]) - x[3 * i], double(x[3 * j + 1]) - x[3 * i + 1],
                                 double(x[3 * j + 2]) - x[3 * i + 2]};
            int low[3] = {0, 0, 0}, high[3] = {0, 0, 0};
            if (options.periodic) {
                double s[3];
                s[2] = d[2] / box[8];
                s[1] = (d[1] - s[2] * box[7]) / box[4];
                s[0] = (d[0] - s[1] * box[3] - s[2] * box[6]) / box[0];
                for (int axis = 0; axis < 3; axis++) {
                    low[axis] = int(std::floor(-s[axis] - options.cutoff / heights[axis] - 1e-9));
                    high[axis] = int(std::ceil(-s[axis] + options.cutoff / heights[axis] + 1e-9));
                }
            }
            for (int a = low[0]; a <= high[0]; a++)
                for (int b = low[1]; b <= high[1]; b++)
                    for (int c = low[2]; c <= high[2]; c++) {
                        const double r[3] = {d[0] + (a * box[0] + b * box[3] + c * box[6]),
                                             d[1] + (a * box[1] + b * box[4] + c * box[7]),
                                             d[2] + (a * box[2] + b * box[5] + c * box[8])};
                        const bool self = i == j && a == 0 && b == 0 && c == 0;
                        const bool second =
                            i > j || (i == j && std::array<int, 3>{a, b, c} < std::array<int, 3>{0, 0, 0});
                        if (r[0] * r[0] + r[1] * r[1] + r[2] * r[2] < options.cutoff * options.cutoff && !self &&
                            (options.full || !second))
                            found.push_back({i, j, a, b, c});
                    }
        }
    return found;
}

/** A list with the positions that it reads. */
template <class Real, class Index>
class List {
public:
    List(Device& device, int n, const NeighborOptions& options, const Box& box, bool cartesian = false,
         int64_t capacity = 0)
        : device(device), options(options), cartesian(cartesian) {
        positions.initialize<Real>(device.get(), 3 * n, "positions");
        neighbors = DeviceNeighbors::make(device.get(), n, options,
                                          {sizeof(Real) == 8, sizeof(Index) == 8, cartesian, cartesian, capacity},
                                          box.data(), std::make_unique<DownloadedNumbers>(device.get(), 3));
    }
    /** Evaluate until it fits; returns how often that was. */
    int update(const std::vector<Real>& x, const Box& box) {
        positions.upload(x);
        for (int tries = 1;; tries++) {
            device.begin();
            neighbors->enqueue(positions, box.data());
            if (neighbors->fits() || tries == 9)
                return tries;
        }
    }
    /** The edges, if padding and shifts are right, too. */
    std::vector<Edge> get(const Box& box) {
        std::vector<Index> edges;
        std::vector<Real> vectors;
        std::vector<Index> shifts;
        neighbors->getEdges().download(edges);
        if (cartesian)
            neighbors->getShifts().download(vectors);
        else
            neighbors->getShifts().download(shifts);
        const size_t capacity = neighbors->getCapacity(), count = neighbors->getNumEdges();
        std::vector<Edge> found(count);
        for (size_t e = 0; e < count; e++) {
            found[e][0] = int(edges[e]);
            found[e][1] = int(edges[capacity + e]);
            double s[3];
            for (int axis = 0; axis < 3; axis++)
                s[axis] = cartesian ? double(vectors[3 * e + axis]) : double(shifts[3 * e + axis]);
            if (cartesian) {
                s[2] = s[2] / box[8];
                s[1] = (s[1] - s[2] * box[7]) / box[4];
                s[0] = (s[0] - s[1] * box[3] - s[2] * box[6]) / box[0];
            }
            for (int axis = 0; axis < 3; axis++)
                found[e][2 + axis] = int(std::lround(s[axis]));
        }
        for (size_t e = count; e < capacity; e++) {
            const double s = cartesian ? double(vectors[3 * e]) : double(shifts[3 * e]);
            const double unit = cartesian ? 1 : options.periodic ? box[0] : 4 * options.cutoff;
            if (edges[e] != 0 || edges[capacity + e] != 0 || s * unit < 2 * options.cutoff * 0.999999)
                return {};
        }
        return found;
    }
    DeviceNeighbors& operator*() {
        return *neighbors;
    }
    OpenMM::ComputeArray positions;

private:
    Device& device;
    NeighborOptions options;
    bool cartesian;
    std::shared_ptr<DeviceNeighbors> neighbors;
};

std::mt19937 generator(1);

double uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(generator);
}

/** Particles in a box that begins at `origin` boxes. */
template <class Real>
std::vector<Real> gas(int n, const Box& box, int away = 0) {
    std::vector<Real> x(3 * size_t(n));
    for (int i = 0; i < n; i++) {
        const int o[3] = {int(uniform(-away, away + 0.999)), int(uniform(-away, away + 0.999)),
                          int(uniform(-away, away + 0.999))};
        const double s[3] = {uniform(0, 1) + o[0], uniform(0, 1) + o[1], uniform(0, 1) + o[2]};
        for (int axis = 0; axis < 3; axis++)
            x[3 * i + axis] = Real(s[0] * box[axis] + s[1] * box[3 + axis] + s[2] * box[6 + axis]);
    }
    return x;
}

template <class Real, class Index>
void testGas(Device& device, const std::string& what, int n, const NeighborOptions& options, const Box& box,
             bool cartesian, int away, int steps = 4) {
    std::vector<Real> x = gas<Real>(n, box, away);
    List<Real, Index> list(device, n, options, box, cartesian);
    for (int step = 0; step < steps; step++) {
        const int tries = list.update(x, box);
        const std::vector<Edge> edges = list.get(box), oracle = searchAll(x, options, box);
        const std::string name = what + ", " + std::to_string(n) + " particles, step " + std::to_string(step);
        expect(edges == oracle && int64_t(oracle.size()) == (*list).getNumEdges(),
               name + ": " + std::to_string(edges.size()) + " edges instead of " + std::to_string(oracle.size()));
        if (step == steps - 1)
            std::printf("%s: %zu edges, capacity %ld, %ld builds, %d growths, last in %d tries\n", name.c_str(),
                        edges.size(), long((*list).getCapacity()), long((*list).getNumBuilds()),
                        (*list).getNumGrowths(), tries);
        for (Real& value : x)
            value += Real(uniform(-0.01, 0.01));
    }
}

/** Random gases of 1 to 2,000 particles: those for which one launch does all, those with bins, and in between. */
void testGases(Device& device) {
    const Box slanted = {1, 0, 0, 0.4, 0.9, 0, -0.35, 0.3, 1.1};
    for (const int n : {1, 2, 17, 128, 129, 513, 2000})
        for (const bool periodic : {false, true}) {
            Box box = slanted;
            for (double& value : box)
                value *= std::cbrt(n / 100.0) + 0.2;
            const std::string what = periodic ? "periodic" : "vacuum";
            testGas<float, int64_t>(device, what + ", full", n, {0.5, 0.1, true, periodic, true}, box, false, 0);
            testGas<double, int32_t>(device, what + ", half, far away", n, {0.4, 0.05, false, periodic, true}, box,
                                     true, 5);
        }
}

/** Simple cubic lattices in boxes of one cell and more: particles on faces of bins, pairs exactly at the cutoff. */
void testCrystals(Device& device) {
    for (const int cells : {1, 2, 9})
        for (const double cutoff : {1.0, 2.0, std::nextafter(2.0, 3.0), 2.3})
            for (const bool full : {true, false}) {
                std::vector<double> x;
                for (int i = 0; i < cells * cells * cells; i++)
                    for (const int place : {i % cells, i / cells % cells, i / cells / cells})
                        x.push_back(place);
                const NeighborOptions options{cutoff, 0.25, full, true, true};
                const Box box = cube(cells);
                List<double, int32_t> list(device, static_cast<int>(x.size() / 3), options, box);
                list.update(x, box);
                expect(list.get(box) == searchAll(x, options, box),
                       "crystal of " + std::to_string(cells) + " cells, cutoff " + std::to_string(cutoff));
            }
}

/** Particles that gather in one place do not fit any more: then everything grows, and nothing is lost. */
void testGrowth(Device& device) {
    for (const int n : {100, 700}) {
        const Box box = cube(4);
        const NeighborOptions options{0.5, 0.1, true, true, true};
        List<float, int64_t> list(device, n, options, box);
        std::vector<float> x = gas<float>(n, box);
        expect(list.update(x, box) == 1 && (*list).getNumGrowths() == 0, "a gas fits at first");
        for (float& value : x)
            value *= 0.1f;
        const int tries = list.update(x, box);
        expect(tries > 1 && tries < 4 && (*list).getNumGrowths() == tries - 1, "a cluster does not fit, but then does");
        expect(list.get(box) == searchAll(x, options, box), "no pair of a cluster is lost");
        expect(list.update(x, box) == 1, "what has grown stays");
    }
}

/** Too many for the model: said, and not grown. */
void testFixedCapacity(Device& device) {
    const Box box = cube(2);
    const NeighborOptions options{0.5, 0.1, true, true, true};
    List<float, int64_t> list(device, 50, options, box, false, 100);
    std::vector<float> x = gas<float>(50, box);
    list.update(x, box);
    expect((*list).getCapacity() == 100 && (*list).getNumEdges() == int64_t(searchAll(x, options, box).size()),
           "a fixed capacity is kept, and the number of pairs known");
    for (float& value : x)
        value *= 4;
    list.update(x, cube(8));
    expect(list.get(cube(8)) == searchAll(x, options, cube(8)), "later there may be fewer");
}

/** Candidates are found when needed, and edges are the same whenever they were. */
void testSkins(Device& device) {
    for (const int n : {64, 300}) {
        Box box = cube(1.8);
        std::vector<float> x = gas<float>(n, box);
        std::vector<std::unique_ptr<List<float, int64_t>>> lists;
        for (const double skin : {0.0, 0.06, 0.4})
            lists.push_back(
                std::make_unique<List<float, int64_t>>(device, n, NeighborOptions{0.5, skin, true, true, true}, box));
        for (int step = 0; step < 12; step++) {
            std::vector<std::vector<Edge>> found;
            for (auto& list : lists) {
                list->update(x, box);
                found.push_back(list->get(box));
            }
            expect(!found[0].empty() && found[0] == found[1] && found[0] == found[2], "any skin gives the same edges");
            for (float& value : x)
                value += static_cast<float>(uniform(-0.01, 0.01));
            if (step == 6)
                box[0] *= 1.001;
        }
        const auto builds = [&](int i) { return (**lists[i]).getNumBuilds(); };
        expect(builds(0) >= 12 && builds(1) < builds(0) && builds(2) < builds(1) && builds(2) >= 2,
               "the larger the skin, the fewer builds; a new box is one");
    }
}

/** In one evaluation the second call does nothing, in the next one it does. */
void testSharing(Device& device) {
    const Box box = cube(2);
    List<float, int64_t> list(device, 200, {0.5, 0.1, true, true, true}, box);
    const std::vector<float> x = gas<float>(200, box), other = gas<float>(200, box);
    list.update(x, box);
    const std::vector<Edge> edges = list.get(box);
    list.positions.upload(other);
    (*list).enqueue(list.positions, box.data());
    expect((*list).fits() && list.get(box) == edges, "a second call is no work");
    list.update(other, box);
    expect(list.get(box) != edges, "unless it belongs to another evaluation");
}

/** Not a crash, nor an endless search. */
void testNowhere(Device& device) {
    for (const int n : {100, 600})
        for (const bool periodic : {true, false}) {
            const Box box = cube(2);
            std::vector<float> x = gas<float>(n, box);
            x[4] = NAN;
            x[6] = INFINITY;
            x[9] = 1e30f;
            List<float, int64_t> list(device, n, {0.5, 0.1, true, periodic, true}, box);
            list.update(x, box);
            for (const Edge& edge : list.get(box))
                expect(edge[0] > 3 || edge[0] == 0, "what is nowhere has no neighbors");
        }
}

} // namespace

extern "C" int testNeighbors() {
    Device device;
    testGases(device);
    testCrystals(device);
    testGrowth(device);
    testFixedCapacity(device);
    testSkins(device);
    testSharing(device);
    testNowhere(device);
    std::printf("%d failures\n", numFailures);
    std::fflush(stdout);
    return numFailures;
}
