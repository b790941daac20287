/**
 * The evaluation that only enqueues, as CUDA uses it, run where there is no such device: on torch's CPU, with a
 * stand-in for CUDA's graphs.
 *
 *     test_device TORCH_LIBRARY_FOLDER CUDA_PACKAGE CUDA_PACKAGE ELASTIC EDGES CHARGES VARIABLES MODEL...
 *
 * Each model must be E = 50 sum_i |r_i|^2 in kJ/mol and nm (float64), with its number of particles free.  The packages
 * say that they are for CUDA: one for compute capability 9.0, one with two kernels of one name.  ELASTIC is
 * E = k sum_i |r_i|^2 with the parameter k, EDGES is E = sum max(0, 1 - |r_ij|^2) over edges with Cartesian shifts, and
 * CHARGES is E = sum_ij Q_j |r_i - R_j|^2 with MM charges Q_j at R_j.  VARIABLES gives no energy but
 * `cv` [2][2] = (3, 5), (50, 7) sum_i |r_i|^2.
 */
#include "model/DeviceEvaluate.h"
#include "model/ModelCache.h"
#include "openmmnnp/TorchLibrary.h"
#include "openmmnnp/TrustModel.h"
#include <cmath>
#include <cstdio>
#include <string>

namespace {

using namespace openmmnnp;

constexpr int n = 5;
int numFailures = 0;

void expect(bool condition, const std::string& what) {
    std::printf("%s: %s\n", condition ? "ok" : "FAILED", what.c_str());
    numFailures += !condition;
}

template <class F>
std::string errorOf(F function) {
    try {
        function();
    } catch (const ModelError& error) {
        return error.what();
    }
    return "";
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/** Records a function instead of what it enqueues. */
class StandIn : public GraphCapture {
public:
    StandIn(int& replays, std::function<void()> afterReplay) : replays(replays), afterReplay(std::move(afterReplay)) {}
    void capture(void*, const std::function<void()>& newFunction) override {
        function = newFunction;
    }
    void replay(void*) override {
        replays++;
        function();
        afterReplay();
    }
    void reset() override {
        function = nullptr;
    }

private:
    int& replays;
    std::function<void()> afterReplay, function;
};

class Refusal : public StandIn {
public:
    using StandIn::StandIn;
    void capture(void*, const std::function<void()>&) override {
        throw ModelError("this cannot be recorded");
    }
};

/** A model with memory for its inputs and results. */
struct Case {
    std::vector<double> positions = std::vector<double>(3 * n), forces = std::vector<double>(3 * n);
    double energy = 0;
    DeviceEvaluation evaluation;

    explicit Case(const std::shared_ptr<Model>& model, const Component& component = {})
        : evaluation(model, n, {}, {}, component) {
        move(0);
    }
    void bind(std::unique_ptr<GraphReplay> replay = nullptr) {
        evaluation.bind({positions.data(), &energy, nullptr, forces.data()}, nullptr, std::move(replay));
    }
    void move(int step) {
        for (int i = 0; i < 3 * n; i++)
            positions[i] = std::sin(i + 0.1 * step);
    }
    bool isRight() const {
        double expected = 0, error = 0;
        for (int i = 0; i < 3 * n; i++) {
            expected += 50 * positions[i] * positions[i];
            error = std::max(error, std::abs(forces[i] + 100 * positions[i]));
        }
        return std::abs(energy - expected) < 1e-9 && error < 1e-9;
    }
};

void testResults(const std::shared_ptr<Model>& model) {
    Case one(model);
    one.bind();
    one.evaluation.run(true);
    expect(one.isRight(), "energy and forces in the caller's memory");
    one.evaluation.waitForResults();
    expect(one.evaluation.getEnergy() == one.energy && one.evaluation.getForces()[4] == one.forces[4],
           "energy and forces on the host");
    one.positions[4] = NAN;
    one.evaluation.run(true);
    expect(contains(errorOf([&] { one.evaluation.waitForResults(); }), "force on particle 1 is"), "NaN is found");
}

void testComponent(const std::shared_ptr<Model>& model) {
    Case one(model, {"cv", 2});
    int replays = 0;
    one.bind(std::make_unique<GraphReplay>(std::make_unique<StandIn>(replays, [] {}), 1, "test"));
    for (int step = 0; step < 4; step++) {
        one.move(step);
        one.evaluation.run(true);
        expect(one.isRight(), "a component and its forces");
    }
    expect(replays > 0, "a component is replayed");
    expect(one.evaluation.findExtra("cv")->values.size() == 4, "the whole output by name");
    Case other(model, {"cv", 4});
    other.bind();
    expect(contains(errorOf([&] { other.evaluation.run(true); }), "the component 4 of it was asked for"),
           "a component that is not there");
}

void testGraph(const std::shared_ptr<Model>& model) {
    Case one(model);
    int replays = 0;
    one.bind(std::make_unique<GraphReplay>(std::make_unique<StandIn>(replays, [] {}), 3, "test"));
    for (int step = 0; step < 6; step++) {
        one.move(step);
        expect(one.evaluation.isCaptured() == (step > 3), "captured after 3 evaluations, not before");
        one.evaluation.run(step % 2 == 0);
        expect(one.isRight(), "right before, while and after it is captured");
    }
    expect(replays == 3, "compared once, then replayed");
    expect(one.evaluation.getGraphReason().empty(), "no reason while it is replayed");
    one.bind(std::make_unique<GraphReplay>("it was switched off"));
    expect(!one.evaluation.isCaptured() && one.evaluation.getGraphReason() == "it was switched off", "switched off");
}

void testFallback(const std::shared_ptr<Model>& model, bool refuses) {
    Case one(model);
    int replays = 0;
    const auto spoil = [&] { one.forces[0] += 1e-5; };
    std::unique_ptr<GraphCapture> graph;
    if (refuses)
        graph = std::make_unique<Refusal>(replays, spoil);
    else
        graph = std::make_unique<StandIn>(replays, spoil);
    one.bind(std::make_unique<GraphReplay>(std::move(graph), 0, "the model of this test"));
    for (int step = 0; step < 3; step++) {
        one.move(step);
        one.evaluation.run(true);
        expect(one.isRight(), "right without a graph");
    }
    expect(replays == (refuses ? 0 : 1), "not tried again");
    expect(contains(one.evaluation.getGraphReason(), refuses ? "this cannot be recorded" : "forces, replayed, differ"),
           "the reason: " + one.evaluation.getGraphReason());
}

/** A parameter that changes while its derivative is asked for, through a graph whose replays may be spoiled. */
void testDerivative(const std::shared_ptr<Model>& model, bool spoiled) {
    std::vector<double> positions = {1, 0, 0, 0, 2, 0, 0, 0, 3}, forces(9);
    double energy = 0, derivative = 0;
    int replays = 0;
    DeviceEvaluation evaluation(model, 3, {}, {"k"});
    evaluation.getInputs().setParameter(0, 5);
    const auto afterReplay = [&] { derivative += spoiled ? 1e-6 : 0; };
    evaluation.bind({positions.data(), &energy, &derivative, forces.data()}, nullptr,
                    std::make_unique<GraphReplay>(std::make_unique<StandIn>(replays, afterReplay), 1, "elastic"));
    for (int step = 0; step < 5; step++) {
        const double k = 5 + step / 2;
        evaluation.getInputs().setParameter(0, k);
        positions[0] = 1 + step;
        evaluation.run(true);
        const double expected = positions[0] * positions[0] + 4 + 9;
        expect(energy == k * expected && derivative == expected && forces[0] == -2 * k * positions[0],
               "energy, derivative and forces with a parameter that changes");
    }
    evaluation.waitForResults();
    expect(evaluation.getDerivative(0) == derivative && evaluation.getForces()[8] == forces[8], "on the host as well");
    expect(replays == (spoiled ? 1 : 4), "replays: " + std::to_string(replays));
    expect(spoiled == contains(evaluation.getGraphReason(), "a derivative of its energy, replayed, differs"),
           "the reason: " + evaluation.getGraphReason());
}

/** Edges in the caller's memory, padded; then more memory elsewhere, as when a list has grown. */
void testEdges(const std::shared_ptr<Model>& model) {
    std::vector<double> positions = {0, 0, 0, 0.5, 0, 0}, forces(6);
    double energy = 0;
    int replays = 0;
    DeviceEvaluation evaluation(model, 2);
    for (const int capacity : {2, 5}) {
        std::vector<int64_t> edges(2 * capacity);
        std::vector<double> shifts(3 * capacity);
        edges[1] = edges[capacity] = 1; // (0, 1) and (1, 0)
        for (int e = 2; e < capacity; e++)
            shifts[3 * e] = 2;
        evaluation.bind({positions.data(), &energy, nullptr, forces.data(), edges.data(), shifts.data(), capacity},
                        nullptr, std::make_unique<GraphReplay>(std::make_unique<StandIn>(replays, [] {}), 1, "test"));
        expect(!evaluation.isCaptured(), "another memory is another graph");
        for (int step = 0; step < 3; step++) {
            evaluation.run(true);
            expect(energy == 1.5 && forces[0] == -2 && forces[3] == 2, "energy and forces from edges with padding");
        }
        expect(evaluation.isCaptured(), "captured with edges");
        const long long count = evaluation.getNumEvaluations();
        evaluation.run(true);
        evaluation.discard();
        evaluation.discard();
        expect(evaluation.getNumEvaluations() == count && !evaluation.isValid(), "a void evaluation does not count");
    }
}

/** Charges in the caller's memory, padded; then more memory elsewhere, as when their arrays have grown. */
void testCharges(const std::shared_ptr<Model>& model) {
    std::vector<double> positions = {0, 0, 0, 1, 0, 0}, forces(6);
    double energy = 0;
    int replays = 0;
    DeviceEvaluation evaluation(model, 2);
    for (const int capacity : {2, 5}) {
        std::vector<double> around(3 * capacity, 60), charges(capacity), mmForces(3 * capacity);
        around[0] = 3;
        around[1] = around[2] = 0;
        charges[0] = 0.5;
        DeviceEvaluation::Memory memory = {positions.data(), &energy, nullptr, forces.data()};
        memory.mmPositions = around.data();
        memory.mmCharges = charges.data();
        memory.mmForces = mmForces.data();
        memory.mmCapacity = capacity;
        evaluation.bind(memory, nullptr,
                        std::make_unique<GraphReplay>(std::make_unique<StandIn>(replays, [] {}), 1, "test"));
        for (int step = 0; step < 3; step++) {
            evaluation.run(true);
            expect(energy == 0.5 * (9 + 4) && forces[0] == 3 && forces[3] == 2, "energy and forces among charges");
            expect(mmForces[0] == -5 && mmForces[1] == 0 && mmForces[3] == 0, "forces on charges, and on padding");
        }
        expect(evaluation.isCaptured(), "captured with charges");
        evaluation.getInputs().getMM()->setCount(1);
        evaluation.waitForResults();
        expect(evaluation.getMMForces()[0] == -5, "forces on charges on the host");
    }
    const double lastEnergies[DeviceEvaluation::numLastEnergies] = {1, 2, 3, 4};
    DeviceEvaluation::Failure failure = {6, true, 1e6, 2.5, nullptr, forces.data(), positions.data(), lastEnergies};
    failure.charge = 1;
    const std::string text = errorOf([&] { evaluation.throwFailure(failure); });
    expect(contains(text, "force on the MM charge 1 of those near") && contains(text, "in evaluation 6"), text);
}

void testFailure(const std::shared_ptr<Model>& model) {
    Case one(model);
    one.bind();
    const double lastEnergies[DeviceEvaluation::numLastEnergies] = {1, 2, 3, 4};
    const auto textFor = [&](double force, double position) {
        one.forces.assign(3 * n, 1);
        one.forces[7] = force;
        one.move(0);
        one.positions[10] = position;
        return errorOf([&] {
            one.evaluation.throwFailure(
                {6, true, 1e6, 2.5, nullptr, one.forces.data(), one.positions.data(), lastEnergies});
        });
    };
    const std::string text = textFor(NAN, 0);
    expect(contains(text, "force on particle 2 is (1, nan, 1) in evaluation 6. The nearest neighbor"), text);
    expect(contains(text, "The last good energies were 3 4 1 kJ/mol"), "the energies before evaluation 6");
    expect(contains(textFor(2e6, 0), "more than OpenMM's fixed-point numbers can hold"), "forces that are too large");
    expect(contains(textFor(NAN, NAN), "The position of particle 3 is not a finite number"), "positions come first");
    expect(one.evaluation.getNumEvaluations() == 5, "a wrong evaluation does not count");
}

std::string loadOnCuda(const char* path, int computeCapability) {
    return errorOf([&] {
        LoadOptions options;
        options.device = "cuda:0";
        options.computeCapability = computeCapability;
        loadModel(*ModelFile::open(path), options);
    });
}

void testPackages(const char* forHopper, const char* withTwins) {
    const std::string needed = "compiled for GPUs of compute capability 9.0, but this one has ";
    expect(contains(loadOnCuda(forHopper, 80), needed + "8.0"), "a package for a later GPU");
    expect(contains(loadOnCuda(forHopper, 120), needed + "12.0"), "a package without code for a later architecture");
    expect(contains(loadOnCuda(withTwins, 90), "two kernels of one file name"), "two kernels of one name");
}

/** On torch without CUDA a model says so; with CUDA and a GPU it may load. */
void testMissingCuda(const char* path) {
    const std::string text = loadOnCuda(path, 0);
    expect(text.empty() || contains(text, "is installed without CUDA: run pip install") ||
               contains(text, "compiled for the device 'cpu', but this Context runs the model on 'cuda'") ||
               contains(text, "torch cannot use the device cuda:0"),
           "on CUDA: " + text);
}

} // namespace

int main(int argc, char** argv) {
    setTorchLibraryFolder(argv[1]);
    for (int i = 2; i < argc; i++)
        trustModel(ModelFile::open(argv[i])->getHash());
    testPackages(argv[2], argv[3]);
    for (const bool spoiled : {false, true})
        testDerivative(loadModel(*ModelFile::open(argv[4]), LoadOptions()), spoiled);
    testEdges(loadModel(*ModelFile::open(argv[5]), LoadOptions()));
    testCharges(loadModel(*ModelFile::open(argv[6]), LoadOptions()));
    testComponent(loadModel(*ModelFile::open(argv[7]), LoadOptions()));
    for (int i = 8; i < argc; i++) {
        testMissingCuda(argv[i]);
        const std::shared_ptr<Model> model = loadModel(*ModelFile::open(argv[i]), LoadOptions());
        testResults(model);
        testGraph(model);
        testFallback(model, true);
        testFallback(model, false);
        testFailure(model);
    }
    expect(contains(errorOf([] { ModelDevice::parse("cuda:x"); }), "known are 'cpu' and 'cuda:N'"),
           "an unknown device");
    return numFailures == 0 ? 0 : 1;
}
