#ifndef OPENMMNNP_NNP_FORCE_H_
#define OPENMMNNP_NNP_FORCE_H_

#include "openmmnnp/ModelSpec.h"
#include <cstdint>
#include <memory>
#include <openmm/Context.h>
#include <openmm/Force.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace openmmnnp {

class ModelFile;
class NNPForceImpl;

/** State of one NNPForce in one Context, for a person who wonders what is running and where the time goes. */
struct Diagnostics {
    std::string platform, device, dtype, lengthUnit, energyUnit;
    std::string modelName, modelPath, modelHash, modelFormat, license, torchVersion;
    double energyOffset = 0;  // kJ/mol, of all particles of the force
    int particles = 0;        // of the System
    int linkAtoms = 0;        // that the model sees after them
    int64_t edges = 0;        // of the last evaluation, without padding
    int mmCharges = 0;        // likewise, that the model was given
    long long listBuilds = 0; // how often candidates for edges were found, since the Context was made
    int threads = 0;          // of torch, process-wide
    bool cudaGraph = false;
    std::string cudaGraphReason;
    long long evaluations = 0, reused = 0, skipped = 0;
    std::vector<std::pair<std::string, double>> milliseconds; // by stage, mean over the evaluations
};

/** A named result of the last evaluation: row-major values and their shape, in the unit that the spec gives ("" if
 * none). */
struct NamedOutput {
    std::vector<double> values;
    std::vector<int64_t> shape;
    std::string unit;
};

/**
 * An atom that the model sees in place of a bond between one of its particles and one outside.  It is no particle of
 * the System: it sits on the line from mlParticle to mmParticle, `distance` nm from mlParticle, and the force on it
 * goes to these two.
 */
struct LinkAtom {
    int mlParticle = 0, mmParticle = 0;
    double distance = 0; // nm
    int atomicNumber = 1;

    bool operator==(const LinkAtom& other) const {
        return mlParticle == other.mlParticle && mmParticle == other.mmParticle && distance == other.distance &&
               atomicNumber == other.atomicNumber;
    }
};

/**
 * A force whose energy is computed by a neural network potential.
 *
 * The model is a TorchScript file (.pt) or an AOTInductor package (.pt2).  Its ModelSpec says what it takes, what it
 * gives and in which units; a .pt without a spec follows openmm-torch's contract: positions in nm [n][3] (, box [3][3])
 * (, global parameters as scalars, in the order added) -> energy in kJ/mol (, forces in kJ/mol/nm).
 *
 * The model's file is read and checked when it is given, and the bytes are kept: a file that is overwritten later
 * changes nothing.  Its code is loaded when a Context is created.
 */
class OPENMMNNP_EXPORT NNPForce : public OpenMM::Force {
public:
    /** An NNPForce without a model; give it one before a Context is created. */
    NNPForce();
    /** Read the model from a file.  Throws OpenMMException if it is missing or damaged. */
    explicit NNPForce(const std::string& path);

    /** Read the model from a file, now. */
    void setModelFile(const std::string& path);
    /** Take the bytes of a model file.  `path` is kept for messages and may be empty. */
    void setModelBytes(std::string bytes, const std::string& path = "");
    bool hasModel() const;
    const std::string& getModelBytes() const;
    const std::string& getModelPath() const;
    /** SHA-256 of the model's bytes, in hexadecimal. */
    const std::string& getModelHash() const;
    /** Does the model's file carry a ModelSpec? */
    bool hasModelSpec() const;
    /** The spec; throws OpenMMException if the file carries none. */
    const ModelSpec& getModelSpec() const;
    /** The JSON text of the spec, "" if the file carries none. */
    const std::string& getModelSpecText() const;
    /** Write path and hash into XML instead of the bytes (default false). */
    void setModelByReference(bool byReference);
    bool getModelByReference() const;

