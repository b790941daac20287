#include "model/TorchApi.h"
#include "openmmnnp/TorchLibrary.h"
#include <cstdlib>
#include <dlfcn.h>
#include <mutex>

namespace openmmnnp {

namespace {

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
    take(library, "aoti_torch_abi_version", api.abiVersion);
    api.maxThreads = reinterpret_cast<int (*)()>(dlsym(library, "omp_get_max_threads"));
    api.setThreads = reinterpret_cast<void (*)(int)>(dlsym(library, "omp_set_num_threads"));
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

std::string TorchApi::getMinorVersion() const {
    const uint64_t version = abiVersion();
    return std::to_string(version >> 56 & 0xff) + "." + std::to_string(version >> 48 & 0xff);
}

std::string TorchApi::getVersion() const {
    return getMinorVersion() + "." + std::to_string(abiVersion() >> 40 & 0xff);
}

} // namespace openmmnnp
