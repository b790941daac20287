#include "model/Model.h"
#include <algorithm>

namespace openmmnnp {

namespace {

template <class T>
void copyStrided(const TensorView& view, double* target) {
    const T* source = static_cast<const T*>(view.data);
    const int64_t count = view.count();
    if (view.isContiguous()) {
        std::copy(source, source + count, target);
        return;
    }
    int64_t index[TensorView::maxRank] = {};
    for (int64_t i = 0; i < count; i++) {
        int64_t offset = 0;
        for (int axis = 0; axis < view.rank; axis++)
            offset += index[axis] * view.strides[axis];
        target[i] = static_cast<double>(source[offset]);
        for (int axis = view.rank - 1; axis >= 0 && ++index[axis] == view.sizes[axis]; axis--)
            index[axis] = 0;
    }
}

const char* dtypeName(DType dtype) {
    switch (dtype) {
    case DType::Float32:
        return "float32";
    case DType::Float64:
        return "float64";
    case DType::Int32:
        return "int32";
    case DType::Int64:
        return "int64";
    default:
        return "another dtype";
    }
}

} // namespace

namespace {

template <class Shape>
TensorView makeContiguous(void* data, DType dtype, const Shape& shape) {
    TensorView view;
    view.data = data;
    view.dtype = dtype;
    view.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), view.sizes);
    int64_t stride = 1;
    for (int axis = view.rank - 1; axis >= 0; axis--) {
        view.strides[axis] = stride;
        stride *= view.sizes[axis];
    }
    return view;
}

} // namespace

TensorView TensorView::contiguous(void* data, DType dtype, const std::vector<int64_t>& shape) {
    return makeContiguous(data, dtype, shape);
}

TensorView TensorView::contiguous(void* data, DType dtype, std::initializer_list<int64_t> shape) {
    return makeContiguous(data, dtype, shape);
}

TensorView TensorView::sameShape(void* otherData, DType otherDtype) const {
    TensorView view = *this;
    view.data = otherData;
    view.dtype = otherDtype;
    int64_t stride = 1;
    for (int axis = rank - 1; axis >= 0; axis--) {
        view.strides[axis] = stride;
        stride *= sizes[axis];
    }
    return view;
}

bool TensorView::hasShapeOf(const TensorView& other) const {
    return rank == other.rank && std::equal(sizes, sizes + rank, other.sizes);
}

int64_t TensorView::count() const {
    int64_t product = 1;
    for (int axis = 0; axis < rank; axis++)
        product *= sizes[axis];
    return product;
}

bool TensorView::isContiguous() const {
    int64_t stride = 1;
    for (int axis = rank - 1; axis >= 0; axis--) {
        if (sizes[axis] != 1 && strides[axis] != stride)
            return false;
        stride *= sizes[axis];
    }
    return true;
}

void TensorView::copyTo(double* target) const {
    switch (dtype) {
    case DType::Float32:
        return copyStrided<float>(*this, target);
    case DType::Float64:
        return copyStrided<double>(*this, target);
    case DType::Int32:
        return copyStrided<int32_t>(*this, target);
    case DType::Int64:
        return copyStrided<int64_t>(*this, target);
    default:
        throw ModelError("A tensor of a dtype other than float32, float64, int32 and int64 cannot be read.");
    }
}

std::string TensorView::describe() const {
    return std::string(dtypeName(dtype)) + " " + describeShape(std::vector<int64_t>(sizes, sizes + rank));
}

std::string describeShape(const std::vector<int64_t>& shape) {
    std::string text = "[";
    for (const int64_t size : shape)
        text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

int Model::findOutput(const std::string& name) const {
    const auto found = std::find(outputNames.begin(), outputNames.end(), name);
    return found == outputNames.end() ? -1 : static_cast<int>(found - outputNames.begin());
}

void Model::evaluate(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) {
    const std::lock_guard<std::mutex> lock(mutex);
    run(inputs, request, reader);
}

} // namespace openmmnnp