    /** Particles that the model sees, in its order.  Never set: all particles of the System. */
    void setParticles(const std::vector<int>& particles);
    const std::vector<int>& getParticles() const;
    /** Was setParticles() called?  (An empty set of particles is an error when a Context is created.) */
    bool usesSubset() const;
    /** Atomic numbers, one per particle of the force. */
    void setAtomicNumbers(const std::vector<int>& atomicNumbers);
    const std::vector<int>& getAtomicNumbers() const;
    /** Model-specific types, one per particle of the force; then, if the spec's type_map does not say them, one per
        link atom. */
    void setTypes(const std::vector<int>& types);
    const std::vector<int>& getTypes() const;
    /** Total charge in units of the elementary charge (default 0). */
    void setCharge(int charge);
    int getCharge() const;
    /** Spin multiplicity 2S+1 (default 1). */
    void setMultiplicity(int multiplicity);
    int getMultiplicity() const;

    /** Say that two particles are bonded, so that they stay one molecule for barostats and wrapped trajectories.
        The bond has no energy.  Returns its index. */
    int addBond(int particle1, int particle2);
    int getNumBonds() const;
    void getBondParameters(int index, int& particle1, int& particle2) const;

    /**
     * Add a link atom, and return its index.  The model sees link atoms after the particles of the force, in the order
     * added.  mlParticle is one of setParticles(), mmParticle is none and has one link atom only; the two stay in one
     * molecule, as with addBond().  With b the vector from mlParticle to mmParticle (to its nearest image if the force
     * is periodic) and u = b/|b|, the link atom is at r = r_ml + distance u, and a force F on it becomes
     * distance/|b| (F - (F.u)u) on mmParticle and the rest of F on mlParticle, which is exact.
     *
     * Throws OpenMMException unless the distance in nm is positive and finite.
     */
    int addLinkAtom(int mlParticle, int mmParticle, double distance, int atomicNumber = 1);
    int getNumLinkAtoms() const;
    void getLinkAtomParameters(int index, int& mlParticle, int& mmParticle, double& distance, int& atomicNumber) const;
    void setLinkAtomParameters(int index, int mlParticle, int mmParticle, double distance, int atomicNumber);
    const std::vector<LinkAtom>& getLinkAtoms() const;

    /**
     * Electrostatic embedding: charges in e of particles outside of the force, for a model that takes `mm_positions`
     * and `mm_charges`.  Those within the model's `mm_cutoff` of a particle of the force are given to it, in ascending
     * order of particles, and feel its forces.  Nothing is removed from other forces of the System.
     */
    void setMMCharges(const std::vector<int>& particles, const std::vector<double>& charges);
    /** Was setMMCharges() called?  (With no particles it says that there are none.) */
    bool usesMMCharges() const;
    const std::vector<int>& getMMParticles() const;
    const std::vector<double>& getMMCharges() const; // of these particles
    /**
     * Say whether the MM charges have periodic images; each is then given as the image nearest to the force's
     * particles.  Not said: they have, if a force of the System is periodic.  It must be said inside a CustomCVForce
     * or ATMForce, where the other forces are not seen.
     */
    void setMMPeriodic(std::optional<bool> periodic);
    const std::optional<bool>& getMMPeriodic() const;

    void setUsesPeriodicBoundaryConditions(bool periodic);
    bool usesPeriodicBoundaryConditions() const override;

    int addGlobalParameter(const std::string& name, double defaultValue);
    int getNumGlobalParameters() const;
    const std::string& getGlobalParameterName(int index) const;
    void setGlobalParameterName(int index, const std::string& name);
    double getGlobalParameterDefaultValue(int index) const;
    void setGlobalParameterDefaultValue(int index, double defaultValue);
    /** Ask for dE/d(name), `name` being a global parameter of this force or its scale parameter. */
    void addEnergyParameterDerivative(const std::string& name);
    int getNumEnergyParameterDerivatives() const;
    const std::string& getEnergyParameterDerivativeName(int index) const;

