#include "neighbors/CheckBox.h"
#include "model/Printable.h"
#include <algorithm>
#include <cmath>

namespace openmmnnp {

void findHeights(const double box[9], double heights[3]) {
    const double volume = box[0] * box[4] * box[8]; // OpenMM's boxes are lower triangles
    for (int axis = 0; axis < 3; axis++) {
        const double *u = box + 3 * ((axis + 1) % 3), *v = box + 3 * ((axis + 2) % 3);
        const double x = u[1] * v[2] - u[2] * v[1], y = u[2] * v[0] - u[0] * v[2], z = u[0] * v[1] - u[1] * v[0];
        heights[axis] = std::abs(volume) / std::sqrt(x * x + y * y + z * z);
    }
}

void checkBox(const NeighborOptions& options, const double box[9], const std::string& unit) {
    if (!options.periodic || options.images)
        return;
    double heights[3];
    findHeights(box, heights);
    const double least = *std::min_element(heights, heights + 3);
    if (least < 2 * options.cutoff)
        throw ModelError("The periodic box is " + printNumber(least) + " " + unit +
                         " between two of its faces, less than twice the model's cutoff of " +
                         printNumber(options.cutoff) + " " + unit +
                         ", and the model's spec says \"small_box\": \"refuse\"; use a larger box, or a model that "
                         "takes several images of a particle.");
}

} // namespace openmmnnp
