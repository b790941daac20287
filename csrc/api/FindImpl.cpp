#include "api/FindImpl.h"
#include "api/CompareForces.h"
#include <openmm/OpenMMException.h>
#include <openmm/internal/CustomCVForceImpl.h>

namespace openmmnnp {

void ImplSearch::look(OpenMM::ContextImpl& context, const GetImpl& getImpl, bool inner) {
    for (OpenMM::ForceImpl* impl : context.getForceImpls()) {
        if (auto* candidate = dynamic_cast<NNPForceImpl*>(impl)) {
            const NNPForce& current = candidate->getCurrent();
            if (&candidate->getOwner() == &force)
                own = candidate;
            else if (inner && sameStructure(current, force) && (!sameModel || sameModelInputs(current, force)))
                copies.push_back(candidate);
        } else if (auto* collective = dynamic_cast<OpenMM::CustomCVForceImpl*>(impl))
            look(getImpl(collective->getInnerContext()), getImpl, true);
    }
}

NNPForceImpl& ImplSearch::getResult() const {
    if (own != nullptr)
        return *own;
    if (copies.size() == 1)
        return *copies.front();
    if (copies.empty())
        throw OpenMM::OpenMMException(force.getName() +
                                      ": the Context does not contain this force. It must be the object that was added "
                                      "to the System, or equal to one inside a "
                                      "CustomCVForce of it (forces inside an ATMForce cannot be reached).");
    throw OpenMM::OpenMMException(
        force.getName() + ": the Context contains " + std::to_string(copies.size()) +
        " forces equal to this one inside CustomCVForces; give each a name of its own with setName().");
}

} // namespace openmmnnp
