#include "model/torchscript/Libraries.h"
#include "openmmnnp/ModelSpec.h"
#include <ATen/Parallel.h>
#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <sstream>
#include <torch/version.h>

namespace openmmnnp {

namespace {

namespace fs = std::filesystem;

const std::string minor = std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR);

struct Library {
    std::string name, package;
    std::vector<fs::path> files;
};

/** In the order in which they need each other. */
const std::vector<Library> libraries = {
    {"metatensor",
     "metatensor-torch",
     {"metatensor/lib/libmetatensor.so", "metatensor_torch/torch-" + minor + "/lib/libmetatensor_torch.so"}},
    {"metatomic", "metatomic-torch", {"metatomic/torch/torch-" + minor + "/lib/libmetatomic_torch.so"}},
};

fs::path torchFolder() {
    Dl_info info;
    dladdr(reinterpret_cast<const void*>(static_cast<int (*)()>(&at::get_num_threads)), &info);
    return fs::path(info.dli_fname).parent_path();
}

std::vector<fs::path> searchedFolders() {
    std::vector<fs::path> folders;
    const char* extensions = std::getenv("OPENMMNNP_EXTENSIONS");
    std::istringstream stream(extensions == nullptr ? "" : extensions);
    for (std::string folder; std::getline(stream, folder, ':');)
        if (!folder.empty())
            folders.emplace_back(folder);
    folders.push_back(torchFolder().parent_path().parent_path()); // of <site-packages>/torch/lib
    return folders;
}

fs::path find(const fs::path& file, const std::string& package) {
    std::string searched;
    std::error_code ignored;
    for (const fs::path& folder : searchedFolders()) {
        for (const fs::path& candidate : {folder / file, folder / file.filename()})
            if (fs::exists(candidate, ignored))
                return candidate;
        searched += (searched.empty() ? "'" : ", '") + folder.string() + "'";
    }
    throw ModelError("The model needs the library " + file.filename().string() + " for torch " + minor +
                     ", and there is none in " + searched + ": run pip install --upgrade " + package +
                     " 'torch==" + TORCH_VERSION + "', or name its folder in OPENMMNNP_EXTENSIONS.");
}

void open(const fs::path& path, const std::string& package) {
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr)
        throw ModelError("The library " + path.string() + " cannot be loaded: " + dlerror() +
                         ". Run pip install --force-reinstall --no-deps " + package + ".");
}

bool isLoaded(const fs::path& file) {
    return dlopen(file.filename().c_str(), RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL) != nullptr;
}

} // namespace

void loadLibraries(const std::vector<std::string>& names) {
    std::vector<Library> needed;
    for (const Library& library : libraries)
        if (std::find(names.begin(), names.end(), library.name) != names.end())
            needed.push_back(library);
    for (const Library& library : needed) {
        // They need libtorch.so, which they may look for in another folder than torch's.
        dlopen((torchFolder() / "libtorch.so").c_str(), RTLD_NOW | RTLD_GLOBAL);
        const std::string& package = needed.back().package; // brings the others
        for (const fs::path& file : library.files)
            if (!isLoaded(file))
                open(find(file, package), package);
    }
}

} // namespace openmmnnp
