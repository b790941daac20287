#include "api/CheckCollectiveVariable.h"

namespace openmmnnp {

namespace {

/** Names of the outputs whose components may be collective variables. */
std::string listVariables(const ModelSpec& spec) {
    std::string text;
    for (const std::string& output : spec.outputs)
        if (spec.isVariable(output))
            text += (text.empty() ? "'" : ", '") + output + "'";
    return text.empty() ? "none" : text;
}

void checkDerivatives(const NNPForce& force) {
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        if (force.getEnergyParameterDerivativeName(i) != force.getScaleParameter())
            throw ModelError(
                "The derivative with respect to '" + force.getEnergyParameterDerivativeName(i) +
                "' was asked for, but the force is the collective variable '" + force.getCollectiveVariable() +
                "', which a model gives no such derivatives of; leave out addEnergyParameterDerivative().");
}

} // namespace

void checkCollectiveVariable(const NNPForce& force) {
    const std::string& output = force.getCollectiveVariable();
    if (output.empty()) {
        if (force.hasModelSpec() && force.getModelSpec().energyUnit == ModelSpec::noEnergy)
            throw ModelError("The model gives collective variables and no energy; choose one with "
                             "setCollectiveVariable(), or make all with openmmnnp.collectiveVariables(). It gives " +
                             listVariables(force.getModelSpec()) + ".");
        return;
    }
    if (!force.hasModelSpec())
        throw ModelError("setCollectiveVariable() was given the output '" + output +
                         "', but a model without a spec has no named outputs; give its file a ModelSpec "
                         "(openmmnnp.spec.write_spec()).");
    const ModelSpec& spec = force.getModelSpec();
    if (!spec.isVariable(output))
        throw ModelError("setCollectiveVariable() was given the output '" + output +
                         "', but the model's outputs that can be collective variables are " + listVariables(spec) +
                         ".");
    if (spec.hasInput("mm_positions"))
        throw ModelError(
            "The force is the collective variable '" + output +
            "' of a model that takes MM charges, and forces on those are known for its energy alone; use a "
            "model that takes none.");
    const auto found = spec.collectiveVariables.find(output);
    if (found != spec.collectiveVariables.end() && force.getCollectiveVariableComponent() >= found->second)
        throw ModelError("setCollectiveVariable() was given the component " +
                         std::to_string(force.getCollectiveVariableComponent()) + " of '" + output +
                         "', but the model gives the components 0 to " + std::to_string(found->second - 1) + ".");
    checkDerivatives(force);
}

} // namespace openmmnnp
