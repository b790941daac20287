#include "model/GraphCapture.h"
#include "model/VersionedLibrary.h"

namespace openmmnnp {

namespace {

struct GraphLibrary {
    GraphLibrary() {
        const VersionedLibrary library("OpenMMNNPTorchCuda", "CUDA graphs need", "go on without them.");
        library.take("openmmnnpCreateGraphCapture", create);
    }
    GraphCapture* (*create)(const ModelDevice& device);
};

} // namespace

std::unique_ptr<GraphCapture> makeGraphCapture(const ModelDevice& device) {
    static const GraphLibrary library;
    return std::unique_ptr<GraphCapture>(library.create(device));
}

} // namespace openmmnnp
