#ifndef OPENMMNNP_HOST_NUMBERS_H_
#define OPENMMNNP_HOST_NUMBERS_H_

#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeContext.h>
#include <openmm/common/ComputeKernel.h>
#include <vector>

namespace openmmnnp {

/** A few 64-bit integers that a kernel writes for the host, which need not wait for anything else to read them. */
class HostNumbers {
public:
    virtual ~HostNumbers() = default;
    /** Give a kernel the memory as its next argument. */
    virtual void addTo(OpenMM::ComputeKernelImpl& kernel) = 0;
    /** After the kernel was enqueued. */
    virtual void send() = 0;
    /** Wait for what was sent last, and return it. */
    virtual const long long* wait() = 0;
};

/** Downloaded without making anyone wait, where the host's memory may be any (OpenCL). */
class DownloadedNumbers : public HostNumbers {
public:
    DownloadedNumbers(OpenMM::ComputeContext& context, int count) : event(context.createEvent()), onHost(count) {
        onDevice.initialize<long long>(context, count, "nnpNumbers");
    }
    void addTo(OpenMM::ComputeKernelImpl& kernel) override {
        kernel.addArg(onDevice);
    }
    void send() override {
        onDevice.download(onHost.data(), false);
        event->enqueue();
    }
    const long long* wait() override {
        event->wait();
        return onHost.data();
    }

private:
    OpenMM::ComputeEvent event;
    OpenMM::ComputeArray onDevice;
    std::vector<long long> onHost;
};

} // namespace openmmnnp

#endif // OPENMMNNP_HOST_NUMBERS_H_
