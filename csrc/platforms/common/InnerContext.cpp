#include "platforms/common/InnerContext.h"
#include "openmmnnp/ModelSpec.h"
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
    return distance == sizeof(OpenMM::System) || distance == 2 * sizeof(OpenMM::System);
}

/** A System in vacuum keeps the box of 2 nm that OpenMM starts with. */
bool hasBox(const OpenMM::System& system) {
    OpenMM::Vec3 box[3];
    system.getDefaultPeriodicBoxVectors(box[0], box[1], box[2]);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            if (box[i][j] != (i == j ? 2.0 : 0.0))
                return true;
    return false;
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
    if (!isInner(context) || !hasBox(context.getSystem()))
        return;
    const int count = countMolecules(context, particles);
    if (count > 1)
        throw ModelError(
            "The force covers " + std::to_string(count) +
            " molecules, does not use periodic boundary conditions, and is "
            "inside a CustomCVForce or ATMForce of a System with a periodic box. On this platform positions reach it "
            "after each molecule was moved into the box on its own, so distances between molecules would be wrong. "
            "Join particles of one molecule with addBond(), use setUsesPeriodicBoundaryConditions(True) with a model "
            "that takes the box, add the force to the System itself, or choose the CPU platform.");
}

} // namespace openmmnnp
