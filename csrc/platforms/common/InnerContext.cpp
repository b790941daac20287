#include "platforms/common/InnerContext.h"
#include "openmmnnp/ModelSpec.h"
#include "platforms/IsInnerContext.h"
#include <cstdio>
#include <set>

namespace openmmnnp {

namespace {

/** Not the one that OpenMM starts with. */
bool hasBox(OpenMM::ContextImpl& context) {
    OpenMM::Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
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

void TornMolecules::check(OpenMM::ContextImpl& context, const std::vector<int>& particles, bool asOpenMM) {
    if (numMolecules < 0)
        numMolecules = isInnerContext(context) ? countMolecules(context, particles) : 0;
    if (numMolecules < 2 || warned || !hasBox(context))
        return;
    const std::string text =
        "The force covers " + std::to_string(numMolecules) +
        " molecules, does not use periodic boundary conditions, and is inside a CustomCVForce or ATMForce of a System "
        "with a periodic box. On this platform positions reach it after each molecule was moved into the box on its "
        "own, so distances between molecules would be wrong.";
    if (!asOpenMM)
        throw ModelError(text +
                         " Join the particles of one molecule with addBond(), use "
                         "setUsesPeriodicBoundaryConditions(True) with a model that takes the box, add the force "
                         "to the System itself, or choose the CPU platform.");
    std::fprintf(stderr, "openmm-nnp: %s Make sure that the model looks at one molecule only.\n", text.c_str());
    warned = true;
}

} // namespace openmmnnp
