#include <cuda.h> // first: torch's headers look at its version

#include "model/GraphCapture.h"
#include "model/TorchScope.h"
#include "model/torchscript/TorchError.h"
#include <ATen/cuda/CUDAGraph.h>
#include <vector>

namespace openmmnnp {

namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

/**
 * torch's CUDA graphs, with a pool of memory of their own.
 *
 * Other threads may use the device during a capture: only what this thread does is restricted by it.
 */
class CudaGraph : public GraphCapture {
public:
    explicit CudaGraph(const ModelDevice& device) : device(device) {}
    ~CudaGraph() override {
        try {
            reset();
        } catch (const std::exception&) { // the device is gone, and the graph with it
        }
    }

    void capture(void* stream, const std::function<void()>& function) override {
        reset();
        const TorchScope scope(device, stream);
        try {
            graph = std::make_unique<at::cuda::CUDAGraph>();
            pool = at::cuda::graph_pool_handle();
            graph->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
            function();
            graph->capture_end();
        } catch (const std::exception& error) {
            const std::string cause = causeOf(error);
            abandon();
            throw ModelError(cause);
        }
    }

    void replay(void* stream) override {
        const TorchScope scope(device, stream);
        try {
            graph->replay();
        } catch (const std::exception& error) {
            throw ModelError("The CUDA graph of the model could not be launched: " + causeOf(error) + ".");
        }
    }

    void reset() override {
        if (!graph)
            return;
        const TorchScope scope(device);
        graph.reset();
    }

private:
    /**
     * Put an end to a capture that failed somewhere.  torch's own end gives up where CUDA has invalidated the capture,
     * and leaves the allocator with a callback into the graph.
     */
    void abandon() noexcept {
        if (!graph || quietly([this] { graph->capture_end(); })) {
            graph.reset();
            return;
        }
        const auto index = static_cast<c10::DeviceIndex>(device.index);
        if (quietly([&] { allocator::endAllocateToPool(index, pool); }))
            quietly([&] { allocator::releasePool(index, pool); });
        abandoned.push_back(std::move(graph));
    }

    /** Whether a function did not throw. */
    template <class F>
    static bool quietly(F function) noexcept {
        try {
            function();
            return true;
        } catch (const std::exception&) {
            return false;
        }
    }

    /** Never destroyed: other parts of torch may hold their address too. */
    static std::vector<std::unique_ptr<at::cuda::CUDAGraph>>& abandoned;

    const ModelDevice device;
    std::unique_ptr<at::cuda::CUDAGraph> graph;
    decltype(at::cuda::graph_pool_handle()) pool{};
};

std::vector<std::unique_ptr<at::cuda::CUDAGraph>>& CudaGraph::abandoned =
    *new std::vector<std::unique_ptr<at::cuda::CUDAGraph>>;

} // namespace

} // namespace openmmnnp

/** The one function that the core takes from this library. */
extern "C" OPENMMNNP_EXPORT openmmnnp::GraphCapture* openmmnnpCreateGraphCapture(const openmmnnp::ModelDevice& device) {
    return new openmmnnp::CudaGraph(device);
}
