#ifndef OPENMMNNP_COMPONENT_H_
#define OPENMMNNP_COMPONENT_H_

#include "model/Model.h"
#include <string>

namespace openmmnnp {

/**
 * One number of a named output, with -d(number)/dr as its forces: a collective variable.  Without a name: the energy.
 *
 * The forces of all components of an output NAME of shape [...] are the output `forces.NAME` of shape [...][n][3].
 */
struct Component {
    std::string output;
    int index = 0; // row-major

    bool isEnergy() const {
        return output.empty();
    }
    std::string getForcesOutput() const {
        return isEnergy() ? "forces" : "forces." + output;
    }
    /** "output 'cv', component 1", for messages. */
    std::string describe() const {
        return isEnergy() ? "energy" : "output '" + output + "', component " + std::to_string(index) + ",";
    }
    /** The part of an output (rank 0) or of its forces (rank 2) that belongs to it; of the energy, the whole.
        Throws ModelError if there is no such component. */
    OPENMMNNP_EXPORT TensorView of(const TensorView& output, int rank) const;
};

} // namespace openmmnnp

#endif // OPENMMNNP_COMPONENT_H_
