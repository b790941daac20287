#include "model/TorchThreads.h"
#include "model/TorchApi.h"

namespace openmmnnp {

int getTorchThreads() {
    const TorchApi& torch = TorchApi::get();
    return torch.maxThreads ? torch.maxThreads() : 0;
}

void useTorchThreads(int threads) {
    const TorchApi& torch = TorchApi::get();
    if (threads > 0 && torch.setThreads && torch.maxThreads() != threads)
        torch.setThreads(threads);
}

} // namespace openmmnnp
