#ifndef OPENMMNNP_SCALE_PARAMETER_H_
#define OPENMMNNP_SCALE_PARAMETER_H_

#include "openmmnnp/NNPForce.h"
#include <cmath>
#include <openmm/OpenMMException.h>
#include <openmm/internal/ContextImpl.h>
#include <string>

namespace openmmnnp {

/** The global parameter by which energy and forces are multiplied, and whether the model is to be evaluated at all. */
class ScaleParameter {
public:
    explicit ScaleParameter(const NNPForce& force) : forceName(force.getName()), name(force.getScaleParameter()) {
        for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
            if (force.getEnergyParameterDerivativeName(i) == name)
                neededAtZero = true;
    }
    /** 1 if the force has none.  Throws OpenMMException if it is not finite, or if no force defines it. */
    double get(OpenMM::ContextImpl& context) const {
        if (name.empty())
            return 1;
        const auto found = context.getParameters().find(name);
        if (found == context.getParameters().end())
            throw OpenMM::OpenMMException(forceName + ": the scale parameter '" + name +
                                          "' has no default value, and no other force defines it: give it one with "
                                          "setScaleParameter('" +
                                          name + "', 1).");
        const double scale = found->second;
        if (!std::isfinite(scale))
            throw OpenMM::OpenMMException(forceName + ": the scale parameter '" + name + "' is " +
                                          std::to_string(scale) + ", but a finite number is needed.");
        return scale;
    }
    /** Whether the model need not be evaluated: the scale is 0, and the derivative by it was not declared. */
    bool skips(double scale) const {
        return scale == 0 && !neededAtZero;
    }

private:
    std::string forceName, name;
    bool neededAtZero = false;
};

} // namespace openmmnnp

#endif // OPENMMNNP_SCALE_PARAMETER_H_
