#include "model/TorchScriptLibrary.h"
#include "model/TorchApi.h"
#include <algorithm>
#include <dlfcn.h>
#include <filesystem>

namespace openmmnnp {

namespace {

namespace fs = std::filesystem;

const std::string prefix = "libOpenMMNNPTorch-";
const std::string suffix = ".so";

fs::path ownFolder() {
    Dl_info info;
    dladdr(reinterpret_cast<const void*>(&loadModel), &info);
    return fs::path(info.dli_fname).parent_path();
}

std::string listVersions(const fs::path& folder) {
    std::vector<std::string> versions;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename();
        if (name.compare(0, prefix.size(), prefix) == 0)
            versions.push_back(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
    }
    std::sort(versions.begin(), versions.end());
    std::string text;
    for (const std::string& version : versions)
        text += (text.empty() ? "" : ", ") + version;
    return text.empty() ? "no version" : text;
}

} // namespace

const TorchScriptLibrary& TorchScriptLibrary::get() {
    static const TorchScriptLibrary library;
    return library;
}

TorchScriptLibrary::TorchScriptLibrary() {
    const std::string minor = TorchApi::get().getMinorVersion();
    const fs::path folder = ownFolder(), path = folder / (prefix + minor + suffix);
    if (!fs::exists(path))
        throw ModelError("TorchScript models (.pt) need a library that is built for the minor version of torch: "
                         "installed is torch " +
                         TorchApi::get().getVersion() + ", and this openmm-nnp was built for torch " +
                         listVersions(folder) +
                         ". Install one of these, or use a package (.pt2), which works regardless.");
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        throw ModelError("The library for TorchScript models cannot be loaded: " + std::string(dlerror()));
    create = reinterpret_cast<decltype(create)>(dlsym(library, "openmmnnpCreateTorchScriptModel"));
    if (create == nullptr)
        throw ModelError("The library '" + path.string() +
                         "' is not part of this openmm-nnp; install openmm-nnp again.");
}

std::shared_ptr<Model> TorchScriptLibrary::load(const ModelFile& file, const LoadOptions& options) const {
    return std::shared_ptr<Model>(create(file, options));
}

} // namespace openmmnnp
