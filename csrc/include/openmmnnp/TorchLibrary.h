#ifndef OPENMMNNP_TORCH_LIBRARY_H_
#define OPENMMNNP_TORCH_LIBRARY_H_

#include "openmmnnp/ModelSpec.h"
#include <string>

namespace openmmnnp {

/**
 * Say where torch's libraries are (the folder that holds libtorch_cpu.so).
 *
 * It is used when the first model is loaded, unless a libtorch_cpu is in the process already.
 * The environment variable OPENMMNNP_TORCH_LIB goes before it.
 */
OPENMMNNP_EXPORT void setTorchLibraryFolder(const std::string& folder);

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_LIBRARY_H_
