#ifndef OPENMMNNP_REFERENCE_GATHER_H_
#define OPENMMNNP_REFERENCE_GATHER_H_

#include <openmm/Vec3.h>
#include <vector>

namespace openmmnnp {

/**
 * The gather stage on the host: positions of the force's particles, in the model's order, length unit and dtype.
 * Host platforms keep positions unwrapped, so nothing is to be unwrapped here.
 *
 * @param positions    of all particles, nm
 * @param particles    indices into positions; null for all
 * @param n            number of particles of the force
 * @param perNm        model length units in one nm
 * @param target       [n][3]
 */
template <class Real>
void gather(const std::vector<OpenMM::Vec3>& positions, const int* particles, int n, double perNm, Real* target) {
    for (int i = 0; i < n; i++) {
        const OpenMM::Vec3& position = positions[particles ? particles[i] : i];
        for (int axis = 0; axis < 3; axis++)
            target[3 * i + axis] = static_cast<Real>(position[axis] * perNm);
    }
}

} // namespace openmmnnp

#endif // OPENMMNNP_REFERENCE_GATHER_H_
