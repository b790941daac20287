#ifndef OPENMMNNP_EDGE_INPUTS_H_
#define OPENMMNNP_EDGE_INPUTS_H_

#include "model/Model.h"
#include "neighbors/HostNeighbors.h"
#include <vector>

namespace openmmnnp {

/**
 * The model's inputs `edges` [2][e] (centers, neighbors) and `shifts` [e][3], in the dtypes that its spec names.
 *
 * A model of any number of edges gets those that there are, but at least two, since compilers take sizes 0 and 1 for
 * constants.  A model of a fixed number gets so many.  What is added is padding: an edge from particle 0 to itself with
 * a shift of twice the cutoff or more, so that it is beyond the cutoff wherever the particle is.
 */
class OPENMMNNP_EXPORT EdgeInputs {
public:
    /** Throws ModelError if the spec asks for padding and takes no shifts. */
    explicit EdgeInputs(const ModelSpec& spec);
    /** Take the edges of a list, and the box with which it was updated.  Throws ModelError if there are too many. */
    void set(const HostNeighbors& list, const double box[9]);
    /** Take edges in the model's own dtypes: centers and neighbors [count], shifts [count][3]. */
    void set(int64_t count, const void* centers, const void* neighbors, const void* shifts, const double box[9]);
    /** There are so many edges, which are in memory of somebody else's; throws ModelError if they are too many. */
    void setNumEdges(int64_t count);
    /** Take `edges` or `shifts` from a reference. */
    void set(const std::string& input, const SpecArray& array);

    TensorView getEdges();
    TensorView getShifts();
    /** Without padding. */
    int64_t getNumEdges() const {
        return numEdges;
    }

private:
    void resize(int64_t count, int64_t most);
    void pad(const double box[9]);
    template <class Index>
    void fill(const HostNeighbors& list);
    template <class Index, class Shift>
    void fillWithShifts(const HostNeighbors& list);

    const double cutoff;
    const std::string lengthUnit;
    const int64_t capacity; // 0: any
    const bool takesShifts, cartesian;
    const DType indexDtype, shiftDtype;
    const size_t indexSize, shiftSize;
    int64_t numEdges = 0, numPassed = 0;
    std::vector<char> edges, shifts;
};

} // namespace openmmnnp

#endif // OPENMMNNP_EDGE_INPUTS_H_
