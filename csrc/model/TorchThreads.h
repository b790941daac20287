#ifndef OPENMMNNP_TORCH_THREADS_H_
#define OPENMMNNP_TORCH_THREADS_H_

#include "openmmnnp/ModelSpec.h"

namespace openmmnnp {

/** Threads that torch's OpenMP uses for parallel loops of the calling thread, 0 if unknown. */
OPENMMNNP_EXPORT int getTorchThreads();

/** Use as many for the calling thread: OpenMP counts for each thread, and torch.set_num_threads() reaches one. */
OPENMMNNP_EXPORT void useTorchThreads(int threads);

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_THREADS_H_
