/**
 * What Python can't reach: a program without Python that loads the plugin from a folder and runs a model, and the count
 * of heap allocations in a time step.
 *
 *     test_force PLUGIN_FOLDER MODEL...
 *
 * Each model must be E = 50 sum_i |r_i|^2 in kJ/mol and nm (float64); it may take MM charges.
 */
#include "model/ModelCache.h"
#include "model/ModelFile.h"
#include "model/ModelInputs.h"
#include "openmmnnp/NNPForce.h"
#include "openmmnnp/TrustModel.h"
#include <OpenMM.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

thread_local bool counting = false;
thread_local long numAllocations = 0;

void count() {
    if (counting)
        numAllocations++;
}

} // namespace

#ifdef __SANITIZE_ADDRESS__ // the sanitizer has functions of its own for these
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*, size_t),
                                                         void (*freed)(const volatile void*));
[[maybe_unused]] const int hooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, size_t) { count(); }, [](const volatile void*) {});
#else
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) {
    count();
    return __libc_malloc(size);
}
void* calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}
void* realloc(void* old, size_t size) {
    count();
    return __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, size_t alignment, size_t size) {
    count();
    *result = __libc_memalign(alignment, size);
    return *result ? 0 : 12;
}
}
#endif

namespace {

constexpr int numParticles = 100, numModelParticles = 9;
int numFailures = 0;

void expect(bool condition, const std::string& what) {
    std::printf("%s: %s\n", condition ? "ok" : "FAILED", what.c_str());
    numFailures += !condition;
}

template <class F>
long allocationsOf(F function) {
    numAllocations = 0;
    counting = true;
    function();
    counting = false;
    return numAllocations;
}

std::vector<int> modelParticles() {
    std::vector<int> particles;
    for (int i = 0; i < numModelParticles; i++)
        particles.push_back(3 * i + 1);
    return particles;
}

std::vector<int> otherParticles() {
    const std::vector<int> chosen = modelParticles();
    std::vector<int> particles;
    for (int i = 0; i < numParticles; i++)
        if (std::find(chosen.begin(), chosen.end(), i) == chosen.end())
            particles.push_back(i);
    return particles;
}

/** A Context of free particles, with or without the force, which may have link atoms. */
struct Simulation {
    OpenMM::System system;
    OpenMM::VerletIntegrator integrator{0.001};
    std::unique_ptr<OpenMM::Context> context;
    std::vector<OpenMM::Vec3> positions;

    Simulation(const std::string& platform, const std::string& model, int numLinks = 0) {
        for (int i = 0; i < numParticles; i++) {
            system.addParticle(1);
            positions.emplace_back(std::sin(i), std::cos(2 * i), std::sin(3 * i));
        }
        if (!model.empty()) {
            auto* force = new openmmnnp::NNPForce(model);
            force->setParticles(modelParticles());
            for (int i = 0; i < numLinks; i++)
                force->addLinkAtom(3 * i + 1, 3 * i + 2, 0.1);
            force->setSkin(1.0); // so that candidates last for all steps
            if (force->getModelSpec().hasInput("mm_positions"))
                force->setMMCharges(otherParticles(), std::vector<double>(numParticles - numModelParticles, 0.1));
            system.addForce(force);
        }
        context = std::make_unique<OpenMM::Context>(system, integrator, OpenMM::Platform::getPlatformByName(platform));
        context->setPositions(positions);
    }
};

class IgnoreOutputs : public openmmnnp::OutputReader {
    void read(const std::vector<openmmnnp::TensorView>&) override {}
};

void testEnergyAndForces(const std::string& platform, const std::string& model) {
    Simulation simulation(platform, model);
    const OpenMM::State state = simulation.context->getState(OpenMM::State::Energy | OpenMM::State::Forces);
    double energy = 0, largest = 0;
    for (const int i : modelParticles()) {
        energy += 50 * simulation.positions[i].dot(simulation.positions[i]);
        const OpenMM::Vec3 difference = state.getForces()[i] + simulation.positions[i] * 100;
        largest = std::max(largest, std::sqrt(difference.dot(difference)));
    }
    expect(std::abs(state.getPotentialEnergy() - energy) < 1e-9 * energy, platform + ": energy of " + model);
    expect(largest < 1e-9, platform + ": forces of " + model);
}

/** Allocations of 20 steps with the force, less those without it, less those of the model alone: what is our own. */
void testAllocations(const std::string& model, int numLinks) {
    constexpr int steps = 20;
    Simulation with("Reference", model, numLinks), without("Reference", "");
    const auto file = openmmnnp::ModelFile::open(model);
    openmmnnp::trustModel(file->getHash());
    const auto loaded = openmmnnp::loadModel(*file, {});
    openmmnnp::ModelInputs inputs(loaded->getSpec(), numModelParticles + numLinks);
    if (inputs.takesEdges()) { // torch treats tensors without elements in another way
        const int64_t particles[2] = {0, 1};
        const double shifts[6] = {};
        inputs.setEdges(2, particles, particles, shifts);
    }
    IgnoreOutputs ignore;
    const auto evaluate = [&] { loaded->evaluate(inputs.getViews(), {}, ignore); };
    with.integrator.step(10);
    without.integrator.step(10);
    for (int i = 0; i < 10; i++)
        evaluate();
    const long total = allocationsOf([&] { with.integrator.step(steps); });
    const long openmm = allocationsOf([&] { without.integrator.step(steps); });
    const long torch = allocationsOf([&] {
        for (int i = 0; i < steps; i++)
            evaluate();
    });
    std::printf("allocations in %d steps: %ld in all, %ld OpenMM's, %ld in the model\n", steps, total, openmm, torch);
    expect(torch > 0, "the count sees torch's allocations");
    expect(total - openmm - torch == 0,
           "no allocation of our own in a step of " + model + " with " + std::to_string(numLinks) + " link atoms");
}

void testErrors() {
    try {
        openmmnnp::NNPForce("/nonexistent/model.pt2");
        expect(false, "a missing file is an error");
    } catch (const OpenMM::OpenMMException& error) {
        expect(std::string(error.what()).find("/nonexistent/model.pt2") != std::string::npos,
               "a missing file is named");
    }
    openmmnnp::NNPForce force;
    try {
        force.getModelHash();
        expect(false, "a force without a model is an error");
    } catch (const OpenMM::OpenMMException& error) {
        expect(std::string(error.what()).find("setModelFile") != std::string::npos,
               "a force without a model says what to do");
    }
}

} // namespace

int main(int argc, char* argv[]) {
    OpenMM::Platform::loadPluginsFromDirectory(OpenMM::Platform::getDefaultPluginsDirectory());
    OpenMM::Platform::loadPluginsFromDirectory(argv[1]);
    testErrors();
    for (int i = 2; i < argc; i++) {
        testEnergyAndForces("Reference", argv[i]);
        testAllocations(argv[i], 0);
        testAllocations(argv[i], 4);
    }
    return numFailures == 0 ? 0 : 1;
}
