#include "api/ParticleTypes.h"
#include "api/LinkAtoms.h"
#include "model/Elements.h"

namespace openmmnnp {

namespace {

std::string listTypes(const ModelSpec& spec) {
    std::string text;
    for (const auto& [name, type] : spec.typeMap)
        text += (text.empty() ? "" : ", ") + name + " (" + std::to_string(type) + ")";
    return text;
}

int typeOf(int number, const ModelSpec& spec, const std::string& atom) {
    const std::string symbol = elementSymbol(number);
    const auto found = spec.typeMap.find(symbol);
    if (found == spec.typeMap.end())
        throw ModelError(atom + " has the atomic number " + std::to_string(number) + " (" + symbol +
                         "), for which the model has no type; its types are " + listTypes(spec) +
                         ". Give types with setTypes(), or choose a model that was made for this element.");
    return found->second;
}

void checkTypes(const NNPForce& force, const ModelSpec& spec) {
    const std::vector<int>& types = force.getTypes();
    for (size_t i = 0; i < types.size() && !spec.typeMap.empty(); i++) {
        bool known = false;
        for (const auto& entry : spec.typeMap)
            known = known || entry.second == types[i];
        if (!known)
            throw ModelError(describeAtom(force, i) + " has the type " + std::to_string(types[i]) +
                             ", but the model's types are " + listTypes(spec) + "; correct what setTypes() was given.");
    }
}

} // namespace

std::vector<int> particleTypes(const NNPForce& force, const ModelSpec& spec) {
    checkTypes(force, spec);
    std::vector<int> types = force.getTypes();
    if (spec.typeMap.empty())
        return types;
    if (types.empty())
        for (const int number : force.getAtomicNumbers())
            types.push_back(typeOf(number, spec, describeAtom(force, types.size())));
    if (types.size() == force.getParticles().size())
        for (const LinkAtom& atom : force.getLinkAtoms())
            types.push_back(typeOf(atom.atomicNumber, spec, describeAtom(force, types.size())));
    return types;
}

} // namespace openmmnnp
