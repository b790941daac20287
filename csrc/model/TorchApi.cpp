#include "model/TorchApi.h"
#include "openmmnnp/TorchLibrary.h"
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <mutex>

namespace openmmnnp {

namespace {

namespace fs = std::filesystem;

std::mutex folderMutex;
std::string torchFolder;

std::string findFolder() {
    if (const char* fromEnvironment = std::getenv("OPENMMNNP_TORCH_LIB"))
        return fromEnvironment;
    const std::lock_guard<std::mutex> lock(folderMutex);
    return torchFolder;
}

void* openTorch() {
    // RTLD_GLOBAL: a compiled model takes torch's C functions from the global scope.
    if (void* loaded = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL))
        return loaded;
    const std::string folder = findFolder();
    if (folder.empty())
        throw ModelError("Running a model needs PyTorch, and none was found: run 'pip install torch', or set "
                         "OPENMMNNP_TORCH_LIB to the folder of libtorch_cpu.so.");
    const std::string path = folder + "/libtorch_cpu.so";
    if (void* opened = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL))
        return opened;
    throw ModelError("Cannot load PyTorch from '" + path + "': " + dlerror() +
                     ". Install torch 2.11 or newer, or set OPENMMNNP_TORCH_LIB to the folder of libtorch_cpu.so.");
}

/** A library from the folder of libtorch_cpu; null, with a reason if it is there, if it cannot be opened. */
void* openBeside(const TorchApi& api, const std::string& name, std::string& problem) {
    if (void* loaded = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD | RTLD_GLOBAL))
        return loaded;
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(api.deviceTypeCpu), &info) == 0)
        return nullptr;
    const fs::path path = fs::path(info.dli_fname).parent_path() / name;
    std::error_code ignored;
    if (!fs::exists(path, ignored))
        return nullptr;
    void* opened = dlopen(path.c_str(), RTLD_LAZY | RTLD_GLOBAL);
    if (opened == nullptr)
        problem = dlerror();
    return opened;
}

template <class F>
void takeOptional(void* library, const char* name, F& function) {
    function = library == nullptr ? nullptr : reinterpret_cast<F>(dlsym(library, name));
}

template <class F>
void take(void* library, const char* name, F& function) {
    function = reinterpret_cast<F>(dlsym(library, name));
    if (function == nullptr)
        throw ModelError(std::string("The PyTorch that is installed lacks the function ") + name +
                         "; torch 2.11 or newer is needed: pip install --upgrade torch.");
}

TorchApi loadApi() {
    setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 0);
    void* library = openTorch();
    TorchApi api{};
    take(library, "aoti_torch_device_type_cpu", api.deviceTypeCpu);
    take(library, "aoti_torch_dtype_float32", api.dtypeFloat32);
    take(library, "aoti_torch_dtype_float64", api.dtypeFloat64);
    take(library, "aoti_torch_dtype_int32", api.dtypeInt32);
    take(library, "aoti_torch_dtype_int64", api.dtypeInt64);
    take(library, "aoti_torch_create_tensor_from_blob", api.createTensorFromBlob);
    take(library, "aoti_torch_delete_tensor_object", api.deleteTensor);
    take(library, "aoti_torch_get_data_ptr", api.getDataPtr);
    take(library, "aoti_torch_get_dim", api.getDim);
    take(library, "aoti_torch_get_sizes", api.getSizes);
    take(library, "aoti_torch_get_strides", api.getStrides);
    take(library, "aoti_torch_get_dtype", api.getDtype);
    take(library, "aoti_torch_get_device_type", api.getDeviceType);
    take(library, "aoti_torch_get_device_index", api.getDeviceIndex);
    take(library, "aoti_torch_empty_strided", api.emptyStrided);
    take(library, "aoti_torch_copy_", api.copy);
    take(library, "aoti_torch_abi_version", api.abiVersion);
    takeOptional(library, "aoti_torch_call_dispatcher", api.callDispatcher);
    takeOptional(library, "aoti_torch_new_tensor_handle", api.newTensorHandle);
    takeOptional(library, "aoti_torch_assign_tensors", api.assignTensors);
    api.maxThreads = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_max_threads"));
    api.setThreads = reinterpret_cast<void (*)(int)>(dlsym(library, "omp_set_num_threads"));
    takeOptional(library, "aoti_torch_device_type_cuda", api.deviceTypeCuda);
    void* cuda = openBeside(api, "libtorch_cuda.so", api.cudaProblem);
    std::string ignored; // a torch with CUDA links its packages to libtorch, also those for the CPU
    openBeside(api, "libtorch.so", ignored);
    takeOptional(cuda, "aoti_torch_create_cuda_guard", api.createCudaGuard);
    takeOptional(cuda, "aoti_torch_delete_cuda_guard", api.deleteCudaGuard);
    takeOptional(cuda, "aoti_torch_create_cuda_stream_guard", api.createCudaStreamGuard);
    takeOptional(cuda, "aoti_torch_delete_cuda_stream_guard", api.deleteCudaStreamGuard);
    return api;
}

} // namespace

void setTorchLibraryFolder(const std::string& folder) {
    const std::lock_guard<std::mutex> lock(folderMutex);
    torchFolder = folder;
}

const TorchApi& TorchApi::get() {
    static const TorchApi api = loadApi();
    return api;
}

void TorchApi::requireCuda() const {
    if (deviceTypeCuda && createCudaGuard && deleteCudaGuard && createCudaStreamGuard && deleteCudaStreamGuard)
        return;
    if (!cudaProblem.empty())
        throw ModelError("torch " + getVersion() + "'s library for CUDA cannot be loaded: " + cudaProblem +
                         ". Install torch with CUDA again, or choose another Platform.");
    throw ModelError("The model is to run on a CUDA device, but torch " + getVersion() +
                     " is installed without CUDA: run pip install --force-reinstall 'torch==" + getVersion() +
                     "' --index-url https://download.pytorch.org/whl/cu130, or choose another Platform.");
}

std::string TorchApi::getMinorVersion() const {
    const uint64_t version = abiVersion();
    return std::to_string(version >> 56 & 0xff) + "." + std::to_string(version >> 48 & 0xff);
}

std::string TorchApi::getVersion() const {
    return getMinorVersion() + "." + std::to_string(abiVersion() >> 40 & 0xff);
}

} // namespace openmmnnp
