#ifndef OPENMMNNP_NNP_KERNEL_H_
#define OPENMMNNP_NNP_KERNEL_H_

#include "openmmnnp/NNPForce.h"
#include <openmm/KernelImpl.h>
#include <openmm/System.h>
#include <openmm/internal/ContextImpl.h>
#include <string>

namespace openmmnnp {

/** What a platform implements for NNPForce. */
class OPENMMNNP_EXPORT CalcNNPForceKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() {
        return "CalcNNPForce";
    }
    CalcNNPForceKernel(const std::string& name, const OpenMM::Platform& platform) : KernelImpl(name, platform) {}
    /** Load the model and set up buffers.  Throws ModelError. */
    virtual void initialize(const OpenMM::System& system, const NNPForce& force) = 0;
    /**
     * Add scale times the model's forces to the Context's and return scale times its energy in kJ/mol (0 if not asked
     * for).  Throws ModelError.
     */
    virtual double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy, double scale) = 0;
    /** Called instead of execute() while the scale is 0. */
    virtual void skip() = 0;
    virtual NamedOutput getOutput(const std::string& name) = 0;
    virtual Diagnostics getDiagnostics() = 0;
    /** Take model, atomic numbers, types, charge and multiplicity from the force.  Throws ModelError. */
    virtual void update(const NNPForce& force) = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_NNP_KERNEL_H_
