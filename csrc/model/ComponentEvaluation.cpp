#include "model/ComponentEvaluation.h"
#include "model/CheckOutputs.h"
#include <initializer_list>

namespace openmmnnp {

ComponentEvaluation::ComponentEvaluation(std::shared_ptr<Model> sharedModel, int numParticles,
                                         std::vector<int> particleIndices, const Component& chosen,
                                         std::shared_ptr<ComponentResults> sharedResults)
    : Evaluation(std::move(sharedModel), numParticles, std::move(particleIndices), {}, chosen),
      results(std::move(sharedResults)) {}

void ComponentEvaluation::run(bool forcesWanted) {
    if (isAnswered(forcesWanted)) {
        numReused++;
    } else if ((results->withForces || !forcesWanted) && inputs.equal(results->inputs)) {
        valid = false;
        withForces = results->withForces;
        take(numEvaluations + numReused + 1);
        extras = results->extras;
        inputs.remember();
        valid = true;
        numReused++;
    } else {
        Evaluation::run(forcesWanted);
        inputs.copyTo(results->inputs);
    }
}

void ComponentEvaluation::read(const std::vector<TensorView>& outputs) {
    results->inputs.clear();
    results->withForces = withForces;
    const TensorView& values = outputs[energyOutput];
    checkEnergyOutput(component.of(values, 0));
    results->values.resize(values.count());
    values.copyTo(results->values.data());
    if (withForces) {
        const TensorView& all = outputs[forcesOutput];
        checkForcesOutput(component.of(all, 2), inputs.getNumParticles());
        results->forces.resize(all.count());
        all.copyTo(results->forces.data());
    }
    take(numEvaluations + 1);
    readExtras(outputs);
    results->extras = extras;
}

/** The component of this force.  Throws ModelError if there is none, or if its numbers are not finite. */
void ComponentEvaluation::take(long long evaluation) {
    const auto view = [](std::vector<double>& numbers, std::initializer_list<int64_t> shape) {
        return TensorView::contiguous(numbers.data(), DType::Float64, shape);
    };
    const auto k = static_cast<int64_t>(results->values.size());
    component.of(view(results->values, {k}), 0).copyTo(&energy);
    if (withForces)
        component.of(view(results->forces, {k, inputs.getNumParticles(), 3}), 2).copyTo(forces.data());
    checkFinite(evaluation);
}

} // namespace openmmnnp
