#include "model/EdgeInputs.h"
#include "model/Printable.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace openmmnnp {

namespace {

constexpr int64_t leastEdges = 2;

size_t sizeOf(DType dtype) {
    return dtype == DType::Float32 || dtype == DType::Int32 ? 4 : 8;
}

/** Write a number of one of the four dtypes. */
void write(char* buffer, DType dtype, size_t index, double value) {
    if (dtype == DType::Float64)
        reinterpret_cast<double*>(buffer)[index] = value;
    else if (dtype == DType::Float32)
        reinterpret_cast<float*>(buffer)[index] = static_cast<float>(value);
    else if (dtype == DType::Int64)
        reinterpret_cast<int64_t*>(buffer)[index] = static_cast<int64_t>(value);
    else
        reinterpret_cast<int32_t*>(buffer)[index] = static_cast<int32_t>(value);
}

DType shiftDtypeOf(const ModelSpec& spec) {
    if (spec.shifts != "cell")
        return spec.dtype == "float64" ? DType::Float64 : DType::Float32;
    return spec.indexDtype == "int32" ? DType::Int32 : DType::Int64;
}

} // namespace

EdgeInputs::EdgeInputs(const ModelSpec& spec)
    : cutoff(spec.cutoff.value_or(0)), lengthUnit(spec.lengthUnit), capacity(spec.edgeCapacity),
      takesShifts(spec.hasInput("shifts")), cartesian(spec.shifts == "cartesian"),
      indexDtype(spec.indexDtype == "int32" ? DType::Int32 : DType::Int64), shiftDtype(shiftDtypeOf(spec)),
      indexSize(sizeOf(indexDtype)), shiftSize(sizeOf(shiftDtype)) {
    if (capacity > 0 && !takesShifts)
        throw ModelError("The model takes " + std::to_string(capacity) +
                         " edges, whatever their number, but no shifts, so those that are too many cannot be put "
                         "beyond the cutoff; export it with the input 'shifts', or with a dynamic edge_capacity.");
    numPassed = capacity;
    edges.resize(2 * numPassed * indexSize);
    shifts.resize(3 * numPassed * shiftSize);
}

void EdgeInputs::setNumEdges(int64_t count) {
    if (capacity > 0 && count > capacity)
        throw ModelError("The model was exported for at most " + std::to_string(capacity) +
                         " edges (edge_capacity), but " + std::to_string(count) + " pairs are within its cutoff of " +
                         printNumber(cutoff) + " " + lengthUnit +
                         "; export it with a larger edge_capacity, or \"dynamic\".");
    numEdges = count;
}

void EdgeInputs::resize(int64_t count, int64_t most) {
    setNumEdges(count);
    numPassed = capacity > 0 ? capacity : takesShifts ? std::max(count, leastEdges) : count;
    edges.reserve(2 * std::max(most, numPassed) * indexSize);
    edges.resize(2 * numPassed * indexSize);
    if (takesShifts) {
        shifts.reserve(3 * std::max(most, numPassed) * shiftSize);
        shifts.resize(3 * numPassed * shiftSize);
    }
}

void EdgeInputs::pad(const double box[9]) {
    const double length = cartesian ? 2 * cutoff : std::ceil(2 * cutoff / box[0]);
    for (int64_t e = numEdges; e < numPassed; e++) {
        write(edges.data(), indexDtype, e, 0);
        write(edges.data(), indexDtype, numPassed + e, 0);
        for (int axis = 0; axis < 3; axis++)
            write(shifts.data(), shiftDtype, 3 * e + axis, axis == 0 ? length : 0);
    }
}

void EdgeInputs::set(const HostNeighbors& list, const double box[9]) {
    resize(list.getNumEdges(), list.getNumCandidates());
    indexDtype == DType::Int64 ? fill<int64_t>(list) : fill<int32_t>(list);
    pad(box);
}

template <class Index>
void EdgeInputs::fill(const HostNeighbors& list) {
    if (shiftDtype == DType::Float64)
        fillWithShifts<Index, double>(list);
    else if (shiftDtype == DType::Float32)
        fillWithShifts<Index, float>(list);
    else
        fillWithShifts<Index, Index>(list);
}

template <class Index, class Shift>
void EdgeInputs::fillWithShifts(const HostNeighbors& list) {
    Index *center = reinterpret_cast<Index*>(edges.data()), *neighbor = center + numPassed;
    Shift* shift = reinterpret_cast<Shift*>(shifts.data());
    const auto fillWith = [&](auto shiftOf) {
        list.forEach([&](int i, int j, int image) {
            *center++ = i;
            *neighbor++ = j;
            for (const auto value : shiftOf(i, j, image))
                *shift++ = static_cast<Shift>(value);
        });
    };
    if (!takesShifts)
        fillWith([](int, int, int) { return std::array<Shift, 0>(); });
    else if (!cartesian)
        fillWith([&](int i, int j, int image) { return list.getCell(i, j, image); });
    else if (list.getOptions().periodic)
        fillWith([&](int i, int j, int image) { return list.getShift(i, j, image); });
    else
        fillWith([](int, int, int) { return std::array<Shift, 3>(); });
}

void EdgeInputs::set(int64_t count, const void* centers, const void* neighbors, const void* newShifts,
                     const double box[9]) {
    resize(count, count);
    std::memcpy(edges.data(), centers, count * indexSize);
    std::memcpy(edges.data() + numPassed * indexSize, neighbors, count * indexSize);
    if (takesShifts)
        std::memcpy(shifts.data(), newShifts, 3 * count * shiftSize);
    pad(box);
}

void EdgeInputs::set(const std::string& input, const SpecArray& array) {
    const bool areEdges = input == "edges";
    numEdges = numPassed = areEdges ? array.shape[1] : array.shape[0];
    std::vector<char>& buffer = areEdges ? edges : shifts;
    const DType dtype = areEdges ? indexDtype : shiftDtype;
    buffer.resize(array.values.size() * sizeOf(dtype));
    for (size_t i = 0; i < array.values.size(); i++)
        write(buffer.data(), dtype, i, array.values[i]);
}

TensorView EdgeInputs::getEdges() {
    return TensorView::contiguous(edges.data(), indexDtype, {2, numPassed});
}

TensorView EdgeInputs::getShifts() {
    return TensorView::contiguous(shifts.data(), shiftDtype, {numPassed, 3});
}

} // namespace openmmnnp
