#ifndef OPENMMNNP_SHARED_COMPONENTS_H_
#define OPENMMNNP_SHARED_COMPONENTS_H_

#include "model/ComponentEvaluation.h"
#include "openmmnnp/NNPForce.h"
#include <memory>

namespace openmmnnp {

/** The results of a collective variable's model, which the forces of one Context share whose model is given the same,
    whatever their names, components, bonds and scale parameters are. */
std::shared_ptr<ComponentResults> shareComponents(const void* context, const NNPForce& force);

} // namespace openmmnnp

#endif // OPENMMNNP_SHARED_COMPONENTS_H_
