#include "platforms/common/HostModelKernel.h"
#include "model/TorchThreads.h"
#include "openmmnnp/InterpreterLock.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <openmm/common/ContextSelector.h>
#include <openmm/internal/CustomCPPForceImpl.h>
#include <openmm/internal/PythonForceImpl.h>
#include <utility>

namespace openmmnnp {

namespace {

/** OpenMM's force buffer holds fixed-point numbers below 2^31 kJ/mol/nm. */
constexpr double largestForce = 2147483648.0;

} // namespace

class HostModelKernel::Task : public OpenMM::ComputeContext::WorkTask {
public:
    Task(HostModelKernel& kernel, int threads) : kernel(kernel), threads(threads) {}
    void execute() override {
        kernel.evaluate(threads);
    }

private:
    HostModelKernel& kernel;
    int threads;
};

HostModelKernel::~HostModelKernel() {
    abandon();
    if (positionsArrived)
        finishCopies();
}

/** What is staged may be read until the device has passed this point. */
void HostModelKernel::finishCopies() noexcept {
    try {
        const OpenMM::ContextSelector selector(context);
        positionsArrived->enqueue();
        positionsArrived->wait();
    } catch (...) {
    }
}

std::unique_ptr<ForceEvaluation> HostModelKernel::load(const NNPForce& force) {
    return std::make_unique<ForceEvaluation>(
        force, impl, "cpu", context.getUseDoublePrecision() ? "float64" : "float32", !findsNeighborsOnDevice());
}

void HostModelKernel::prepare() {
    const int realSize = context.getSupportsDoublePrecision() ? sizeof(double) : sizeof(float);
    forces.initialize(context, 3 * static_cast<size_t>(evaluation->getNumAtoms()), realSize, "nnpForces");
    derivatives.initialize(context, std::max<size_t>(evaluation->getDerivativeNames().size(), 1), realSize,
                           "nnpDerivatives");
    stagedForces.resize(forces.getSize() * realSize);
    stagedDerivatives.resize(derivatives.getSize() * realSize);
    positionsArrived = context.createEvent();
}

/** OpenMM itself uses the worker thread for these. */
bool HostModelKernel::mayOverlap() const {
    for (const OpenMM::ForceImpl* other : impl.getForceImpls())
        if (dynamic_cast<const OpenMM::PythonForceImpl*>(other) != nullptr ||
            dynamic_cast<const OpenMM::CustomCPPForceImpl*>(other) != nullptr)
            return false;
    return true;
}

void HostModelKernel::startEvaluate() {
    const OpenMM::ContextSelector selector(context);
    positions.download(evaluation->getEvaluation().getInputs().getPositions<char>(), false);
    if (neighbors)
        downloadEdges();
    positionsArrived->enqueue();
    context.flushQueue();
    const int threads = getTorchThreads();
    onWorker = overlapsOthers();
    if (onWorker)
        context.getWorkThread().addTask(new Task(*this, threads));
    else
        evaluate(threads);
}

/** All that there is room for, since the host does not know how many there will be. */
void HostModelKernel::downloadEdges() {
    const auto download = [](OpenMM::ComputeArray& array, std::vector<char>& staging) {
        staging.resize(array.getSize() * array.getElementSize());
        array.download(staging.data(), false);
    };
    download(neighbors->getEdges(), stagedEdges);
    download(neighbors->getShifts(), stagedShifts);
}

/** False if there was not enough room for them on the device. */
bool HostModelKernel::takeEdges() {
    if (!neighbors) {
        evaluation->findNeighbors();
        return true;
    }
    if (!neighbors->fits())
        return false;
    Evaluation& onModel = evaluation->getEvaluation();
    if (onModel.getInputs().equalLast())
        return true;
    onModel.invalidate(); // what was found last is gone, whatever happens now
    const char* centers = stagedEdges.data();
    onModel.getInputs().setEdges(neighbors->getNumEdges(), centers, centers + stagedEdges.size() / 2,
                                 stagedShifts.data());
    return true;
}

/** On the worker thread nothing may be thrown: OpenMM passes on exceptions of its own kind alone. */
void HostModelKernel::evaluate(int threads) noexcept {
    try {
        positionsArrived->wait();
        clock.stop(neighbors ? StageClock::Neighbors : StageClock::Gather); // what the device was busy with
        const bool hasEdges = takeEdges();
        clock.stop(StageClock::Neighbors);
        useTorchThreads(threads);
        if (hasEdges)
            evaluation->run(withForces);
        if (hasEdges && withForces)
            evaluation->getEvaluation().checkForcesBelow(largestForce / std::abs(scale * evaluation->getForceUnit()));
    } catch (...) {
        error = std::current_exception();
    }
    clock.stop(StageClock::Evaluate);
}

bool HostModelKernel::finishEvaluate() {
    waitForWorker();
    if (error)
        std::rethrow_exception(std::exchange(error, nullptr));
    if (!edgesFit())
        return false;
    clock.start();
    const OpenMM::ContextSelector selector(context);
    if (withForces)
        upload(evaluation->getEvaluation().getForces(), forces, stagedForces);
    if (!evaluation->getDerivativeNames().empty())
        upload(evaluation->getEvaluation().getDerivatives(), derivatives, stagedDerivatives);
    return true;
}

void HostModelKernel::waitForWorker() {
    if (!onWorker)
        return;
    const WithoutInterpreterLock unlocked; // threads that torch starts may need it
    onWorker = false;
    context.getWorkThread().flush();
}

/** The copy goes on after this returns; it has ended when positions of a later evaluation arrive. */
void HostModelKernel::upload(const double* values, OpenMM::ComputeArray& array, std::vector<char>& staging) {
    const size_t count = array.getSize();
    if (array.getElementSize() == sizeof(double))
        std::memcpy(staging.data(), values, count * sizeof(double));
    else
        std::copy(values, values + count, reinterpret_cast<float*>(staging.data()));
    array.upload(staging.data(), false);
}

void HostModelKernel::abandonEvaluate() noexcept {
    try {
        waitForWorker();
        positionsArrived->wait();
    } catch (...) {
    }
    error = nullptr;
}

} // namespace openmmnnp
