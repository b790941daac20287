/**
 * Counts what a process asks of OpenCL; to be preloaded.  countOpenCL() reads the counters.
 *
 * Between a non-blocking read (positions to the host) and the next write (forces to the device), kernels that are
 * launched overlap with what the host does in that time.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <atomic>
#include <dlfcn.h>

namespace {

struct Counters {
    std::atomic<long> kernels, readBytes, writtenBytes, blockingCalls, overlapped, buffers;
} counters;
std::atomic<bool> awaitingWrite;

template <class F>
F original(F, const char* name) {
    return reinterpret_cast<F>(dlsym(dlopen("libOpenCL.so.1", RTLD_LAZY), name));
}

} // namespace

extern "C" {

void countOpenCL(long result[6]) {
    result[0] = counters.kernels;
    result[1] = counters.readBytes;
    result[2] = counters.writtenBytes;
    result[3] = counters.blockingCalls;
    result[4] = counters.overlapped;
    result[5] = counters.buffers;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t* offset,
                              const size_t* global, const size_t* local, cl_uint count, const cl_event* events,
                              cl_event* event) {
    static const auto next = original(&clEnqueueNDRangeKernel, "clEnqueueNDRangeKernel");
    counters.kernels++;
    if (awaitingWrite)
        counters.overlapped++;
    return next(queue, kernel, dimensions, offset, global, local, count, events, event);
}

cl_int clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                           void* data, cl_uint count, const cl_event* events, cl_event* event) {
    static const auto next = original(&clEnqueueReadBuffer, "clEnqueueReadBuffer");
    counters.readBytes += static_cast<long>(size);
    counters.blockingCalls += blocking != CL_FALSE;
    if (size > sizeof(cl_int)) // OpenMM's own is the number of interactions
        awaitingWrite = blocking == CL_FALSE;
    return next(queue, buffer, blocking, offset, size, data, count, events, event);
}

cl_int clEnqueueWriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                            const void* data, cl_uint count, const cl_event* events, cl_event* event) {
    static const auto next = original(&clEnqueueWriteBuffer, "clEnqueueWriteBuffer");
    counters.writtenBytes += static_cast<long>(size);
    counters.blockingCalls += blocking != CL_FALSE;
    awaitingWrite = false;
    return next(queue, buffer, blocking, offset, size, data, count, events, event);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void* data, cl_int* error) {
    static const auto next = original(&clCreateBuffer, "clCreateBuffer");
    counters.buffers++;
    return next(context, flags, size, data, error);
}

cl_int clFinish(cl_command_queue queue) {
    static const auto next = original(&clFinish, "clFinish");
    counters.blockingCalls++;
    return next(queue);
}
}
