#ifndef OPENMMNNP_EVALUATE_H_
#define OPENMMNNP_EVALUATE_H_

#include "model/Model.h"
#include "model/ModelInputs.h"
#include "neighbors/HostNeighbors.h"
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * The evaluate stage: runs the model on the gathered inputs and keeps what it gives, checked.
 *
 * All numbers here are in the model's units.  After a first evaluation, no memory is allocated outside the model.
 */
class OPENMMNNP_EXPORT Evaluation : protected OutputReader {
public:
    /**
     * `particles` maps the model's particles to those of the System (empty: they are the same; those beyond its end are
     * link atoms); `derivatives` names the parameters p for which dE/dp is wanted.  Throws ModelError if the model
     * cannot give one.
     */
    Evaluation(std::shared_ptr<Model> model, int numParticles, std::vector<int> particles = {},
               const std::vector<std::string>& derivatives = {});
    virtual ~Evaluation() = default;

    ModelInputs& getInputs() {
        return inputs;
    }
    const Model& getModel() const {
        return *model;
    }
    /** Take edges from this list, which others may share. */
    void setNeighbors(std::shared_ptr<HostNeighbors> list) {
        neighbors = std::move(list);
    }
    /** The neighbors stage: find the edges of the gathered positions, if the model takes edges and the list is here. */
    void findNeighbors();
    long long getNumListBuilds() const {
        return neighbors ? neighbors->getNumBuilds() : 0;
    }
    /** Evaluate the model, unless the last evaluation had bit-identical inputs and gave what is wanted now. */
    virtual void run(bool withForces);
    /** Throw if a force of the last evaluation has a component that is not below this, in the model's unit. */
    void checkForcesBelow(double limit) const {
        checkForcesBelow(limit, numEvaluations);
    }
    /** Forget the last evaluation. */
    void invalidate();

    double getEnergy() const {
        return energy; // without the constant part
    }
    const double* getForces() const {
        return forces.data(); // [n][3]
    }
    const double* getDerivatives() const {
        return derivatives.data(); // [k]
    }
    double getDerivative(int index) const {
        return derivatives[index];
    }
    bool isValid() const {
        return valid;
    }
    bool hasForces() const {
        return valid && withForces;
    }
    /** An output beside energy, forces and derivatives; null if the model has none of that name. */
    struct Extra {
        std::string name;
        int output;
        std::vector<int64_t> shape;
        std::vector<double> values;
    };
    virtual const Extra* findExtra(const std::string& name);
    long long getNumEvaluations() const {
        return numEvaluations;
    }
    long long getNumReused() const {
        return numReused;
    }

protected:
    void read(const std::vector<TensorView>& outputs) override;
    /** Throw if a coordinate that the model is given is not finite. */
    void checkPositions() const;
    /** Throw if energy, forces (if they were wanted) or a derivative of this evaluation are not finite. */
    void checkFinite(long long evaluation) const;
    void checkForcesBelow(double limit, long long evaluation) const;
    [[noreturn]] void fail(const std::string& what, int particle, long long evaluation) const;
    void keepEnergy(long long evaluation);

    std::shared_ptr<Model> model;
    ModelInputs inputs;
    std::shared_ptr<HostNeighbors> neighbors;
    const bool sumsEnergy; // over the output atomic_energy
    int energyOutput, forcesOutput;
    std::vector<int> derivativeOutputs, derivativeInputs;
    std::vector<Extra> extras;
    double energy = 0;
    std::vector<double> forces, derivatives;
    bool valid = false, withForces = false;
    long long numEvaluations = 0, numReused = 0;
    static constexpr int numLastEnergies = 4;
    std::array<double, numLastEnergies> lastEnergies{}; // that of evaluation i at (i - 1) % numLastEnergies

private:
    void readEnergy(const TensorView& output);
    std::string describeForce(int particle) const;
    std::string describeNeighbor(int particle) const;
    std::string describeParticle(int particle) const;
    std::string describeLastEnergies(long long before) const;

    std::vector<int> particles;
    std::vector<double> atomicEnergies; // [n], if they are summed
};

} // namespace openmmnnp

#endif // OPENMMNNP_EVALUATE_H_
