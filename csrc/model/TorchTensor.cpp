#include "model/TorchTensor.h"

namespace openmmnnp {

namespace {

int32_t dtypeCode(const TorchApi& torch, DType dtype) {
    switch (dtype) {
    case DType::Float32:
        return torch.dtypeFloat32();
    case DType::Float64:
        return torch.dtypeFloat64();
    case DType::Int32:
        return torch.dtypeInt32();
    default:
        return torch.dtypeInt64();
    }
}

DType dtypeFromCode(const TorchApi& torch, int32_t code) {
    for (const DType dtype : {DType::Float32, DType::Float64, DType::Int32, DType::Int64})
        if (code == dtypeCode(torch, dtype))
            return dtype;
    return DType::Other;
}

int32_t deviceType(const TorchApi& torch, const ModelDevice& device) {
    if (!device.isCuda)
        return torch.deviceTypeCpu();
    torch.requireCuda();
    return torch.deviceTypeCuda();
}

} // namespace

TorchTensor TorchTensor::wrap(const TensorView& view, const ModelDevice& device) {
    const TorchApi& torch = TorchApi::get();
    TorchTensor tensor;
    if (torch.createTensorFromBlob(view.data, view.rank, view.sizes, view.strides, 0, dtypeCode(torch, view.dtype),
                                   deviceType(torch, device), device.index, &tensor.handle) != 0)
        throw ModelError("Memory on " + device.describe() + " could not be given to torch as " + view.describe() +
                         "; torch printed the reason to the standard error.");
    return tensor;
}

TorchTensor TorchTensor::allocate(DType dtype, const std::vector<int64_t>& shape, const ModelDevice& device) {
    return allocateLike(TensorView::contiguous(nullptr, dtype, shape), dtype, device);
}

TorchTensor TorchTensor::allocateLike(const TensorView& shape, DType dtype, const ModelDevice& device) {
    const TorchApi& torch = TorchApi::get();
    const TensorView view = shape.sameShape(nullptr, dtype);
    TorchTensor tensor;
    if (torch.emptyStrided(view.rank, view.sizes, view.strides, dtypeCode(torch, dtype), deviceType(torch, device),
                           device.index, &tensor.handle) != 0)
        throw ModelError("torch could not allocate " + view.describe() + " on " + device.describe() +
                         "; it printed the reason to the standard error. Is the device's memory used up?");
    return tensor;
}

TorchTensor::~TorchTensor() {
    if (handle != nullptr)
        TorchApi::get().deleteTensor(handle);
}

TensorView TorchTensor::view() const {
    return viewOf(handle);
}

ModelDevice TorchTensor::getDevice() const {
    return deviceOf(handle);
}

void TorchTensor::copyFrom(const TorchTensor& source, bool wait) {
    copyTensor(handle, source.handle, wait);
}

TensorView viewOf(AtenTensorHandle tensor) {
    const TorchApi& torch = TorchApi::get();
    TensorView view;
    int64_t rank = 0, *sizes = nullptr, *strides = nullptr;
    int32_t dtype = 0;
    const bool failed = torch.getDim(tensor, &rank) || torch.getSizes(tensor, &sizes) ||
                        torch.getStrides(tensor, &strides) || torch.getDtype(tensor, &dtype) ||
                        torch.getDataPtr(tensor, &view.data);
    if (failed || rank > TensorView::maxRank)
        throw ModelError("An output of the model could not be read.");
    view.rank = static_cast<int>(rank);
    view.dtype = dtypeFromCode(torch, dtype);
    for (int axis = 0; axis < view.rank; axis++) {
        view.sizes[axis] = sizes[axis];
        view.strides[axis] = strides[axis];
    }
    return view;
}

ModelDevice deviceOf(AtenTensorHandle tensor) {
    const TorchApi& torch = TorchApi::get();
    int32_t type = 0, index = 0;
    if (torch.getDeviceType(tensor, &type) != 0 || torch.getDeviceIndex(tensor, &index) != 0)
        throw ModelError("An output of the model could not be read.");
    if (type == torch.deviceTypeCpu())
        return {};
    if (torch.deviceTypeCuda && type == torch.deviceTypeCuda())
        return {true, index};
    throw ModelError("An output of the model is neither on the CPU nor on a CUDA device.");
}

void copyTensor(AtenTensorHandle target, AtenTensorHandle source, bool wait) {
    if (TorchApi::get().copy(target, source, wait ? 0 : 1) != 0)
        throw ModelError("torch could not copy a tensor; it printed the reason to the standard error.");
}

} // namespace openmmnnp
