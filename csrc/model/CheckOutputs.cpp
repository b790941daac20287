#include "model/CheckOutputs.h"

namespace openmmnnp {

namespace {

bool isReal(const TensorView& view) {
    return view.dtype == DType::Float32 || view.dtype == DType::Float64;
}

} // namespace

void checkEnergyOutput(const TensorView& output) {
    if (!isReal(output) || output.count() != 1)
        throw ModelError("The model returned an energy that is " + output.describe() +
                         ", but one number, float32 or float64 [], is needed.");
}

void checkAtomicEnergyOutput(const TensorView& output, int numParticles) {
    if (!isReal(output) || output.count() != numParticles)
        throw ModelError("The model returned atomic energies that are " + output.describe() +
                         ", but one number for each particle, float32 or float64 [" + std::to_string(numParticles) +
                         "], is needed.");
}

void checkForcesOutput(const TensorView& output, int numParticles) {
    if (!isReal(output) || output.rank != 2 || output.sizes[0] != numParticles || output.sizes[1] != 3)
        throw ModelError("The model returned forces that are " + output.describe() + ", but float32 or float64 [" +
                         std::to_string(numParticles) + ", 3] is needed.");
}

void checkMMForcesOutput(const TensorView& output, int numCharges) {
    if (!isReal(output) || output.rank != 2 || output.sizes[0] != numCharges || output.sizes[1] != 3)
        throw ModelError("The model returned mm_forces that are " + output.describe() + ", but float32 or float64 [" +
                         std::to_string(numCharges) + ", 3] is needed.");
}

void checkDerivativeOutput(const TensorView& output, const std::string& name) {
    if (!isReal(output) || output.count() != 1)
        throw ModelError("The model returned the output '" + name + "' that is " + output.describe() +
                         ", but one number is needed.");
}

void checkExtraOutput(const TensorView& output, const std::string& name) {
    if (output.dtype == DType::Other)
        throw ModelError("The model returned the output '" + name + "' that is " + output.describe() +
                         ", but float32, float64, int32 or int64 is needed.");
}

} // namespace openmmnnp
