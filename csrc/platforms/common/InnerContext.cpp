#include "platforms/common/InnerContext.h"
#include "openmmnnp/ModelSpec.h"
#include <cstddef>
#include <openmm/System.h>
#include <openmm/VerletIntegrator.h>
#include <set>

namespace openmmnnp {

namespace {

bool isInner(OpenMM::ContextImpl& context) {
    const auto* integrator = dynamic_cast<const OpenMM::VerletIntegrator*>(&context.getIntegrator());
    if (integrator == nullptr || integrator->getStepSize() != 1.0)
        return false;
    const auto distance =
        reinterpret_cast<const char*>(integrator) - reinterpret_cast<const char*>(&context.getSystem());
    constexpr auto system = static_cast<std::ptrdiff_t>(sizeof(OpenMM::System));
    constexpr auto verlet = static_cast<std::ptrdiff_t>(sizeof(OpenMM::VerletIntegrator));
    return distance == system || distance == 2 * system || distance == system + verlet;
}

int countMolecules(OpenMM::ContextImpl& context, const std::vector<int>& particles) {
    const std::set<int> ours(particles.begin(), particles.end());
    int count = 0;
    for (const std::vector<int>& molecule : context.getMolecules()) {
        bool touched = false;
        for (const int particle : molecule)
            touched = touched || ours.count(particle) > 0;
        count += touched;
    }
    return count;
}

} // namespace

void refuseTornMolecules(OpenMM::ContextImpl& context, const std::vector<int>& particles) {
    if (!isInner(context))
        return;
    const int count = countMolecules(context, particles);
    if (count > 1)
        throw ModelError(
            "The force covers " + std::to_string(count) +
            " molecules, does not use periodic boundary conditions, and is inside a CustomCVForce or ATMForce. On this "
            "platform positions reach it after each molecule was moved into the periodic box on its own, so distances "
            "between molecules could be wrong. Join the particles of each molecule with addBond() (in vacuum, where "
            "nothing is moved, join the molecules too), use setUsesPeriodicBoundaryConditions(True) with a model that "
            "takes the box, add the force to the System itself, or choose the CPU platform.");
}

} // namespace openmmnnp
