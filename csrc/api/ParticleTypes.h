#ifndef OPENMMNNP_PARTICLE_TYPES_H_
#define OPENMMNNP_PARTICLE_TYPES_H_

#include "openmmnnp/NNPForce.h"
#include <vector>

namespace openmmnnp {

/**
 * The model's types of the particles and then of the link atoms: those of the force, else those of the elements in the
 * spec's type_map; link atoms may be left to the map alone.  Empty if neither is there.  Throws ModelError for an
 * element without a type, for a type that the map has not, and for link atoms without one.
 */
std::vector<int> particleTypes(const NNPForce& force, const ModelSpec& spec);

} // namespace openmmnnp

#endif // OPENMMNNP_PARTICLE_TYPES_H_
