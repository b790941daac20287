#ifndef OPENMMNNP_INNER_CONTEXT_H_
#define OPENMMNNP_INNER_CONTEXT_H_

#include <openmm/internal/ContextImpl.h>
#include <vector>

namespace openmmnnp {

/**
 * Refuse what may be wrong: a force over several molecules, without periodic boundary conditions, inside a
 * CustomCVForce or ATMForce.  These copy positions to a Context of their own after OpenMM put each molecule into the
 * periodic box, and not by how many box vectors it was moved, so molecules may not be where they belong.  The inner
 * Context cannot tell whether the outer one has a box.
 *
 * OpenMM does not say whether a Context is such an inner one.  It is recognized by what CustomCVForceImpl and
 * ATMForceImpl hold: their System(s) and then their VerletIntegrator(s) of 1 ps, side by side in memory.
 *
 * @param particles   of the force
 * @throws ModelError
 */
void refuseTornMolecules(OpenMM::ContextImpl& context, const std::vector<int>& particles);

} // namespace openmmnnp

#endif // OPENMMNNP_INNER_CONTEXT_H_
