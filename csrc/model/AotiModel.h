#ifndef OPENMMNNP_AOTI_MODEL_H_
#define OPENMMNNP_AOTI_MODEL_H_

#include "model/Model.h"
#include "model/ModelFile.h"
#include "model/PrivateFolder.h"
#include "model/TorchTensor.h"

namespace openmmnnp {

/**
 * An AOTInductor package (.pt2), run through C interfaces alone: the functions AOTInductorModelContainer* that the
 * library in the package exports (torch/csrc/inductor/aoti_runtime/interface.h), and TorchApi for tensors.
 */
class AotiModel : public Model {
public:
    /**
     * Check what the package says of itself, unpack its library (and the kernels beside it) and open it.
     * `computeCapability` of a CUDA device is as in LoadOptions.  Throws ModelError.
     */
    AotiModel(const ModelFile& file, const ModelDevice& device, int computeCapability);
    ~AotiModel() override;
    void copyOutput(int output, const TensorView& target) override;
    int getNumThreads() const override;
    std::string getTorchVersion() const override;

protected:
    void run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) override;

private:
    using Container = struct ContainerOpaque*;
    void open(const std::string& libraryPath);
    void close();
    void check(int32_t status, const char* what) const;
    template <class F>
    void take(const char* name, F& function, bool optional = false);

    PrivateFolder folder;
    const TorchApi& torch;
    std::string compiledBy; // version of torch, "" if the package does not say
    void* library = nullptr;
    Container container = nullptr;
    int32_t (*create)(Container*, size_t numModels, const char* device, const char* kernelFolder) = nullptr;
    int32_t (*destroy)(Container) = nullptr;
    int32_t (*runContainer)(Container, AtenTensorHandle* inputs, size_t numInputs, AtenTensorHandle* outputs,
                            size_t numOutputs, void* stream, void* proxyExecutor) = nullptr;
    int32_t (*getNumInputs)(Container, size_t*) = nullptr;
    int32_t (*getNumOutputs)(Container, size_t*) = nullptr;
    int32_t (*getLastError)(const char**) = nullptr;
    std::vector<TorchTensor> inputTensors;
    std::vector<AtenTensorHandle> inputHandles, outputHandles;
    std::vector<TensorView> outputViews;
};

} // namespace openmmnnp

#endif // OPENMMNNP_AOTI_MODEL_H_
