#ifndef OPENMMNNP_FIND_IMPL_H_
#define OPENMMNNP_FIND_IMPL_H_

#include "api/NNPForceImpl.h"
#include <functional>
#include <vector>

namespace openmmnnp {

/** Looks for the impl of a force in a Context and in the inner Contexts of its CustomCVForces. */
class ImplSearch {
public:
    using GetImpl = std::function<OpenMM::ContextImpl&(OpenMM::Context&)>;
    ImplSearch(const NNPForce& force, bool sameModel) : force(force), sameModel(sameModel) {}
    void look(OpenMM::ContextImpl& context, const GetImpl& getImpl, bool inner = false);
    /** Throws OpenMMException if the force was found nowhere, or copies of it in several places. */
    NNPForceImpl& getResult() const;

private:
    const NNPForce& force;
    bool sameModel;
    NNPForceImpl* own = nullptr;
    std::vector<NNPForceImpl*> copies;
};

} // namespace openmmnnp

#endif // OPENMMNNP_FIND_IMPL_H_
