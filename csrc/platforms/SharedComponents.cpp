#include "platforms/SharedComponents.h"
#include "api/CompareForces.h"
#include "platforms/SharedNeighbors.h"

namespace openmmnnp {

namespace {

struct Shared {
    NNPForce force; // that stands for all
    ComponentResults results;
};

/** What the model gives does not depend on component, name and scale. */
NNPForce representative(NNPForce force) {
    force.setName("");
    force.setCollectiveVariable(force.getCollectiveVariable(), 0);
    force.setScaleParameter("");
    return force;
}

} // namespace

std::shared_ptr<ComponentResults> shareComponents(const void* context, const NNPForce& force) {
    static SharedLists<Shared> all;
    const NNPForce wanted = representative(force);
    const std::shared_ptr<Shared> shared = all.share(
        {context, wanted.getParticles(), wanted.getLinkAtoms(), "", ""},
        [&](const Shared& other) { return sameStructure(other.force, wanted) && sameModelInputs(other.force, wanted); },
        [&] { return std::make_shared<Shared>(Shared{wanted, {}}); });
    return {shared, &shared->results};
}

} // namespace openmmnnp
