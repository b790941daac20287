/** The kernel that checks an evaluation on the device, run here by a block of threads of the host. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int blockSize = 4;
thread_local int threadIndex;
pthread_barrier_t blockBarrier;

} // namespace

#define KERNEL static
#define GLOBAL
#define LOCAL static
#define RESTRICT
#define LOCAL_ID threadIndex
#define LOCAL_SIZE blockSize
#define SYNC_THREADS pthread_barrier_wait(&blockBarrier)
#define NUM_PARTICLES 3
#define NUM_DERIVATIVES 2
#define MODEL_REAL float
#define WIDE double
using std::fabs;
#include "platforms/common/kernels/check.cc"

namespace {

int numFailures = 0;

void expect(bool condition, const std::string& what) {
    std::printf("%s: %s\n", condition ? "ok" : "FAILED", what.c_str());
    numFailures += !condition;
}

/** The memory that the kernel works on, and an evaluation in which all is right. */
struct Device {
    std::vector<float> positions = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    std::vector<double> forces = {-1, -2, -3, -4, -5, -6, -7, -8, -9}, derivatives = {0.5, 0.25},
                        chargeForces = {-1, -2, -3, -4, -5, -6};
    double energy = 10;
    std::vector<double> lastEnergies = std::vector<double>(4), kept = std::vector<double>(25),
                        hostResults = std::vector<double>(3);
    int failed = 0, hostFlag = 0;

    void run(int evaluation, bool withForces = true, double limit = 100) {
        std::vector<std::thread> block;
        for (int i = 0; i < blockSize; i++)
            block.emplace_back([=] {
                threadIndex = i;
                check(positions.data(), forces.data(), &energy, derivatives.data(), chargeForces.data(), 2, withForces,
                      limit, evaluation, (evaluation - 1) % 4, lastEnergies.data(), &failed, kept.data(), &hostFlag,
                      hostResults.data());
            });
        for (std::thread& thread : block)
            thread.join();
    }
    bool isCleared() const {
        const auto isZero = [](double value) { return value == 0; };
        return std::all_of(forces.begin(), forces.end(), isZero) &&
               std::all_of(chargeForces.begin(), chargeForces.end(), isZero) &&
               std::all_of(derivatives.begin(), derivatives.end(), isZero);
    }
};

void testRight() {
    Device device;
    device.run(6);
    expect(!device.hostFlag && !device.failed && device.forces[8] == -9, "a right evaluation is left as it is");
    expect(device.lastEnergies[1] == 10, "its energy is remembered");
    expect(device.hostResults == std::vector<double>{10, 0.5, 0.25}, "energy and derivatives go to the host");
    device.forces[4] = 1000;
    device.run(7, false);
    expect(!device.hostFlag && device.forces[4] == 1000, "forces that were not asked for are not looked at");
    device.run(8, true, INFINITY);
    expect(!device.hostFlag, "there may be no limit");
}

template <class F>
void testWrong(const std::string& what, F spoil) {
    Device device;
    spoil(device);
    device.run(9);
    expect(device.hostFlag && device.failed && device.isCleared(), what + " is found, and nothing will be added");
    expect(device.kept[0] == 9 && device.kept[1] == 1 && device.kept[2] == 100, "what was evaluated is kept");
    expect(device.lastEnergies[0] == 0, "its energy is not remembered");
}

void testWrongCharge() {
    Device device;
    device.chargeForces[4] = NAN;
    device.run(9);
    expect(device.kept[4] == 2, "the charge on which a force is wrong is kept");
    device = Device();
    device.chargeForces[4] = NAN;
    device.run(9, false);
    expect(!device.hostFlag, "forces on charges that were not asked for are not looked at");
}

void testFirst() {
    Device device;
    device.forces[4] = NAN;
    device.run(5);
    expect(device.kept[3] == 10 && device.kept[6] == 0.25 && device.kept[7] == -1 && std::isnan(device.kept[11]) &&
               device.kept[24] == 9,
           "energy, derivatives, forces and positions of the first wrong evaluation are kept");
    device = Device{device.positions, {}, {}, {}, 20, device.lastEnergies, device.kept, device.hostResults, 1, 1};
    device.forces.assign(9, INFINITY);
    device.chargeForces.assign(6, 1);
    device.derivatives.assign(2, 1);
    device.run(6);
    expect(device.kept[0] == 5 && device.kept[3] == 10 && device.isCleared(), "not those of a later one");
}

} // namespace

int main() {
    pthread_barrier_init(&blockBarrier, nullptr, blockSize);
    testRight();
    testWrong("an energy that is not a number", [](Device& device) { device.energy = NAN; });
    testWrong("an infinite force", [](Device& device) { device.forces[8] = -INFINITY; });
    testWrong("a force that is too large", [](Device& device) { device.forces[0] = -100; });
    testWrong("an infinite force on a charge", [](Device& device) { device.chargeForces[5] = INFINITY; });
    testWrongCharge();
    testWrong("a derivative that is not a number", [](Device& device) { device.derivatives[1] = NAN; });
    testWrong("a position that is not a number", [](Device& device) { device.positions[5] = NAN; });
    testFirst();
    return numFailures == 0 ? 0 : 1;
}
