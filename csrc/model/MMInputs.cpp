#include "model/MMInputs.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

const double MMInputs::padding[3] = {61.803398875, 57.721566490, 52.359877560};

MMInputs::MMInputs(const ModelSpec& spec)
    : dtype(spec.dtype == "float64" ? DType::Float64 : DType::Float32), itemSize(dtype == DType::Float64 ? 8 : 4),
      perNm(1 / spec.getLengthInNm()) {
    const double nowhere[3] = {0, 0, 0};
    choose<double>(0, nullptr, nullptr, nowhere);
}

void MMInputs::setCharges(const std::vector<int>& newParticles, const std::vector<double>& newCharges) {
    allParticles = newParticles;
    allCharges = newCharges;
}

template <class Real>
void MMInputs::choose(int newCount, const int* chosen, const Real* newPositions, const double origin[3]) {
    count = newCount;
    resize(std::max(count, leastCharges));
    particles.resize(count);
    for (int k = 0; k < getNumPassed(); k++) {
        const bool isPadding = k >= count;
        if (!isPadding)
            particles[k] = allParticles[chosen[k]];
        write(charges, k, isPadding ? 0 : allCharges[chosen[k]]);
        for (int axis = 0; axis < 3; axis++) {
            const size_t element = 3 * static_cast<size_t>(k) + axis;
            write(positions, element,
                  isPadding ? origin[axis] + perNm * padding[axis] : static_cast<double>(newPositions[element]));
        }
    }
}

template void MMInputs::choose(int, const int*, const float*, const double[3]);
template void MMInputs::choose(int, const int*, const double*, const double[3]);

void MMInputs::set(const std::string& input, const SpecArray& array) {
    count = static_cast<int>(array.shape[0]);
    particles.assign(count, -1);
    resize(count);
    std::vector<char>& buffer = input == "mm_positions" ? positions : charges;
    for (size_t i = 0; i < array.values.size(); i++)
        write(buffer, i, array.values[i]);
}

/** Room is left for more, so that the number may change a little without new memory. */
void MMInputs::resize(size_t passed) {
    if (charges.capacity() < passed * itemSize) {
        const size_t room = passed + passed / 4;
        for (std::vector<char>* buffer : {&charges, &lastCharges})
            buffer->reserve(room * itemSize);
        for (std::vector<char>* buffer : {&positions, &lastPositions})
            buffer->reserve(3 * room * itemSize);
        particles.reserve(room);
    }
    charges.resize(passed * itemSize);
    positions.resize(3 * passed * itemSize);
}

void MMInputs::write(std::vector<char>& buffer, size_t index, double value) const {
    if (dtype == DType::Float64)
        reinterpret_cast<double*>(buffer.data())[index] = value;
    else
        reinterpret_cast<float*>(buffer.data())[index] = static_cast<float>(value);
}

TensorView MMInputs::getPositions() {
    return TensorView::contiguous(positions.data(), dtype, {getNumPassed(), 3});
}

TensorView MMInputs::getCharges() {
    return TensorView::contiguous(charges.data(), dtype, {getNumPassed()});
}

int MMInputs::findNonFinitePosition() const {
    for (int i = 0; i < 3 * count; i++) {
        const double value = dtype == DType::Float64 ? reinterpret_cast<const double*>(positions.data())[i]
                                                     : reinterpret_cast<const float*>(positions.data())[i];
        if (!std::isfinite(value))
            return i / 3;
    }
    return -1;
}

} // namespace openmmnnp
