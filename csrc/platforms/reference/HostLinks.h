#ifndef OPENMMNNP_HOST_LINKS_H_
#define OPENMMNNP_HOST_LINKS_H_

#include "openmmnnp/NNPForce.h"
#include <cmath>
#include <openmm/Vec3.h>
#include <vector>

namespace openmmnnp {

/**
 * The link atoms of a force on the host.  With b = r_mm - r_ml, u = b/|b| and the distance d,
 *
 *     r = r_ml + d u,    F_mm = d/|b| (F - (F.u) u),    F_ml = F - F_mm,
 *
 * F being the force on the link atom: F_mm and F_ml are F times the derivatives of r by r_mm and r_ml.
 */
class HostLinks {
public:
    HostLinks(const std::vector<LinkAtom>& atoms, bool periodic)
        : atoms(atoms), bonds(atoms.size()), isPeriodic(periodic) {}

    /** For the gather stage: take the bonds from OpenMM's positions and box (nm), and write [L][3] in the model's unit.
     */
    template <class Real>
    void place(const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3* box, double perNm, Real* target) {
        for (size_t i = 0; i < atoms.size(); i++) {
            const OpenMM::Vec3& ml = positions[atoms[i].mlParticle];
            OpenMM::Vec3 bond = positions[atoms[i].mmParticle] - ml;
            for (int axis = 2; isPeriodic && axis >= 0; axis--)
                bond -= box[axis] * std::floor(bond[axis] / box[axis][axis] + 0.5);
            const double length = std::sqrt(bond.dot(bond));
            bonds[i] = {bond / length, atoms[i].distance / length};
            const OpenMM::Vec3 position = ml + bonds[i].direction * atoms[i].distance;
            for (int axis = 0; axis < 3; axis++)
                target[3 * i + axis] = static_cast<Real>(position[axis] * perNm);
        }
    }

    /** For the scatter stage: add the forces on them [L][3], times the factor, to those on the particles. */
    void spread(const double* source, double factor, std::vector<OpenMM::Vec3>& forces) const {
        for (size_t i = 0; i < atoms.size(); i++) {
            const OpenMM::Vec3 force = OpenMM::Vec3(source[3 * i], source[3 * i + 1], source[3 * i + 2]) * factor;
            const OpenMM::Vec3& u = bonds[i].direction;
            const OpenMM::Vec3 onMM = (force - u * force.dot(u)) * bonds[i].ratio;
            forces[atoms[i].mmParticle] += onMM;
            forces[atoms[i].mlParticle] += force - onMM;
        }
    }

private:
    struct Bond {
        OpenMM::Vec3 direction; // u
        double ratio = 0;       // d/|b|
    };
    std::vector<LinkAtom> atoms;
    std::vector<Bond> bonds; // of the last evaluation
    bool isPeriodic;
};

} // namespace openmmnnp

#endif // OPENMMNNP_HOST_LINKS_H_
