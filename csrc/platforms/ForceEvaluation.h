#ifndef OPENMMNNP_FORCE_EVALUATION_H_
#define OPENMMNNP_FORCE_EVALUATION_H_

#include "model/DeviceEvaluate.h"
#include "model/ModelCache.h"
#include "openmmnnp/NNPForce.h"
#include "platforms/SharedNeighbors.h"
#include <memory>
#include <openmm/internal/ContextImpl.h>
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * What the kernels of all platforms share: a force's loaded model with its evaluation, the factors between OpenMM's
 * units and the model's, and the answers to getOutput() and getDiagnostics().
 */
class OPENMMNNP_EXPORT ForceEvaluation {
public:
    /**
     * Load the model.  `contractDtype` is what a model without a spec gets for positions; `computeCapability` is as in
     * LoadOptions.  Without `listOnHost` the caller gives the edges.  Forces of one Context may share neighbor lists.
     * Throws ModelError.
     */
    ForceEvaluation(const NNPForce& force, const OpenMM::ContextImpl& context, const std::string& device,
                    const std::string& contractDtype, bool listOnHost, int computeCapability = 0);
    /** Take model, atomic numbers, types, charge and multiplicity from a force that is otherwise the same. */
    void update(const NNPForce& force);
    void skip();
    /** The neighbors stage, where the list is on the host. */
    void findNeighbors() {
        evaluation->findNeighbors();
    }
    /** The pairs that the model takes as edges. */
    NeighborOptions getNeighborOptions() const;
    /** The positions that these are among. */
    NeighborPositions getNeighborPositions() const;
    /** Evaluate, unless the last evaluation answers the call. */
    void run(bool withForces);

    Evaluation& getEvaluation() {
        return *evaluation;
    }
    /** The same where the model runs on a CUDA device; its bind() is left to the caller, also after update(). */
    DeviceEvaluation& getDeviceEvaluation() {
        return static_cast<DeviceEvaluation&>(*evaluation);
    }
    /** Of the force, without link atoms. */
    int getNumParticles() const {
        return numParticles;
    }
    const std::vector<LinkAtom>& getLinkAtoms() const {
        return force.getLinkAtoms();
    }
    /** All that the model sees: the particles of the force, then the link atoms. */
    int getNumAtoms() const {
        return numParticles + force.getNumLinkAtoms();
    }
    /** Indices of the particles in the System, null if these are all. */
    const int* getParticles() const {
        return force.usesSubset() ? force.getParticles().data() : nullptr;
    }
    /** Names of the global parameters that the model receives, in its order. */
    const std::vector<std::string>& getParameterNames() const {
        return parameterNames;
    }
    /** Names of the parameters p of these for which dE/dp was asked for. */
    const std::vector<std::string>& getDerivativeNames() const {
        return derivativeNames;
    }
    /** The scale parameter's name if dE/d(scale) was asked for, else "". */
    const std::string& getScaleDerivativeName() const {
        return scaleDerivativeName;
    }
    double getLengthsPerNm() const {
        return lengthsPerNm;
    }
    double getEnergyUnit() const {
        return energyUnit; // kJ/mol
    }
    double getForceUnit() const {
        return energyUnit * lengthsPerNm; // kJ/mol/nm
    }
    /** The energy of the last evaluation with its constant part, kJ/mol. */
    double getEnergy() const {
        return evaluation->getEnergy() * energyUnit + constantEnergy;
    }
    NamedOutput getOutput(const std::string& name) const;
    /** All but the platform's name and the times. */
    Diagnostics getDiagnostics() const;

private:
    std::shared_ptr<Model> load(const NNPForce& force) const;
    std::unique_ptr<Evaluation> makeEvaluation(const NNPForce& force, std::shared_ptr<Model> model) const;
    NeighborPositions getNeighborPositions(const ModelSpec& spec) const;
    void adopt(const NNPForce& newForce, std::unique_ptr<Evaluation> newEvaluation);

    NNPForce force; // as it was when the Context was created or last updated
    const OpenMM::ContextImpl& context;
    std::string device, contractDtype;
    const bool listOnHost;
    int computeCapability, numParticles;
    std::unique_ptr<Evaluation> evaluation;
    std::vector<std::string> parameterNames, derivativeNames;
    std::string scaleDerivativeName;
    double lengthsPerNm = 1, energyUnit = 1, constantEnergy = 0;
    bool skipped = false;
    long long numSkipped = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_FORCE_EVALUATION_H_
