/**
 * A package on a CUDA device in a bare C++ loop: captured once as a CUDA graph with torch's own interfaces, and
 * replayed. Positions [n][3] float32 and, if n is given, atomic numbers [n] in.  What MD with the same package is
 * measured against.
 *
 * Also: does torch work while a context other than the primary one is current?
 */
#include <cuda.h> // first: torch's headers look at its version

#include <ATen/cuda/CUDAGraph.h>
#include <algorithm>
#include <c10/cuda/CUDAGuard.h>
#include <chrono>
#include <memory>
#include <string>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct BareCuda {
    torch::inductor::AOTIModelPackageLoader package;
    c10::cuda::CUDAStream stream;
    std::vector<torch::Tensor> inputs, outputs;
    at::cuda::CUDAGraph graph;

    BareCuda(const std::string& path, int n, const float* x, const int64_t* z)
        : package(path, "model", true, 1, 0), stream(c10::cuda::getStreamFromPool(false, 0)) {
        const c10::cuda::CUDAStreamGuard guard(stream);
        inputs.push_back(torch::from_blob(const_cast<float*>(x), {n, 3}).to(torch::kCUDA));
        if (z != nullptr)
            inputs.push_back(torch::from_blob(const_cast<int64_t*>(z), {n}, torch::kInt64).to(torch::kCUDA));
        for (int i = 0; i < 5; i++)
            evaluate();
        stream.synchronize();
        graph.capture_begin();
        evaluate();
        graph.capture_end();
    }

    void evaluate() {
        std::vector<torch::Tensor> given = inputs;
        outputs = package.run(given, stream.stream());
    }
};

std::string foreignContext(int repeats) {
    CUdevice device;
    CUcontext context = nullptr;
    cuInit(0);
    cuDeviceGet(&device, 0);
#if CUDA_VERSION >= 13000
    const CUresult made = cuCtxCreate(&context, nullptr, 0, device); // becomes current
#else
    const CUresult made = cuCtxCreate(&context, 0, device);
#endif
    if (made != CUDA_SUCCESS)
        return "{\"error\": \"no context\"}";
    std::string result;
    try {
        torch::Tensor a = torch::ones({64, 3}, torch::kCUDA);
        torch::cuda::synchronize();
        const auto start = Clock::now();
        for (int i = 0; i < repeats; i++)
            a = a + 1;
        torch::cuda::synchronize();
        CUcontext now;
        cuCtxGetCurrent(&now);
        result = "{\"microseconds_a_kernel\": " + std::to_string(1e6 * secondsSince(start) / repeats) +
                 ", \"sum\": " + std::to_string(a.sum().item<float>()) +
                 ", \"context_is_still_current\": " + (now == context ? "true}" : "false}");
    } catch (const std::exception& error) {
        std::string text = std::string(error.what()).substr(0, 200);
        std::replace_if(text.begin(), text.end(), [](char c) { return c == '"' || c == '\\' || c < ' '; }, ' ');
        result = "{\"error\": \"" + text + "\"}";
    }
    CUcontext popped;
    cuCtxPopCurrent(&popped);
    cuCtxDestroy(context);
    return result;
}

} // namespace

extern "C" {

__attribute__((visibility("default"))) void* bareCudaOpen(const char* path, int n, const float* positions,
                                                          const int64_t* numbers) {
    return new BareCuda(path, n, positions, numbers);
}

/** Seconds for a number of replays; `wait`: the host waits after each of them, not only after the last. */
__attribute__((visibility("default"))) double bareCudaRun(void* bare, int replays, int wait) {
    auto& self = *static_cast<BareCuda*>(bare);
    const c10::cuda::CUDAStreamGuard guard(self.stream);
    const auto start = Clock::now();
    for (int i = 0; i < replays; i++) {
        self.graph.replay();
        if (wait != 0)
            self.stream.synchronize();
    }
    self.stream.synchronize();
    return secondsSince(start);
}

/** JSON; call it last, or in a process of its own. */
__attribute__((visibility("default"))) const char* bareCudaForeignContext(int repeats) {
    static const std::string result = foreignContext(repeats);
    return result.c_str();
}
}
