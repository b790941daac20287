#include "model/Component.h"
#include <algorithm>

namespace openmmnnp {

namespace {

size_t sizeOf(DType dtype) {
    return dtype == DType::Float32 || dtype == DType::Int32 ? 4 : 8;
}

} // namespace

TensorView Component::of(const TensorView& whole, int rank) const {
    if (isEnergy())
        return whole;
    const int leading = whole.rank - rank;
    int64_t count = 1;
    for (int axis = 0; axis < leading; axis++)
        count *= whole.sizes[axis];
    if (leading < 0 || index >= count || whole.dtype == DType::Other)
        throw ModelError("The model returned '" + (rank == 0 ? output : getForcesOutput()) + "' that is " +
                         whole.describe() + ", but the component " + std::to_string(index) +
                         " of it was asked for; give setCollectiveVariable() one that is there.");
    int64_t offset = 0, rest = index;
    for (int axis = leading - 1; axis >= 0; axis--) {
        offset += rest % whole.sizes[axis] * whole.strides[axis];
        rest /= whole.sizes[axis];
    }
    TensorView part = whole;
    part.data = static_cast<char*>(whole.data) + offset * static_cast<int64_t>(sizeOf(whole.dtype));
    part.rank = rank;
    std::copy_n(whole.sizes + leading, rank, part.sizes);
    std::copy_n(whole.strides + leading, rank, part.strides);
    return part;
}

} // namespace openmmnnp
