#ifndef OPENMMNNP_PINNED_NUMBERS_H_
#define OPENMMNNP_PINNED_NUMBERS_H_

#include "platforms/common/HostNumbers.h"
#include "platforms/cuda/CudaHandles.h"
#include <openmm/cuda/CudaContext.h>

namespace openmmnnp {

/** Written by the kernel into page-locked memory of the host.  OpenMM's context must be current in all calls. */
class PinnedNumbers : public HostNumbers {
public:
    PinnedNumbers(OpenMM::CudaContext& context, int count)
        : context(context), memory(count * sizeof(long long)), written(context.getEventFlags()) {}
    void addTo(OpenMM::ComputeKernelImpl& kernel) override {
        kernel.addArg(memory.getDevice());
    }
    void send() override {
        written.record(context.getCurrentStream());
    }
    const long long* wait() override {
        written.wait();
        return static_cast<const long long*>(memory.getHost());
    }

private:
    OpenMM::CudaContext& context;
    PinnedMemory memory;
    CudaMark written;
};

} // namespace openmmnnp

#endif // OPENMMNNP_PINNED_NUMBERS_H_
