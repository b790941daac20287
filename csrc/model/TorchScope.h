#ifndef OPENMMNNP_TORCH_SCOPE_H_
#define OPENMMNNP_TORCH_SCOPE_H_

#include "model/ModelDevice.h"
#include "model/TorchApi.h"

namespace openmmnnp {

/**
 * torch's current device, and stream, for the calling thread until the end of the scope.  Nothing on the CPU.
 *
 * The primary CUDA context of the device must be current, or no context at all.
 */
class OPENMMNNP_EXPORT TorchScope {
public:
    /** Only the device.  Throws ModelError if torch has no such device. */
    explicit TorchScope(const ModelDevice& device);
    /** The device and a CUstream of its primary context; null is the device's default stream. */
    TorchScope(const ModelDevice& device, void* stream);
    ~TorchScope();
    TorchScope(const TorchScope&) = delete;
    TorchScope& operator=(const TorchScope&) = delete;

private:
    CudaGuardHandle deviceGuard = nullptr;
    CudaStreamGuardHandle streamGuard = nullptr;
};

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_SCOPE_H_
