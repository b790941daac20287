#include "platforms/IsInnerContext.h"
#include <cstddef>
#include <openmm/System.h>
#include <openmm/VerletIntegrator.h>

namespace openmmnnp {

bool isInnerContext(OpenMM::ContextImpl& context) {
    const auto* integrator = dynamic_cast<const OpenMM::VerletIntegrator*>(&context.getIntegrator());
    if (integrator == nullptr || integrator->getStepSize() != 1.0)
        return false;
    const auto distance =
        reinterpret_cast<const char*>(integrator) - reinterpret_cast<const char*>(&context.getSystem());
    constexpr auto system = static_cast<std::ptrdiff_t>(sizeof(OpenMM::System));
    constexpr auto verlet = static_cast<std::ptrdiff_t>(sizeof(OpenMM::VerletIntegrator));
    return distance == system || distance == 2 * system || distance == system + verlet;
}

} // namespace openmmnnp
