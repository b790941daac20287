#ifndef OPENMMNNP_REFERENCE_SCATTER_H_
#define OPENMMNNP_REFERENCE_SCATTER_H_

#include <openmm/Vec3.h>
#include <vector>

namespace openmmnnp {

/**
 * The scatter stage on the host: adds the model's forces to OpenMM's.
 *
 * @param source       [n][3], in the model's unit
 * @param particles    indices into forces; null for all
 * @param n            number of particles of the force
 * @param factor       kJ/mol/nm in one model force unit, times the scale parameter
 * @param forces       of all particles, kJ/mol/nm
 */
inline void scatter(const double* source, const int* particles, int n, double factor,
                    std::vector<OpenMM::Vec3>& forces) {
    for (int i = 0; i < n; i++) {
        OpenMM::Vec3& force = forces[particles ? particles[i] : i];
        for (int axis = 0; axis < 3; axis++)
            force[axis] += factor * source[3 * i + axis];
    }
}

} // namespace openmmnnp

#endif // OPENMMNNP_REFERENCE_SCATTER_H_
