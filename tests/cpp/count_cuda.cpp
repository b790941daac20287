/**
 * Counts what a process asks of the CUDA driver by name; to be preloaded.  countCuda() reads the counters.
 *
 * torch asks for the driver's functions by address, so what it does is not counted; a replayed graph does none of
 * these.
 */
#include <atomic>
#include <cuda.h>
#include <dlfcn.h>

namespace {

std::atomic<long> synchronizations, eventWaits, allocations, downloads, kernels;

template <class F>
F original(F, const char* name) {
    return reinterpret_cast<F>(dlsym(dlopen("libcuda.so.1", RTLD_LAZY), name));
}

} // namespace

extern "C" {

void countCuda(long result[5]) {
    result[0] = synchronizations;
    result[1] = eventWaits;
    result[2] = allocations;
    result[3] = downloads;
    result[4] = kernels;
}

CUresult cuStreamSynchronize(CUstream stream) {
    static const auto next = original(&cuStreamSynchronize, "cuStreamSynchronize");
    synchronizations++;
    return next(stream);
}

CUresult cuCtxSynchronize() {
    static const auto next = original(&cuCtxSynchronize, "cuCtxSynchronize");
    synchronizations++;
    return next();
}

CUresult cuEventSynchronize(CUevent event) {
    static const auto next = original(&cuEventSynchronize, "cuEventSynchronize");
    eventWaits++;
    return next(event);
}

CUresult cuMemAlloc_v2(CUdeviceptr* pointer, size_t size) {
    static const auto next = original(&cuMemAlloc_v2, "cuMemAlloc_v2");
    allocations++;
    return next(pointer, size);
}

CUresult cuMemHostAlloc(void** pointer, size_t size, unsigned int flags) {
    static const auto next = original(&cuMemHostAlloc, "cuMemHostAlloc");
    allocations++;
    return next(pointer, size, flags);
}

CUresult cuMemcpyDtoH_v2(void* target, CUdeviceptr source, size_t size) {
    static const auto next = original(&cuMemcpyDtoH_v2, "cuMemcpyDtoH_v2");
    downloads++;
    return next(target, source, size);
}

CUresult cuLaunchKernel(CUfunction function, unsigned int gridX, unsigned int gridY, unsigned int gridZ,
                        unsigned int blockX, unsigned int blockY, unsigned int blockZ, unsigned int shared,
                        CUstream stream, void** arguments, void** extra) {
    static const auto next = original(&cuLaunchKernel, "cuLaunchKernel");
    kernels++;
    return next(function, gridX, gridY, gridZ, blockX, blockY, blockZ, shared, stream, arguments, extra);
}
}
