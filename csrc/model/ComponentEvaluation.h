#ifndef OPENMMNNP_COMPONENT_EVALUATION_H_
#define OPENMMNNP_COMPONENT_EVALUATION_H_

#include "model/Evaluate.h"
#include <memory>
#include <vector>

namespace openmmnnp {

/** What the last evaluation of a model gave for all components of an output, for all forces that take one of them. */
struct ComponentResults {
    std::vector<char> inputs; // bytes of what the model was given; empty: there are no results
    bool withForces = false;
    std::vector<double> values; // [k]
    std::vector<double> forces; // [k][n][3]
    std::vector<Evaluation::Extra> extras;
};

/**
 * The evaluate stage on the host of a force whose energy is one component of an output.
 *
 * Forces on the same particles of one Context share the results: the first that is asked at new positions evaluates
 * the model for all components, the others take theirs.
 */
class OPENMMNNP_EXPORT ComponentEvaluation : public Evaluation {
public:
    /** As of Evaluation.  Only one thread at a time may use the results. */
    ComponentEvaluation(std::shared_ptr<Model> model, int numParticles, std::vector<int> particles,
                        const Component& component, std::shared_ptr<ComponentResults> results);
    void run(bool withForces) override;

protected:
    void read(const std::vector<TensorView>& outputs) override;

private:
    void take(long long evaluation);

    std::shared_ptr<ComponentResults> results;
};

} // namespace openmmnnp

#endif // OPENMMNNP_COMPONENT_EVALUATION_H_
