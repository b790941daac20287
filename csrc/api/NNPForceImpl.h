#ifndef OPENMMNNP_NNP_FORCE_IMPL_H_
#define OPENMMNNP_NNP_FORCE_IMPL_H_

#include "api/NNPKernel.h"
#include "api/ScaleParameter.h"
#include "openmmnnp/NNPForce.h"
#include <map>
#include <openmm/Kernel.h>
#include <openmm/internal/ForceImpl.h>
#include <string>
#include <utility>
#include <vector>

namespace openmmnnp {

/** An NNPForce in a Context: checks the force against the System and the model's spec, and owns the platform's kernel.
 */
class OPENMMNNP_EXPORT NNPForceImpl : public OpenMM::ForceImpl {
public:
    explicit NNPForceImpl(const NNPForce& owner);
    void initialize(OpenMM::ContextImpl& context) override;
    const NNPForce& getOwner() const override {
        return owner;
    }
    /** The force as it was when the Context was created or last updated. */
    const NNPForce& getCurrent() const {
        return current;
    }
    void updateContextState(OpenMM::ContextImpl&, bool&) override {}
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy,
                               int groups) override;
    std::map<std::string, double> getDefaultParameters() override;
    std::vector<std::string> getKernelNames() override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    NamedOutput getOutput(const std::string& name);
    Diagnostics getDiagnostics();
    void update(const NNPForce& force);

private:
    const NNPForce& owner;
    NNPForce current;
    OpenMM::Kernel kernel;
    ScaleParameter scaleParameter;
};

} // namespace openmmnnp

#endif // OPENMMNNP_NNP_FORCE_IMPL_H_
