#ifndef OPENMMNNP_CHECK_BOX_H_
#define OPENMMNNP_CHECK_BOX_H_

#include "neighbors/NeighborOptions.h"
#include "openmmnnp/ModelSpec.h"
#include <string>

namespace openmmnnp {

/** Distances between opposite faces of a box, whose vectors are the rows. */
OPENMMNNP_EXPORT void findHeights(const double box[9], double heights[3]);

/** Throws ModelError if the box is too small for the cutoff and the model takes no images (`unit` is for the text). */
OPENMMNNP_EXPORT void checkBox(const NeighborOptions& options, const double box[9], const std::string& unit);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_BOX_H_
