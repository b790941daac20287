#include "model/AotiContainer.h"
#include "model/TorchScope.h"
#include <dlfcn.h>

namespace openmmnnp {

AotiContainer::AotiContainer(const ModelFile& file, const AotiPackage& package, const AotiPackage::Entry& entry,
                             const ModelDevice& device, size_t numInputs, size_t numOutputs)
    : torch(TorchApi::get()), device(device), compiledBy(package.torchVersion), operators(entry.operators),
      inputTensors(numInputs), inputHandles(numInputs) {
    folder.requireExecution();
    const std::string path = folder.write("model.so", file.getArchive().read(entry.library));
    for (const std::string& kernel : entry.kernels)
        folder.write(kernel.substr(kernel.rfind('/') + 1), file.getArchive().read(kernel));
    try {
        open(path, numInputs, numOutputs);
    } catch (...) {
        close();
        throw;
    }
}

AotiContainer::~AotiContainer() {
    try {
        close();
    } catch (const ModelError&) { // the device is gone, and with it what was to be freed
    }
}

void AotiContainer::close() {
    const TorchScope scope(device);
    if (container != nullptr)
        destroy(container);
    if (library != nullptr)
        dlclose(library);
}

void AotiContainer::open(const std::string& libraryPath, size_t wantedInputs, size_t wantedOutputs) {
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
    if (numInputs != wantedInputs || numOutputs != wantedOutputs)
        throw ModelError("The compiled model has " + std::to_string(numInputs) + " inputs and " +
                         std::to_string(numOutputs) + " outputs, but its spec lists " + std::to_string(wantedInputs) +
                         " and " + std::to_string(wantedOutputs) + "; export the model again.");
}

template <class F>
void AotiContainer::take(const char* name, F& function, bool optional) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (function == nullptr && !optional)
        throw ModelError(std::string("The package's library lacks the function ") + name +
                         "; it is not a model that AOTInductor compiled.");
}

void AotiContainer::check(int32_t status, const char* what) const {
    if (status == 0)
        return;
    const char* reason = nullptr;
    if (getLastError == nullptr || getLastError(&reason) != 0 || reason == nullptr)
        reason = "torch printed the reason to the standard error";
    std::string cause = std::string(reason).substr(0, 1000);
    cause.erase(cause.find_last_not_of("\n .") + 1);
    throw ModelError(std::string(what) + ": " + cause + ".");
}

void AotiContainer::run(const std::vector<TensorView>& inputs, void* stream, std::vector<AtenTensorHandle>& outputs) {
    for (size_t i = 0; i < inputs.size(); i++)
        inputTensors[i] = TorchTensor::wrap(inputs[i], device);
    for (size_t i = 0; i < inputs.size(); i++)
        inputHandles[i] = inputTensors[i].release(); // the container deletes them
    check(runContainer(container, inputHandles.data(), inputHandles.size(), outputs.data(), outputs.size(), stream,
                       &operators),
          "The model failed");
}

} // namespace openmmnnp
