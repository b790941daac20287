#ifndef OPENMMNNP_COMPARE_FORCES_H_
#define OPENMMNNP_COMPARE_FORCES_H_

#include "openmmnnp/NNPForce.h"

namespace openmmnnp {

/** Are two forces equal in what cannot be changed in a Context: name, particles, link atoms, bonds, periodicity,
 * parameters? */
bool sameStructure(const NNPForce& a, const NNPForce& b);
/** Are they equal in what decides which numbers a model is given and which output is taken of it, but for what
    updateParametersInContext() can change? */
bool sameInputs(const NNPForce& a, const NNPForce& b);
/** Are they equal in what updateParametersInContext() can change? */
bool sameModelInputs(const NNPForce& a, const NNPForce& b);

} // namespace openmmnnp

#endif // OPENMMNNP_COMPARE_FORCES_H_
