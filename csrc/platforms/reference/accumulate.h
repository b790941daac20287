#ifndef OPENMMNNP_REFERENCE_ACCUMULATE_H_
#define OPENMMNNP_REFERENCE_ACCUMULATE_H_

#include "platforms/ForceEvaluation.h"
#include <map>
#include <string>

namespace openmmnnp {

/**
 * The accumulate stage on the host: adds dE/dparameter, times the scale, to OpenMM's and returns the scaled energy in
 * kJ/mol.
 *
 * @param derivatives   OpenMM's sums of dE/dparameter, by name
 */
inline double accumulate(ForceEvaluation& force, double scale, std::map<std::string, double>& derivatives) {
    const std::vector<std::string>& names = force.getDerivativeNames();
    for (size_t i = 0; i < names.size(); i++)
        derivatives[names[i]] +=
            scale * force.getEvaluation().getDerivative(static_cast<int>(i)) * force.getEnergyUnit();
    if (!force.getScaleDerivativeName().empty())
        derivatives[force.getScaleDerivativeName()] += force.getEnergy();
    return scale * force.getEnergy();
}

} // namespace openmmnnp

#endif // OPENMMNNP_REFERENCE_ACCUMULATE_H_
