#include "platforms/cuda/CudaNNPKernel.h"
#include <algorithm>
#include <cmath>
#include <openmm/common/ContextSelector.h>

namespace openmmnnp {

namespace {

/** OpenMM's force buffer holds fixed-point numbers below 2^31 kJ/mol/nm. */
constexpr double largestForce = 2147483648.0;

int attribute(CUdevice device, CUdevice_attribute which) {
    int value = 0;
    checkCuda(cuDeviceGetAttribute(&value, which, device), "The CUDA device's architecture could not be read");
    return value;
}

} // namespace

CudaNNPKernel::CudaNNPKernel(const std::string& name, const OpenMM::Platform& platform, OpenMM::ContextImpl& impl,
                             OpenMM::CudaContext& context)
    : CommonCalcNNPForceKernel(name, platform, impl, context), cuda(context), primary(context.getDevice()),
      stream(borrowStream(primary)) {}

CudaNNPKernel::~CudaNNPKernel() {
    abandon();
    const OpenMM::ContextSelector selector(cuda);
    try {
        waitForModel();
        if (failures)
            failures->waitForLast();
    } catch (const std::exception&) { // the device is gone, and all on it
    }
    failures.reset();
    gathered.reset();
    neighbors.reset();
    try {
        const ContextGuard guard(primary.get());
        evaluated.reset();
        evaluation.reset();
    } catch (const std::exception&) {
    }
}

std::unique_ptr<ForceEvaluation> CudaNNPKernel::load(const NNPForce& definition) {
    const std::optional<ModelSpec>& spec = definition.getModel()->getSpec();
    if (spec && spec->hasInput("edges") && !spec->hasInput("shifts"))
        throw ModelError(
            "The model takes edges but no shifts, and on the CUDA platform edges are filled up with padding "
            "that only shifts put beyond the cutoff; export it with the input 'shifts', or choose another "
            "platform.");
    const ContextGuard guard(primary.get());
    const CUdevice device = cuda.getDevice();
    const int capability = 10 * attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                           attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    return std::make_unique<ForceEvaluation>(definition, impl, "cuda:" + std::to_string(cuda.getDeviceIndex()),
                                             cuda.getUseDoublePrecision() ? "float64" : "float32", false, capability);
}

void CudaNNPKernel::prepare() {
    forces.initialize<double>(cuda, 3 * static_cast<size_t>(evaluation->getNumAtoms()), "nnpForces");
    energy.initialize<double>(cuda, 1, "nnpEnergy");
    derivatives.initialize<double>(cuda, std::max<size_t>(evaluation->getDerivativeNames().size(), 1),
                                   "nnpDerivatives");
    gathered = std::make_unique<CudaMark>();
    failures =
        std::make_unique<FailureCheck>(cuda, *evaluation, FailureCheck::Arrays{positions, forces, energy, derivatives});
    const ContextGuard guard(primary.get());
    evaluated = std::make_unique<CudaMark>();
    bind();
}

/** In the primary context. */
void CudaNNPKernel::bind() {
    DeviceEvaluation& onDevice = evaluation->getDeviceEvaluation();
    DeviceEvaluation::Memory memory = {pointerTo<void>(positions), pointerTo<double>(energy),
                                       pointerTo<double>(derivatives), pointerTo<double>(forces)};
    if (neighbors) {
        memory.edges = pointerTo<void>(neighbors->getEdges());
        memory.shifts = pointerTo<void>(neighbors->getShifts());
        memory.edgeCapacity = neighbors->getCapacity();
        boundGrowths = neighbors->getNumGrowths();
    }
    onDevice.bind(memory, stream.get(),
                  makeGraphReplay(onDevice.getModel().getDevice(), force.getCudaGraphs(),
                                  force.getCudaGraphWarmupSteps(), force.getName()));
}

template <class T>
T* CudaNNPKernel::pointerTo(OpenMM::ComputeArray& array) const {
    return reinterpret_cast<T*>(cuda.unwrap(array).getDevicePointer());
}

void CudaNNPKernel::startEvaluate() {
    const OpenMM::ContextSelector selector(cuda);
    failures->waitForOlder();
    failures->throwIfFailed(evaluation->getDeviceEvaluation());
    gathered->record(cuda.getCurrentStream());
    clock.stop(StageClock::Gather);
    const ContextGuard guard(primary.get());
    if (neighbors && neighbors->getNumGrowths() != boundGrowths)
        bind(); // also captures a graph again
    gathered->holdBack(stream.get());
    evaluation->run(withForces);
    evaluated->record(stream.get());
    clock.stop(StageClock::Evaluate);
}

bool CudaNNPKernel::finishEvaluate() {
    clock.start();
    const OpenMM::ContextSelector selector(cuda);
    evaluated->holdBack(cuda.getCurrentStream());
    if (!edgesFit())
        return false;
    failures->enqueue(evaluation->getEvaluation().getNumEvaluations(), withForces,
                      largestForce / std::abs(scale * evaluation->getForceUnit()));
    return true;
}

double CudaNNPKernel::getEnergy() {
    settle();
    return evaluation->getEnergy();
}

/** Wait for the last evaluation; take its energy, or throw what went wrong. */
void CudaNNPKernel::settle() const {
    const OpenMM::ContextSelector selector(cuda);
    DeviceEvaluation& onDevice = evaluation->getDeviceEvaluation();
    failures->waitForLast();
    failures->throwIfFailed(onDevice);
    onDevice.adopt(failures->getResults());
}

void CudaNNPKernel::waitForModel() const {
    const ContextGuard guard(primary.get());
    checkCuda(cuStreamSynchronize(stream.get()), "The model's work on the CUDA device failed");
}

void CudaNNPKernel::abandonEvaluate() noexcept {
    try {
        waitForModel();
        evaluation->getDeviceEvaluation().discard();
    } catch (const std::exception&) {
    }
}

NamedOutput CudaNNPKernel::getOutput(const std::string& name) {
    abandon();
    settle();
    const ContextGuard guard(primary.get());
    return CommonCalcNNPForceKernel::getOutput(name);
}

Diagnostics CudaNNPKernel::getDiagnostics() {
    abandon();
    settle();
    return CommonCalcNNPForceKernel::getDiagnostics();
}

void CudaNNPKernel::update(const NNPForce& definition) {
    abandon();
    settle(); // what went wrong so far is the old model's
    waitForModel();
    const OpenMM::ContextSelector selector(cuda);
    const ContextGuard guard(primary.get());
    CommonCalcNNPForceKernel::update(definition);
    bind();
}

} // namespace openmmnnp