    /** A global parameter that multiplies energy and forces; the model does not receive it.  At 0 the model is not
        evaluated, unless the derivative with respect to it was asked for.  "" for none.  Without a default value
        another force of the System defines the parameter. */
    void setScaleParameter(const std::string& name, std::optional<double> defaultValue = 1);
    const std::string& getScaleParameter() const;
    std::optional<double> getScaleParameterDefaultValue() const;

    /** Let the energy be a component of a named output, as the spec's unit has it and without conversion: a collective
        variable, for CustomCVForce.  Components count row-major.  Forces of one Context whose
        model is given the same cost one evaluation for all components (on CUDA one each).  "" for none.
        Throws OpenMMException if the component is negative. */
    void setCollectiveVariable(const std::string& output, int component = 0);
    const std::string& getCollectiveVariable() const;
    int getCollectiveVariableComponent() const;

    /** For models without a spec: the model returns (energy, forces) instead of energy. */
    void setOutputsForces(bool outputsForces);
    bool getOutputsForces() const;
    /** Evaluate the spec's references when a Context is created and refuse a model that disagrees (default true). */
    void setCheckReferences(bool check);
    bool getCheckReferences() const;
    /** Replay the model as a CUDA graph where the platform is CUDA and the model allows it. */
    void setCudaGraphs(bool enabled);
    bool getCudaGraphs() const;
    /** Evaluations before a graph is captured. */
    void setCudaGraphWarmupSteps(int steps);
    int getCudaGraphWarmupSteps() const;
    /** Distance in nm beyond the model's cutoff up to which pairs are kept as candidates for edges, and beyond its
        mm_cutoff up to which charges are (default 0.1 nm).  They are found again when a particle has moved by half of
       it.  It changes the speed and no result; more than the cutoff counts as the cutoff. */
    void setSkin(double skin);
    double getSkin() const;
    /** On OpenCL, where the model runs on the host: find edges with kernels on the device all the same (default
        false).  CUDA always does, the Reference and CPU platforms never. */
    void setDeviceNeighbors(bool onDevice);
    bool getDeviceNeighbors() const;

    /** A named output of the last evaluation.  Throws if there was none, if it was skipped, or if the model has no such
     * output. */
    NamedOutput getOutput(OpenMM::Context& context, const std::string& name) const;
    Diagnostics getDiagnostics(OpenMM::Context& context) const;
    /** Copy model, atomic numbers, types, charge, multiplicity and MM charges to a Context.  The new model must take
     * and give the same. */
    void updateParametersInContext(OpenMM::Context& context) const;

    const std::shared_ptr<const ModelFile>& getModel() const;

protected:
    OpenMM::ForceImpl* createImpl() const override;

private:
    struct GlobalParameter {
        std::string name;
        double defaultValue;
    };
    NNPForceImpl& findImpl(OpenMM::Context& context, bool sameModel) const;

    std::shared_ptr<const ModelFile> model;
    bool modelByReference = false, subset = false, periodic = false, outputsForces = false, checkReferences = true;
    bool cudaGraphs = true, deviceNeighbors = false;
    double skin = 0.1;
    int cudaGraphWarmupSteps = 10, charge = 0, multiplicity = 1;
    std::vector<int> particles, atomicNumbers, types, mmParticles;
    std::vector<double> mmCharges;
    bool mmChargesWereSet = false;
    std::optional<bool> mmPeriodic;
    std::vector<std::pair<int, int>> bonds;
    std::vector<LinkAtom> linkAtoms;
    std::vector<GlobalParameter> globalParameters;
    std::vector<std::string> energyParameterDerivatives;
    std::string scaleParameter;
    std::optional<double> scaleParameterDefault = 1;
    std::string collectiveVariable;
    int collectiveVariableComponent = 0;
};

} // namespace openmmnnp

#endif // OPENMMNNP_NNP_FORCE_H_
