#ifndef OPENMMNNP_INNER_CONTEXT_H_
#define OPENMMNNP_INNER_CONTEXT_H_

#include <openmm/internal/ContextImpl.h>
#include <vector>

namespace openmmnnp {

/**
 * What may be wrong inside a CustomCVForce or ATMForce of a periodic System: a force over several molecules, without
 * periodic boundary conditions.  These copy positions to a Context of their own after OpenMM put each molecule into the
 * periodic box, and not by how many box vectors it was moved, so molecules are not where they belong.
 *
 * OpenMM does not say whether a Context is such an inner one (IsInnerContext.h), nor whether the outer System is
 * periodic: one that still has the cube of 2 nm that OpenMM starts with is taken for one in vacuum.
 */
class TornMolecules {
public:
    /**
     * Throws ModelError if molecules may be torn apart.
     *
     * @param particles   of the force
     * @param asOpenMM    the force promises no more than OpenMM's own forces do there: print a warning once instead
     */
    void check(OpenMM::ContextImpl& context, const std::vector<int>& particles, bool asOpenMM);

private:
    int numMolecules = -1; // that the force covers, if the Context is an inner one; 0 if it is not
    bool warned = false;
};

} // namespace openmmnnp

#endif // OPENMMNNP_INNER_CONTEXT_H_
