#ifndef OPENMMNNP_MM_INPUTS_H_
#define OPENMMNNP_MM_INPUTS_H_

#include "model/Model.h"
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * The model's inputs `mm_positions` [m][3] and `mm_charges` [m]: charges outside of the force's particles, in the
 * model's dtype.
 *
 * A model gets those that there are, but at least two, since compilers take sizes 0 and 1 for constants.  What is added
 * is padding: a charge of zero, some 100 nm away from the first particle.
 */
class OPENMMNNP_EXPORT MMInputs {
public:
    static constexpr int leastCharges = 2;

    explicit MMInputs(const ModelSpec& spec);
    /** All charges of the force: the particles that have them, for messages, and their values in e. */
    void setCharges(const std::vector<int>& particles, const std::vector<double>& charges);
    /**
     * Take the charges of an evaluation.
     *
     * @param count       their number
     * @param chosen      [count] indices into what setCharges() was given
     * @param positions   [count][3], in the model's unit
     * @param origin      [3], the position of the first particle, from which padding is counted
     */
    template <class Real>
    void choose(int count, const int* chosen, const Real* positions, const double origin[3]);
    /** Take `mm_positions` or `mm_charges` from a reference. */
    void set(const std::string& input, const SpecArray& array);

    TensorView getPositions();
    TensorView getCharges();
    /** Without padding. */
    int getCount() const {
        return count;
    }
    /** With padding. */
    int getNumPassed() const {
        return static_cast<int>(charges.size() / itemSize);
    }
    /** There are so many, in memory of the device. */
    void setCount(int newCount) {
        count = newCount;
    }
    /** For how many there is memory. */
    size_t getRoom() const {
        return charges.capacity() / itemSize;
    }
    /** The particle of the System with the index-th of these charges. */
    int getParticle(int index) const {
        return particles[index];
    }
    const int* getParticles() const {
        return particles.data(); // [count]
    }
    /** Index of the first charge whose position is not finite, -1 if there is none. */
    int findNonFinitePosition() const;
    /** Where padding is from the first particle, in nm: no round number, so that it is no multiple of a box. */
    static const double padding[3];

    bool equalLast() const {
        return positions == lastPositions && charges == lastCharges;
    }
    void remember() {
        lastPositions = positions;
        lastCharges = charges;
    }

private:
    void resize(size_t passed);
    void write(std::vector<char>& buffer, size_t index, double value) const;

    const DType dtype;
    const size_t itemSize;
    const double perNm;
    std::vector<int> allParticles, particles;
    std::vector<double> allCharges;
    int count = 0;
    std::vector<char> positions, charges, lastPositions, lastCharges;
};

} // namespace openmmnnp

#endif // OPENMMNNP_MM_INPUTS_H_
