#include "model/ModelInputs.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

namespace {

bool isParameter(const std::string& input) {
    return input.compare(0, 11, "parameters.") == 0;
}

} // namespace

ModelInputs::ModelInputs(const ModelSpec& spec, int numParticles)
    : numParticles(numParticles), dtype(spec.dtype == "float64" ? DType::Float64 : DType::Float32),
      itemSize(dtype == DType::Float64 ? 8 : 4), names(spec.inputs), cutoff(spec.cutoff.value_or(0)),
      integerBuffers(names.size()) {
    if (spec.hasInput("edges") || spec.hasInput("shifts"))
        edges.emplace(spec);
    if (spec.hasInput("mm_positions"))
        mm.emplace(spec);
    int elements = 3 * numParticles;
    if (spec.hasInput("box") || edges) {
        boxOffset = elements;
        elements += 9;
    }
    parameterOffset = elements;
    block.resize((elements + names.size()) * itemSize);
    const auto real = [&](int offset, const std::vector<int64_t>& shape) {
        return TensorView::contiguous(block.data() + offset * itemSize, dtype, shape);
    };
    int parameters = 0;
    for (size_t i = 0; i < names.size(); i++) {
        if (names[i] == "positions")
            views.push_back(real(0, {numParticles, 3}));
        else if (names[i] == "box")
            views.push_back(spec.batchedBox ? real(boxOffset, {1, 3, 3}) : real(boxOffset, {3, 3}));
        else if (isParameter(names[i]))
            views.push_back(real(parameterOffset + parameters++, {}));
        else if (isOfEdges(i))
            views.push_back(names[i] == "edges" ? edges->getEdges() : edges->getShifts());
        else if (isOfMM(i))
            views.push_back(names[i] == "mm_positions" ? mm->getPositions() : mm->getCharges());
        else {
            const bool perParticle = names[i] == "atomic_numbers" || names[i] == "types";
            integerBuffers[i].resize(perParticle ? numParticles : 1);
            views.push_back(
                TensorView::contiguous(integerBuffers[i].data(), DType::Int64,
                                       perParticle ? std::vector<int64_t>{numParticles} : std::vector<int64_t>{}));
        }
    }
}

void ModelInputs::setReal(size_t element, double value) {
    if (dtype == DType::Float64)
        reinterpret_cast<double*>(block.data())[element] = value;
    else
        reinterpret_cast<float*>(block.data())[element] = static_cast<float>(value);
}

double ModelInputs::getReal(size_t element) const {
    return dtype == DType::Float64 ? reinterpret_cast<const double*>(block.data())[element]
                                   : reinterpret_cast<const float*>(block.data())[element];
}

void ModelInputs::setPositions(const double* values) {
    for (int i = 0; i < 3 * numParticles; i++)
        setReal(i, values[i]);
}

void ModelInputs::setBox(const double box[9]) {
    for (int i = 0; i < 9; i++) {
        boxRows[i] = edges && !periodic ? (i % 4 == 0 ? 4 * cutoff : 0) : box[i];
        setReal(boxOffset + i, boxRows[i]);
    }
}

void ModelInputs::setEdges(const HostNeighbors& list) {
    edges->set(list, boxRows.data());
    viewEdges();
}

void ModelInputs::setEdges(int64_t count, const void* centers, const void* neighbors, const void* shifts) {
    edges->set(count, centers, neighbors, shifts, boxRows.data());
    viewEdges();
}

void ModelInputs::viewEdges() {
    for (size_t i = 0; i < names.size(); i++)
        if (isOfEdges(i))
            views[i] = names[i] == "edges" ? edges->getEdges() : edges->getShifts();
}

void ModelInputs::viewMM() {
    for (size_t i = 0; i < names.size(); i++)
        if (isOfMM(i))
            views[i] = names[i] == "mm_positions" ? mm->getPositions() : mm->getCharges();
}

void ModelInputs::setParameter(int index, double value) {
    setReal(parameterOffset + index, value);
}

void ModelInputs::setIntegers(const std::string& input, const std::vector<int>& values) {
    const size_t index = std::find(names.begin(), names.end(), input) - names.begin();
    if (index == names.size())
        return;
    std::vector<int64_t>& buffer = integerBuffers[index];
    if (buffer.size() != values.size())
        throw ModelError("The model's input '" + input + "' needs " + std::to_string(buffer.size()) + " values, but " +
                         std::to_string(values.size()) + " were given.");
    std::copy(values.begin(), values.end(), buffer.begin());
    forget();
}

void ModelInputs::set(const std::string& input, const SpecArray& array) {
    const size_t index = std::find(names.begin(), names.end(), input) - names.begin();
    const TensorView& view = views.at(index);
    if (isOfEdges(index)) {
        edges->set(input, array);
        viewEdges();
        return;
    }
    if (isOfMM(index)) {
        mm->set(input, array);
        viewMM();
        return;
    }
    if (!integerBuffers[index].empty()) {
        setIntegers(input, std::vector<int>(array.values.begin(), array.values.end()));
        return;
    }
    const size_t first = (static_cast<const char*>(view.data) - block.data()) / itemSize;
    for (size_t i = 0; i < array.values.size(); i++)
        setReal(first + i, array.values[i]);
}

double ModelInputs::getPosition(int particle, int axis) const {
    return getReal(3 * static_cast<size_t>(particle) + axis);
}

int ModelInputs::findNonFinitePosition() const {
    for (int i = 0; i < 3 * numParticles; i++)
        if (!std::isfinite(getReal(i)))
            return i / 3;
    return -1;
}

} // namespace openmmnnp
