#ifndef OPENMMNNP_INNER_CONTEXT_H_
#define OPENMMNNP_INNER_CONTEXT_H_

#include <openmm/internal/ContextImpl.h>
#include <vector>

namespace openmmnnp {

/**
 * Refuse what cannot be right: a force over several molecules, without periodic boundary conditions, inside a
 * CustomCVForce or ATMForce of a periodic System.  These copy positions to a Context of their own after OpenMM put each
 * molecule into the box, and not by how many box vectors it was moved, so the molecules are not where they belong.
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
