#ifndef OPENMMNNP_CUDA_HANDLES_H_
#define OPENMMNNP_CUDA_HANDLES_H_

#include <cstddef>
#include <cuda.h>
#include <memory>

namespace openmmnnp {

/** Throws ModelError that says what could not be done and why, if it could not. */
void checkCuda(CUresult result, const char* what);

/** The device's primary context, which torch uses; OpenMM has another one.  Retained as long as the object lives. */
class PrimaryContext {
public:
    explicit PrimaryContext(CUdevice device);
    ~PrimaryContext();
    PrimaryContext(const PrimaryContext&) = delete;
    PrimaryContext& operator=(const PrimaryContext&) = delete;
    CUcontext get() const {
        return context;
    }
    CUdevice getDevice() const {
        return device;
    }

private:
    CUdevice device;
    CUcontext context = nullptr;
};

/**
 * Makes a context current for the calling thread until the end of the scope, whatever happens within it: torch replaces
 * the current context when it sets its device, and the one below comes back all the same.
 */
class ContextGuard {
public:
    explicit ContextGuard(CUcontext context);
    ~ContextGuard();
    ContextGuard(const ContextGuard&) = delete;
    ContextGuard& operator=(const ContextGuard&) = delete;
};

/** An event without timing, of the context that is current when it is made. */
class CudaMark {
public:
    /** `flags` beside CU_EVENT_DISABLE_TIMING. */
    explicit CudaMark(unsigned int flags = 0);
    ~CudaMark();
    CudaMark(const CudaMark&) = delete;
    CudaMark& operator=(const CudaMark&) = delete;
    /** Mark what was enqueued on a stream of the same context so far. */
    void record(CUstream stream);
    /** What is enqueued from now on, on a stream of any context, waits for the mark; the host does not. */
    void holdBack(CUstream stream) const;
    /** The host waits, if the mark was not passed yet. */
    void wait() const;

private:
    CUevent event = nullptr;
};

/** Page-locked memory of the host that kernels can write, zero at first. */
class PinnedMemory {
public:
    explicit PinnedMemory(size_t bytes);
    ~PinnedMemory();
    PinnedMemory(const PinnedMemory&) = delete;
    PinnedMemory& operator=(const PinnedMemory&) = delete;
    /** For the host; a kernel may change it at any time. */
    void* getHost() const {
        return host;
    }
    /** For kernels. */
    CUdeviceptr getDevice() const {
        return device;
    }

private:
    void* host = nullptr;
    CUdeviceptr device = 0;
};

/**
 * A stream of a primary context that does not wait for the default stream, lent for as long as the pointer lives.
 *
 * Streams are used again and never destroyed: torch keeps memory apart for each stream that it has seen.
 */
std::shared_ptr<CUstream_st> borrowStream(const PrimaryContext& context);

} // namespace openmmnnp

#endif // OPENMMNNP_CUDA_HANDLES_H_
