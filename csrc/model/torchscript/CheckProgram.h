#ifndef OPENMMNNP_CHECK_PROGRAM_H_
#define OPENMMNNP_CHECK_PROGRAM_H_

#include <torch/script.h>

namespace openmmnnp {

/**
 * Refuse a TorchScript program with an operator that no potential needs: one that reads or writes files, calls Python,
 * talks to other processes, or takes memory by address; and one that uses metatensor or metatomic where `libraries`
 * (of its spec) do not name them.  All functions of the program are looked at, whether or not forward() calls them.
 * Throws ModelError that names operator and function.
 */
void checkProgram(const torch::jit::Module& module, const std::vector<std::string>& libraries);

} // namespace openmmnnp

#endif // OPENMMNNP_CHECK_PROGRAM_H_
