#ifndef OPENMMNNP_CHECK_PROGRAM_H_
#define OPENMMNNP_CHECK_PROGRAM_H_

#include <torch/script.h>

namespace openmmnnp {

/**
 * Refuse a TorchScript program with an operator that no potential needs: one that reads or writes files, calls Python,
 * talks to other processes, or takes memory by address.  All functions of the program are looked at, whether or not
 * forward() calls them.  Throws ModelError that names operator and function.
 */
void checkProgram(const torch::jit::Module& module);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_PROGRAM_H_
