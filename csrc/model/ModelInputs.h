#ifndef OPENMMNNP_MODEL_INPUTS_H_
#define OPENMMNNP_MODEL_INPUTS_H_

#include "model/EdgeInputs.h"
#include "model/MMInputs.h"
#include "model/Model.h"
#include <array>
#include <optional>
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * The input buffers of one force in one Context: allocated once, contiguous, in the model's dtype.
 * What changes from evaluation to evaluation (positions, box, parameters) lies in one block, so that equality with the
 * last evaluation is one comparison of bytes.
 */
class OPENMMNNP_EXPORT ModelInputs {
public:
    /** Throws ModelError if the spec asks for an input that this version cannot give. */
    ModelInputs(const ModelSpec& spec, int numParticles);

    int getNumParticles() const {
        return numParticles;
    }
    DType getDType() const {
        return dtype;
    }
    /** [n][3] of the model's dtype, in its length unit; for the gather stage to fill. */
    template <class T>
    T* getPositions() {
        return reinterpret_cast<T*>(block.data());
    }
    void setPositions(const double* values); // [n][3]
    bool hasBox() const {
        return boxOffset >= 0;
    }
    /** Rows of the box, in the model's length unit. */
    void setBox(const double box[9]);
    const std::array<double, 9>& getBox() const {
        return boxRows;
    }
    /** Without periodic boundary conditions a model that takes edges is given a box of four cutoffs (default: with). */
    void setPeriodic(bool isPeriodic) {
        periodic = isPeriodic;
    }
    bool takesEdges() const {
        return edges.has_value();
    }
    /** Take the edges of a list of these positions. */
    void setEdges(const HostNeighbors& list);
    /** Take edges in the model's own dtypes: centers and neighbors [count], shifts [count][3]. */
    void setEdges(int64_t count, const void* centers, const void* neighbors, const void* shifts);
    /** There are so many edges, in memory of the device. */
    void setNumEdges(int64_t count) {
        edges->setNumEdges(count);
    }
    /** Without padding; 0 if the model takes none. */
    int64_t getNumEdges() const {
        return edges ? edges->getNumEdges() : 0;
    }
    /** The charges outside of the force's particles; null if the model takes none. */
    MMInputs* getMM() {
        return mm ? &*mm : nullptr;
    }
    const MMInputs* getMM() const {
        return mm ? &*mm : nullptr;
    }
    /** Take charges, as MMInputs::choose() says. */
    template <class Real>
    void chooseMM(int count, const int* chosen, const Real* mmPositions) {
        const double origin[3] = {getPosition(0, 0), getPosition(0, 1), getPosition(0, 2)};
        mm->choose(count, chosen, mmPositions, origin);
        viewMM();
    }
    /** Value of the index-th parameter input. */
    void setParameter(int index, double value);
    /** A fixed input: atomic_numbers, types [n]; charge, multiplicity [].  Ignored if the model does not take it. */
    void setIntegers(const std::string& input, const std::vector<int>& values);
    /** Any input by name, in the model's units, from a reference. */
    void set(const std::string& input, const SpecArray& array);

    /** In the order of the spec. */
    const std::vector<TensorView>& getViews() const {
        return views;
    }
    /** Is an input in the block of what changes from evaluation to evaluation (positions, box, parameters)? */
    bool isInBlock(size_t input) const {
        return integerBuffers[input].empty() && !isOfEdges(input) && !isOfMM(input);
    }
    /** A coordinate in the model's length unit. */
    double getPosition(int particle, int axis) const;
    /** Index of the first particle with a coordinate that is not finite, -1 if there is none. */
    int findNonFinitePosition() const;
    bool equalLast() const {
        return block == last && (!mm || mm->equalLast());
    }
    void remember() {
        last = block;
        if (mm)
            mm->remember();
    }
    /** The bytes that equalLast() compares, to be kept elsewhere and compared with. */
    void copyTo(std::vector<char>& bytes) const {
        bytes = block;
    }
    bool equal(const std::vector<char>& bytes) const {
        return block == bytes;
    }
    void forget() {
        last.clear();
    }

private:
    void setReal(size_t element, double value);
    double getReal(size_t element) const;
    bool isOfEdges(size_t input) const {
        return names[input] == "edges" || names[input] == "shifts";
    }
    bool isOfMM(size_t input) const {
        return names[input] == "mm_positions" || names[input] == "mm_charges";
    }
    void viewEdges();
    void viewMM();

    int numParticles;
    DType dtype;
    size_t itemSize;
    std::vector<std::string> names;
    std::vector<char> block, last;
    int boxOffset = -1, parameterOffset = 0; // in elements
    std::array<double, 9> boxRows{};
    bool periodic = true;
    std::optional<EdgeInputs> edges;
    std::optional<MMInputs> mm;
    double cutoff = 0;
    std::vector<std::vector<int64_t>> integerBuffers; // one per input; empty for others than integers
    std::vector<TensorView> views;
};

} // namespace openmmnnp

#endif // OPENMMNNP_MODEL_INPUTS_H_
