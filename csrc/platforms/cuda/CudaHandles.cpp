#include "platforms/cuda/CudaHandles.h"
#include "openmmnnp/ModelSpec.h"
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

namespace openmmnnp {

void checkCuda(CUresult result, const char* what) {
    if (result == CUDA_SUCCESS)
        return;
    const char *name = nullptr, *text = nullptr;
    cuGetErrorName(result, &name);
    cuGetErrorString(result, &text);
    throw ModelError(std::string(what) + ": " + (name ? name : "an unknown error of CUDA") + " (" + (text ? text : "") +
                     ").");
}

PrimaryContext::PrimaryContext(CUdevice device) : device(device) {
    checkCuda(cuDevicePrimaryCtxRetain(&context, device), "The primary CUDA context could not be made");
}

PrimaryContext::~PrimaryContext() {
    cuDevicePrimaryCtxRelease(device);
}

ContextGuard::ContextGuard(CUcontext context) {
    checkCuda(cuCtxPushCurrent(context), "A CUDA context could not be made current");
}

ContextGuard::~ContextGuard() {
    CUcontext popped;
    cuCtxPopCurrent(&popped);
}

CudaMark::CudaMark(unsigned int flags) {
    checkCuda(cuEventCreate(&event, flags | CU_EVENT_DISABLE_TIMING), "A CUDA event could not be made");
}

CudaMark::~CudaMark() {
    cuEventDestroy(event);
}

void CudaMark::record(CUstream stream) {
    checkCuda(cuEventRecord(event, stream), "A CUDA event could not be recorded");
}

void CudaMark::holdBack(CUstream stream) const {
    checkCuda(cuStreamWaitEvent(stream, event, CU_EVENT_WAIT_DEFAULT), "A CUDA stream could not wait for another");
}

void CudaMark::wait() const {
    const CUresult state = cuEventQuery(event);
    if (state == CUDA_ERROR_NOT_READY)
        checkCuda(cuEventSynchronize(event), "Work on the CUDA device failed");
    else
        checkCuda(state, "Work on the CUDA device failed");
}

PinnedMemory::PinnedMemory(size_t bytes) {
    checkCuda(cuMemHostAlloc(&host, bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
              "Page-locked memory could not be allocated");
    std::memset(host, 0, bytes);
    const CUresult mapped = cuMemHostGetDevicePointer(&device, host, 0);
    if (mapped != CUDA_SUCCESS)
        cuMemFreeHost(host);
    checkCuda(mapped, "Page-locked memory could not be mapped");
}

PinnedMemory::~PinnedMemory() {
    cuMemFreeHost(host);
}

namespace {

struct StreamPool {
    std::mutex mutex;
    std::map<CUdevice, std::vector<CUstream>> idle;
};

/** Never destroyed: a Context may outlive the objects of this library when the process ends. */
StreamPool& pool() {
    static auto* streams = new StreamPool;
    return *streams;
}

} // namespace

std::shared_ptr<CUstream_st> borrowStream(const PrimaryContext& context) {
    StreamPool& streams = pool();
    const CUdevice device = context.getDevice();
    const auto giveBack = [device](CUstream stream) {
        const std::lock_guard<std::mutex> lock(pool().mutex);
        pool().idle[device].push_back(stream);
    };
    const std::lock_guard<std::mutex> lock(streams.mutex);
    std::vector<CUstream>& idle = streams.idle[device];
    CUstream stream = nullptr;
    if (!idle.empty()) {
        stream = idle.back();
        idle.pop_back();
    } else {
        CUcontext kept; // retained once more, and for good: without a context the stream would be gone
        checkCuda(cuDevicePrimaryCtxRetain(&kept, device), "The primary CUDA context could not be made");
        const ContextGuard guard(kept);
        checkCuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "A CUDA stream could not be made");
    }
    return std::shared_ptr<CUstream_st>(stream, giveBack);
}

} // namespace openmmnnp
