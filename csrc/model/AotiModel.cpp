#include "model/AotiModel.h"
#include "model/AotiPackage.h"
#include <dlfcn.h>

namespace openmmnnp {

namespace {

int32_t dtypeCode(const TorchApi& torch, DType dtype) {
    switch (dtype) {
    case DType::Float32:
        return torch.dtypeFloat32();
    case DType::Float64:
        return torch.dtypeFloat64();
    case DType::Int32:
        return torch.dtypeInt32();
    default:
        return torch.dtypeInt64();
    }
}

DType dtypeFromCode(const TorchApi& torch, int32_t code) {
    for (const DType dtype : {DType::Float32, DType::Float64, DType::Int32, DType::Int64})
        if (code == dtypeCode(torch, dtype))
            return dtype;
    return DType::Other;
}

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

AotiModel::AotiModel(const ModelFile& file, const std::string& device)
    : Model(*file.getSpec()), torch(TorchApi::get()) {
    const AotiPackage package = AotiPackage::read(file, device);
    compiledBy = package.torchVersion;
    if (!spec.hasOutput("forces"))
        throw ModelError("The package's spec has no output 'forces'; a compiled model must give them. Export it with "
                         "openmmnnp.export, which adds them.");
    const std::string path = folder.write("model.so", file.getArchive().read(package.libraryEntry));
    try {
        open(path, device);
    } catch (...) {
        if (container != nullptr)
            destroy(container);
        if (library != nullptr)
            dlclose(library);
        throw;
    }
}

AotiModel::~AotiModel() {
    destroy(container);
    dlclose(library);
}

void AotiModel::open(const std::string& libraryPath, const std::string& device) {
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
    check(create(&container, 1, device.c_str(), folder.getPath().c_str()), "The model could not be set up");
    size_t numInputs = 0, numOutputs = 0;
    check(getNumInputs(container, &numInputs), "The number of inputs could not be read");
    check(getNumOutputs(container, &numOutputs), "The number of outputs could not be read");
    if (numInputs != spec.inputs.size() || numOutputs != spec.outputs.size())
        throw ModelError("The compiled model has " + std::to_string(numInputs) + " inputs and " +
                         std::to_string(numOutputs) + " outputs, but its spec lists " +
                         std::to_string(spec.inputs.size()) + " and " + std::to_string(spec.outputs.size()) +
                         "; export the model again.");
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

void AotiModel::run(const std::vector<TensorView>& inputs, const Request&, OutputReader& reader) {
    const int32_t cpu = torch.deviceTypeCpu();
    for (size_t i = 0; i < inputs.size(); i++) {
        const TensorView& input = inputs[i];
        check(torch.createTensorFromBlob(input.data, input.rank, input.sizes, input.strides, 0,
                                         dtypeCode(torch, input.dtype), cpu, 0, &inputHandles[i]),
              "An input could not be wrapped");
    }
    const TensorOwner owner(torch, outputHandles);
    check(runContainer(container, inputHandles.data(), inputHandles.size(), outputHandles.data(), outputHandles.size(),
                       nullptr, nullptr),
          "The model failed");
    for (size_t i = 0; i < outputHandles.size(); i++)
        view(outputHandles[i], outputViews[i]);
    reader.read(outputViews);
}

void AotiModel::view(AtenTensorHandle tensor, TensorView& view) const {
    int64_t rank = 0, *sizes = nullptr, *strides = nullptr;
    int32_t dtype = 0, device = 0;
    const bool failed = torch.getDim(tensor, &rank) || torch.getSizes(tensor, &sizes) ||
                        torch.getStrides(tensor, &strides) || torch.getDtype(tensor, &dtype) ||
                        torch.getDeviceType(tensor, &device) || torch.getDataPtr(tensor, &view.data);
    if (failed || rank > TensorView::maxRank)
        throw ModelError("An output of the model could not be read.");
    if (device != torch.deviceTypeCpu())
        throw ModelError("An output of the model is not on the CPU, where the model was run.");
    view.rank = static_cast<int>(rank);
    view.dtype = dtypeFromCode(torch, dtype);
    for (int axis = 0; axis < view.rank; axis++) {
        view.sizes[axis] = sizes[axis];
        view.strides[axis] = strides[axis];
    }
}

int AotiModel::getNumThreads() const {
    return torch.maxThreads ? torch.maxThreads() : 0;
}

std::string AotiModel::getTorchVersion() const {
    return torch.getVersion();
}

} // namespace openmmnnp
