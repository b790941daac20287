#ifndef OPENMMNNP_CHECK_WEIGHTS_H_
#define OPENMMNNP_CHECK_WEIGHTS_H_

#include "model/Archive.h"
#include <torch/script.h>

namespace openmmnnp {

/**
 * Refuse a TorchScript program with a tensor for which the archive holds no entry of that many bytes: torch takes an
 * entry's memory for as long as the program says that it is.  Call it before anything reads the tensors.  Throws
 * ModelError.
 */
void checkWeights(const torch::jit::Module& module, const Archive& archive);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_WEIGHTS_H_
