#include "platforms/SharedComponents.h"
#include "api/CompareForces.h"
#include "platforms/SharedNeighbors.h"

namespace openmmnnp {

namespace {

struct Shared {
    NNPForce force; // one of them
    ComponentResults results;
};

} // namespace

std::shared_ptr<ComponentResults> shareComponents(const void* context, const NNPForce& force) {
    static SharedLists<Shared> all;
    const std::shared_ptr<Shared> shared = all.share(
        {context, force.getParticles(), force.getLinkAtoms(), "", ""},
        [&](const Shared& other) { return sameInputs(other.force, force) && sameModelInputs(other.force, force); },
        [&] { return std::make_shared<Shared>(Shared{force, {}}); });
    return {shared, &shared->results};
}

} // namespace openmmnnp
