#include "model/AotiModel.h"
#include "model/AotiPackage.h"
#include "model/TorchScope.h"
#include <dlfcn.h>

namespace openmmnnp {

namespace {

/** Deletes the tensors that an evaluation gave, also if reading them throws. */
class TensorOwner {
public:
    TensorOwner(const TorchApi& torch, std::vector<AtenTensorHandle>& handles) : torch(torch), handles(handles) {}
    ~TensorOwner() {
        for (AtenTensorHandle& handle : handles) {
            if (handle != nullptr)
                torch.deleteTensor(handle);
            handle = nullptr;
        }
    }
    TensorOwner(const TensorOwner&) = delete;
    TensorOwner& operator=(const TensorOwner&) = delete;

private:
    const TorchApi& torch;
    std::vector<AtenTensorHandle>& handles;
};

} // namespace

AotiModel::AotiModel(const ModelFile& file, const ModelDevice& device, int computeCapability)
    : Model(*file.getSpec(), device), torch(TorchApi::get()) {
    const AotiPackage package = AotiPackage::read(file, device, computeCapability);
    compiledBy = package.torchVersion;
    if (!spec.hasOutput("forces"))
        throw ModelError("The package's spec has no output 'forces'; a compiled model must give them. Export it with "
                         "openmmnnp.export, which adds them.");
    folder.requireExecution();
    const std::string path = folder.write("model.so", file.getArchive().read(package.libraryEntry));
    for (const std::string& entry : package.kernelEntries)
        folder.write(entry.substr(entry.rfind('/') + 1), file.getArchive().read(entry));
    try {
        open(path);
    } catch (...) {
        close();
        throw;
    }
}

AotiModel::~AotiModel() {
    try {
        close();
    } catch (const ModelError&) { // the device is gone, and with it what was to be freed
    }
}

void AotiModel::close() {
    const TorchScope scope(device);
    if (container != nullptr)
        destroy(container);
    if (library != nullptr)
        dlclose(library);
}

void AotiModel::open(const std::string& libraryPath) {
    const TorchScope scope(device);
    library = dlopen(libraryPath.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        throw ModelError(std::string("The package's library cannot be loaded: ") + dlerror() +
                         ". The package was compiled by torch " +
                         (compiledBy.empty() ? "of unknown version" : compiledBy) + "; installed is " +
                         torch.getVersion() + ". Export the model again with the torch that is installed.");
    take("AOTInductorModelContainerCreateWithDevice", create);
    take("AOTInductorModelContainerDelete", destroy);
    take("AOTInductorModelContainerRunSingleThreaded", runContainer);
    take("AOTInductorModelContainerGetNumInputs", getNumInputs);
    take("AOTInductorModelContainerGetNumOutputs", getNumOutputs);
    take("AOTInductorGetLastError", getLastError, true);
    check(create(&container, 1, device.getName().c_str(), folder.getPath().c_str()), "The model could not be set up");
    size_t numInputs = 0, numOutputs = 0;
    check(getNumInputs(container, &numInputs), "The number of inputs could not be read");
    check(getNumOutputs(container, &numOutputs), "The number of outputs could not be read");
    if (numInputs != spec.inputs.size() || numOutputs != spec.outputs.size())
        throw ModelError("The compiled model has " + std::to_string(numInputs) + " inputs and " +
                         std::to_string(numOutputs) + " outputs, but its spec lists " +
                         std::to_string(spec.inputs.size()) + " and " + std::to_string(spec.outputs.size()) +
                         "; export the model again.");
    inputTensors.resize(numInputs);
    inputHandles.resize(numInputs);
    outputHandles.resize(numOutputs);
    outputViews.resize(numOutputs);
}

template <class F>
void AotiModel::take(const char* name, F& function, bool optional) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (function == nullptr && !optional)
        throw ModelError(std::string("The package's library lacks the function ") + name +
                         "; it is not a model that AOTInductor compiled.");
}

void AotiModel::check(int32_t status, const char* what) const {
    if (status == 0)
        return;
    const char* reason = nullptr;
    if (getLastError == nullptr || getLastError(&reason) != 0 || reason == nullptr)
        reason = "torch printed the reason to the standard error";
    std::string cause = std::string(reason).substr(0, 1000);
    cause.erase(cause.find_last_not_of("\n .") + 1);
    throw ModelError(std::string(what) + ": " + cause + ".");
}

void AotiModel::run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) {
    const TorchScope scope(device, request.stream);
    for (size_t i = 0; i < inputs.size(); i++)
        inputTensors[i] = TorchTensor::wrap(inputs[i], device);
    for (size_t i = 0; i < inputs.size(); i++)
        inputHandles[i] = inputTensors[i].release(); // the container deletes them
    const TensorOwner owner(torch, outputHandles);
    check(runContainer(container, inputHandles.data(), inputHandles.size(), outputHandles.data(), outputHandles.size(),
                       request.stream, nullptr),
          "The model failed");
    for (size_t i = 0; i < outputHandles.size(); i++) {
        if (deviceOf(outputHandles[i]) != device)
            throw ModelError("The output '" + outputNames[i] + "' of the model is not on " + device.describe() +
                             ", where the model was run.");
        outputViews[i] = viewOf(outputHandles[i]);
    }
    reader.read(outputViews);
}

void AotiModel::copyOutput(int output, const TensorView& target) {
    copyTensor(TorchTensor::wrap(target, device).get(), outputHandles[output]);
}

int AotiModel::getNumThreads() const {
    return torch.maxThreads ? torch.maxThreads() : 0;
}

std::string AotiModel::getTorchVersion() const {
    return torch.getVersion();
}

} // namespace openmmnnp
