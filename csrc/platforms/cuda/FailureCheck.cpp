#include "platforms/cuda/FailureCheck.h"
#include "openmmnnp_kernels.h"
#include <algorithm>

namespace openmmnnp {

namespace {

// Arguments of the kernel that change, and what it keeps of a wrong evaluation.
enum Argument { WithForces = 4, ForceLimit, EvaluationNumber, Slot };
enum Kept { KeptNumber, KeptWithForces, KeptForceLimit, KeptEnergy, KeptDerivatives = 5 };

} // namespace

FailureCheck::FailureCheck(OpenMM::CudaContext& context, const ForceEvaluation& evaluation, const Arrays& arrays)
    : context(context), numParticles(evaluation.getNumAtoms()),
      numDerivatives(static_cast<int>(evaluation.getDerivativeNames().size())),
      blockSize(std::clamp((3 * numParticles + 31) / 32 * 32, 32, 1024)),
      pinned(sizeof(double) * (2 + static_cast<size_t>(numDerivatives))),
      marks{CudaMark(context.getEventFlags()), CudaMark(context.getEventFlags())} {
    lastEnergies.initialize<double>(context, DeviceEvaluation::numLastEnergies, "nnpLastEnergies");
    failed.initialize<int>(context, 1, "nnpFailed");
    kept.initialize<double>(context, KeptDerivatives + numDerivatives + 6 * static_cast<size_t>(numParticles),
                            "nnpKept");
    lastEnergies.upload(std::vector<double>(DeviceEvaluation::numLastEnergies));
    failed.upload(std::vector<int>{0});
    compile(arrays, arrays.positions.getElementSize() == sizeof(double));
}

void FailureCheck::compile(const Arrays& arrays, bool modelIsDouble) {
    const OpenMM::ComputeProgram program =
        context.compileProgram(kernels::check, {{"NUM_PARTICLES", context.intToString(numParticles)},
                                                {"NUM_DERIVATIVES", context.intToString(numDerivatives)},
                                                {"MODEL_REAL", modelIsDouble ? "double" : "float"},
                                                {"WIDE", "double"}});
    kernel = program->createKernel("check");
    for (OpenMM::ComputeArray* array : {&arrays.positions, &arrays.forces, &arrays.energy, &arrays.derivatives})
        kernel->addArg(*array);
    for (int i = WithForces; i <= Slot; i++)
        kernel->addArg();
    for (OpenMM::ComputeArray* array : {&lastEnergies, &failed, &kept})
        kernel->addArg(*array);
    kernel->addArg(pinned.getDevice());
    kernel->addArg(pinned.getDevice() + sizeof(double));
}

void FailureCheck::enqueue(long long evaluation, bool withForces, double forceLimit) {
    kernel->setArg(WithForces, static_cast<int>(withForces));
    kernel->setArg(ForceLimit, forceLimit);
    kernel->setArg(EvaluationNumber, static_cast<double>(evaluation));
    kernel->setArg(Slot, static_cast<int>((evaluation - 1) % DeviceEvaluation::numLastEnergies));
    kernel->execute(blockSize, blockSize);
    marks[++numChecks % 2].record(context.getCurrentStream());
}

void FailureCheck::waitForOlder() const {
    if (numChecks > 1)
        marks[(numChecks - 1) % 2].wait();
}

void FailureCheck::waitForLast() const {
    if (numChecks > 0)
        marks[numChecks % 2].wait();
}

void FailureCheck::throwIfFailed(DeviceEvaluation& evaluation) {
    if (*static_cast<const volatile int*>(pinned.getHost()) == 0)
        return;
    waitForLast();
    std::vector<double> values, energies;
    kept.download(values);
    lastEnergies.download(energies);
    failed.upload(std::vector<int>{0});
    *static_cast<volatile int*>(pinned.getHost()) = 0;
    DeviceEvaluation::Failure failure;
    failure.evaluation = static_cast<long long>(values[KeptNumber]);
    failure.withForces = values[KeptWithForces] != 0;
    failure.forceLimit = values[KeptForceLimit];
    failure.energy = values[KeptEnergy];
    failure.derivatives = values.data() + KeptDerivatives;
    failure.forces = failure.derivatives + numDerivatives;
    failure.positions = failure.forces + 3 * static_cast<size_t>(numParticles);
    failure.lastEnergies = energies.data();
    evaluation.throwFailure(failure);
}

} // namespace openmmnnp
