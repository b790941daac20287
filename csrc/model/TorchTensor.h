#ifndef OPENMMNNP_TORCH_TENSOR_H_
#define OPENMMNNP_TORCH_TENSOR_H_

#include "model/Model.h"
#include "model/ModelDevice.h"
#include "model/TorchApi.h"
#include <utility>
#include <vector>

namespace openmmnnp {

/** A tensor of torch's, through its C interface; deleted with the object. */
class OPENMMNNP_EXPORT TorchTensor {
public:
    TorchTensor() = default;
    /** Take a handle over. */
    explicit TorchTensor(AtenTensorHandle handle) : handle(handle) {}
    /** A tensor over memory of somebody else's on that device.  Throws ModelError. */
    static TorchTensor wrap(const TensorView& view, const ModelDevice& device);
    /** A contiguous tensor in memory of torch's, not filled.  Throws ModelError. */
    static TorchTensor allocate(DType dtype, const std::vector<int64_t>& shape, const ModelDevice& device);
    /** The same with the shape of a view. */
    static TorchTensor allocateLike(const TensorView& view, DType dtype, const ModelDevice& device);

    TorchTensor(TorchTensor&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
    TorchTensor& operator=(TorchTensor&& other) noexcept {
        std::swap(handle, other.handle);
        return *this;
    }
    ~TorchTensor();

    AtenTensorHandle get() const {
        return handle;
    }
    /** Give the handle away, to a function that steals it. */
    AtenTensorHandle release() {
        return std::exchange(handle, nullptr);
    }
    bool isDefined() const {
        return handle != nullptr;
    }
    /** What it holds.  Throws ModelError if that is no dense tensor of at most 8 axes. */
    TensorView view() const;
    ModelDevice getDevice() const;
    /**
     * Copy from a tensor of the same shape and any dtype, strides and device, on torch's current stream (TorchScope).
     * Between CUDA tensors it is only enqueued.  Between host and device it waits until the copy is done, unless `wait`
     * is false: then a source on the host may be changed at once, a target on the host may not be read yet.
     */
    void copyFrom(const TorchTensor& source, bool wait = true);

private:
    AtenTensorHandle handle = nullptr;
};

/** The same for a handle that somebody else owns. */
TensorView viewOf(AtenTensorHandle tensor);
ModelDevice deviceOf(AtenTensorHandle tensor);
void copyTensor(AtenTensorHandle target, AtenTensorHandle source, bool wait = true);

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_TENSOR_H_
