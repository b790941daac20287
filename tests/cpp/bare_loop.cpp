/**
 * A model in a bare C++ loop with torch's own interfaces: what MD with the same model is measured against.
 * It is given frames before, each with its inputs, positions [n][3] first.  They take turns, as no two steps of MD have
 * the same numbers, and a processor learns those that are repeated.  A frame is copied to where the one before it was,
 * outside the time that is measured: MD writes its inputs just before, too.  Energy and forces come out of each.
 */
#include <chrono>
#include <memory>
#include <string>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/script.h>
#include <vector>

namespace {

struct BareLoop {
    std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package;
    torch::jit::Module module;
    std::vector<std::vector<torch::Tensor>> frames;
    std::vector<torch::Tensor> buffers, inputs;
    size_t turn = 0;
    double checksum = 0;

    explicit BareLoop(const std::string& path) {
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

    void nextFrame() {
        const std::vector<torch::Tensor>& frame = frames[turn++ % frames.size()];
        buffers.resize(frame.size());
        inputs.resize(frame.size());
        for (size_t i = 0; i < frame.size(); i++) {
            if (!buffers[i].defined() || buffers[i].numel() < frame[i].numel())
                buffers[i] = torch::empty({2 * frame[i].numel()}, frame[i].options());
            inputs[i] = buffers[i].narrow(0, 0, frame[i].numel()).view(frame[i].sizes()).copy_(frame[i]);
        }
    }

    void evaluate() {
        if (package) {
            checksum += package->run(inputs)[0].item<double>();
            return;
        }
        const torch::jit::GraphOptimizerEnabledGuard unspecialized(false);
        const torch::Tensor x = inputs[0].detach().requires_grad_();
        std::vector<torch::jit::IValue> given(inputs.begin(), inputs.end());
        given[0] = x;
        const torch::jit::IValue result = module.forward(std::move(given));
        const torch::Tensor energy = result.isTuple() ? result.toTuple()->elements()[0].toTensor() : result.toTensor();
        const torch::Tensor forces = torch::autograd::grad({energy}, {x})[0];
        checksum += energy.item<double>() + forces.sum().item<double>();
    }
};

} // namespace

extern "C" {

__attribute__((visibility("default"))) void* bareLoopOpen(const char* path) {
    return new BareLoop(path);
}

__attribute__((visibility("default"))) void bareLoopAddFrame(void* loop) {
    static_cast<BareLoop*>(loop)->frames.emplace_back();
}

/** The next input of the last frame: a copy of numbers of a dtype (0: float32, 1: float64, 2: int64, 3: int32). */
__attribute__((visibility("default"))) void bareLoopGive(void* loop, void* data, int dtype, const int64_t* sizes,
                                                         int dimensions) {
    const torch::ScalarType types[] = {torch::kFloat32, torch::kFloat64, torch::kInt64, torch::kInt32};
    const torch::IntArrayRef shape(sizes, dimensions);
    static_cast<BareLoop*>(loop)->frames.back().push_back(torch::from_blob(data, shape, types[dtype]).clone());
}

__attribute__((visibility("default"))) void bareLoopClose(void* loop) {
    delete static_cast<BareLoop*>(loop);
}

/** Seconds for a number of evaluations. */
__attribute__((visibility("default"))) double bareLoopRun(void* loop, int evaluations) {
    double seconds = 0;
    for (int i = 0; i < evaluations; i++) {
        static_cast<BareLoop*>(loop)->nextFrame();
        const auto start = std::chrono::steady_clock::now();
        static_cast<BareLoop*>(loop)->evaluate();
        seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    return seconds;
}
}
