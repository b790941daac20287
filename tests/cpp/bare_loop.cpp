/**
 * A model in a bare C++ loop with torch's own interfaces: what MD with the same model is measured against.
 * Positions [n][3] float32 and atomic numbers [n] in; energy and forces out.
 */
#include <chrono>
#include <memory>
#include <string>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>

namespace {

struct BareLoop {
    std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package;
    torch::jit::Module module;
    torch::Tensor positions, numbers;
    double checksum = 0;

    BareLoop(const std::string& path, int n, const float* x, const int64_t* z)
        : positions(torch::from_blob(const_cast<float*>(x), {n, 3}).clone()),
          numbers(torch::from_blob(const_cast<int64_t*>(z), {n}, torch::kInt64).clone()) {
        if (path.substr(path.size() - 4) == ".pt2")
            package = std::make_unique<torch::inductor::AOTIModelPackageLoader>(path, "model", true);
        else {
            module = torch::jit::load(path);
            module.eval();
            for (torch::Tensor parameter : module.parameters())
                parameter.requires_grad_(false);
            module = torch::jit::freeze(module);
        }
    }

    void evaluate() {
        if (package) {
            checksum += package->run({positions, numbers})[0].item<double>();
            return;
        }
        const torch::jit::GraphOptimizerEnabledGuard unspecialized(false);
        const torch::Tensor x = positions.detach().requires_grad_();
        const torch::Tensor energy = module.forward({x, numbers}).toTensor();
        const auto forces = torch::autograd::grad({energy}, {x});
        checksum += energy.item<double>() + forces[0].data_ptr<float>()[0];
    }
};

} // namespace

extern "C" {

__attribute__((visibility("default"))) void* bareLoopOpen(const char* path, int n, const float* positions,
                                                          const int64_t* numbers) {
    return new BareLoop(path, n, positions, numbers);
}

/** Seconds for a number of evaluations. */
__attribute__((visibility("default"))) double bareLoopRun(void* loop, int evaluations) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < evaluations; i++)
        static_cast<BareLoop*>(loop)->evaluate();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}
