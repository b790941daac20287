#include "model/TorchScope.h"

namespace openmmnnp {

namespace {

[[noreturn]] void fail(const ModelDevice& device) {
    throw ModelError("torch cannot use the device " + device.describe() +
                     " (it printed the reason to the standard error); is it visible to this process "
                     "(CUDA_VISIBLE_DEVICES), and is its driver new enough for the torch that is installed?");
}

} // namespace

TorchScope::TorchScope(const ModelDevice& device) {
    if (!device.isCuda)
        return;
    const TorchApi& torch = TorchApi::get();
    torch.requireCuda();
    if (torch.createCudaGuard(device.index, &deviceGuard) != 0)
        fail(device);
}

TorchScope::TorchScope(const ModelDevice& device, void* stream) {
    if (!device.isCuda)
        return;
    const TorchApi& torch = TorchApi::get();
    torch.requireCuda();
    if (torch.createCudaStreamGuard(stream, device.index, &streamGuard) != 0) // it sets the device as well
        fail(device);
}

TorchScope::~TorchScope() {
    if (streamGuard != nullptr)
        TorchApi::get().deleteCudaStreamGuard(streamGuard);
    if (deviceGuard != nullptr)
        TorchApi::get().deleteCudaGuard(deviceGuard);
}

} // namespace openmmnnp
