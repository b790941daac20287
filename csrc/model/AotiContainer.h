#ifndef OPENMMNNP_AOTI_CONTAINER_H_
#define OPENMMNNP_AOTI_CONTAINER_H_

#include "model/AotiPackage.h"
#include "model/PrivateFolder.h"
#include "model/TorchTensor.h"

namespace openmmnnp {

/**
 * One compiled library of an AOTInductor package, unpacked and opened, run through the C functions
 * AOTInductorModelContainer* that it exports (torch/csrc/inductor/aoti_runtime/interface.h).
 */
class AotiContainer {
public:
    /** Throws ModelError if the library can't be opened or has other numbers of inputs and outputs than these. */
    AotiContainer(const ModelFile& file, const AotiPackage& package, const AotiPackage::Entry& entry,
                  const ModelDevice& device, size_t numInputs, size_t numOutputs);
    ~AotiContainer();
    AotiContainer(const AotiContainer&) = delete;
    AotiContainer& operator=(const AotiContainer&) = delete;

    /**
     * Run the library on these inputs, within a TorchScope.  The caller owns the `outputs` [numOutputs], also if this
     * throws ModelError; they are null before.
     */
    void run(const std::vector<TensorView>& inputs, void* stream, std::vector<AtenTensorHandle>& outputs);

private:
    using Container = struct ContainerOpaque*;
    void open(const std::string& libraryPath, size_t wantedInputs, size_t wantedOutputs);
    void close();
    void check(int32_t status, const char* what) const;
    template <class F>
    void take(const char* name, F& function, bool optional = false);

    PrivateFolder folder;
    const TorchApi& torch;
    const ModelDevice device;
    const std::string compiledBy; // version of torch, "" if the package does not say
    OperatorCalls operators;
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
    std::vector<AtenTensorHandle> inputHandles;
};

} // namespace openmmnnp

#endif // OPENMMNNP_AOTI_CONTAINER_H_
