#include "api/ParticleTypes.h"
#include "model/Elements.h"

namespace openmmnnp {

namespace {

std::string listTypes(const ModelSpec& spec) {
    std::string text;
    for (const auto& [name, type] : spec.typeMap)
        text += (text.empty() ? "" : ", ") + name + " (" + std::to_string(type) + ")";
    return text;
}

std::string describe(const NNPForce& force, size_t i) {
    return "Particle " + std::to_string(force.usesSubset() ? force.getParticles()[i] : static_cast<int>(i));
}

void checkTypes(const NNPForce& force, const ModelSpec& spec) {
    const std::vector<int>& types = force.getTypes();
    for (size_t i = 0; i < types.size() && !spec.typeMap.empty(); i++) {
        bool known = false;
        for (const auto& entry : spec.typeMap)
            known = known || entry.second == types[i];
        if (!known)
            throw ModelError(describe(force, i) + " has the type " + std::to_string(types[i]) +
                             ", but the model's types are " + listTypes(spec) + "; correct what setTypes() was given.");
    }
}

} // namespace

std::vector<int> particleTypes(const NNPForce& force, const ModelSpec& spec) {
    checkTypes(force, spec);
    if (!force.getTypes().empty() || spec.typeMap.empty())
        return force.getTypes();
    std::vector<int> types;
    for (const int number : force.getAtomicNumbers()) {
        const std::string symbol = elementSymbol(number);
        const auto found = spec.typeMap.find(symbol);
        if (found == spec.typeMap.end())
            throw ModelError(describe(force, types.size()) + " has the atomic number " + std::to_string(number) + " (" +
                             symbol + "), for which the model has no type; its types are " + listTypes(spec) +
                             ". Give types with setTypes(), or choose a model that was made for this element.");
        types.push_back(found->second);
    }
    return types;
}

} // namespace openmmnnp
