#ifndef OPENMMNNP_MODEL_SPEC_H_
#define OPENMMNNP_MODEL_SPEC_H_

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#define OPENMMNNP_EXPORT __attribute__((visibility("default")))

namespace openmmnnp {

/** What is wrong with a model, its file or its results, in a sentence for the user. */
class OPENMMNNP_EXPORT ModelError : public std::runtime_error {
public:
    /** What is no UTF-8, and control characters, are replaced: a name in a damaged file must not end the sentence. */
    explicit ModelError(const std::string& message);
};

/** An array of numbers as it stands in the JSON of a spec: row-major, shape [] for a scalar. */
struct SpecArray {
    std::vector<int64_t> shape;
    std::vector<double> values;
};

/** Inputs and the results of the eager model in float64, in the model's units; the energy includes the constant part.
 */
struct SpecReference {
    std::map<std::string, SpecArray> inputs;
    double energy = 0;
    SpecArray forces;   // [n][3], empty if not given
    SpecArray mmForces; // [m][3], empty if not given
};

/**
 * What a model file says of its model: the contract between the network and the force.
 * It is stored as JSON in the archive's entry `extra/openmmnnp.json`; python/openmmnnp/spec.py mirrors it.
 */
class OPENMMNNP_EXPORT ModelSpec {
public:
    /** Read and check the JSON text.  Throws ModelError with the key that is wrong, what was given and what is needed.
     */
    static ModelSpec parse(const std::string& json);

    /** The energyUnit of a model that gives collective variables alone.  Its energy, the sum of the first output,
       serves to check the model. */
    static constexpr const char* noEnergy = "1";

    std::string name;
    std::string lengthUnit = "nm";
    std::string energyUnit = "kJ/mol";
    std::string dtype = "float32";    // of positions, box, parameters and forces: "float32" or "float64"
    std::string precision;            // of the arithmetic in the model; "": dtype
    std::vector<std::string> inputs;  // in the order in which they are passed
    std::vector<std::string> outputs; // likewise; without "energy", that is the sum of "atomic_energy"
    std::map<std::string, std::string> outputUnits;
    std::map<std::string, int> collectiveVariables; // outputs that may be such -> number of their components
    int particles = 0;                              // 0: any number
    std::vector<int> atomicNumbers;                 // if fixed by the model
    std::vector<int> elements;                      // atomic numbers that the model knows; empty: not said
    std::map<std::string, int> typeMap;
    std::optional<double> cutoff;     // in lengthUnit
    std::string edges = "full";       // or "half": each pair once
    std::string shifts = "cell";      // numbers of box vectors; "real_cell": in dtype; or "cartesian", in lengthUnit
    std::string indexDtype = "int64"; // of edges and "cell" shifts; or "int32"
    int edgeCapacity = 0;             // edges that the model takes, with padding; 0: any number
    std::string smallBox = "images";  // several edges of one pair in a small box; or "refuse" such a box
    bool batchedBox = false;          // box is [1][3][3], a batch of one, instead of [3][3]
    std::optional<double> mmCutoff;   // in lengthUnit: charges are given up to there; none: all charges
    std::optional<bool> periodic;
    std::optional<bool> longRange;
    std::vector<std::string> libraries; // whose operators a TorchScript program uses, by the names of their namespaces
    double energyOffset = 0;            // in energyUnit
    std::map<int, double> atomicEnergies; // atomic number -> energyUnit
    std::vector<std::string> authors;
    std::string license, citation, domain;
    std::vector<SpecReference> references;

    bool hasInput(const std::string& name) const;
    bool hasOutput(const std::string& name) const;
    /** Is it a named output, whose components may be collective variables? */
    bool isVariable(const std::string& output) const;
    /** Names NAME of the inputs `parameters.NAME`, in order. */
    std::vector<std::string> getParameterNames() const;
    /** Whether results are as exact as float64 can be. */
    bool isPrecise() const {
        return (precision.empty() ? dtype : precision) == "float64";
    }
    /** Value of one model length unit in nm, and of one model energy unit in kJ/mol (CODATA 2022). */
    double getLengthInNm() const;
    double getEnergyInKJPerMol() const;
    /** The constant part of the energy for these atoms, in energyUnit, summed in float64. */
    double getConstantEnergy(const std::vector<int>& atomicNumbers) const;
};

} // namespace openmmnnp

#endif // OPENMMNNP_MODEL_SPEC_H_
