#include "model/VersionedLibrary.h"
#include "model/TorchApi.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>
#include <dlfcn.h>
#include <filesystem>
#include <vector>

namespace openmmnnp {

namespace {

namespace fs = std::filesystem;

const std::string suffix = ".so";

fs::path ownFolder() {
    Dl_info info;
    dladdr(reinterpret_cast<const void*>(&TorchApi::get), &info);
    return fs::path(info.dli_fname).parent_path();
}

std::vector<std::string> findVersions(const fs::path& folder, const std::string& prefix) {
    std::vector<std::string> versions;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
        const std::string name = entry.path().filename();
        if (name.compare(0, prefix.size(), prefix) == 0)
            versions.push_back(name.substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
    }
    std::sort(versions.begin(), versions.end());
    return versions;
}

std::string list(const std::vector<std::string>& versions) {
    std::string text;
    for (const std::string& version : versions)
        text += (text.empty() ? "" : ", ") + version;
    return text.empty() ? "no version" : text;
}

} // namespace

VersionedLibrary::VersionedLibrary(const std::string& stem, const std::string& need, const std::string& alternative) {
    const TorchApi& torch = TorchApi::get();
    const std::string prefix = "lib" + stem + "-";
    const fs::path folder = ownFolder(), file = folder / (prefix + torch.getMinorVersion() + suffix);
    if (!fs::exists(file)) {
        const std::vector<std::string> versions = findVersions(folder, prefix);
        const std::string cure = versions.empty() ? "Build openmm-nnp beside this torch"
                                                  : "Run pip install \"torch==" + versions.back() + ".*\"";
        throw ModelError(need + " a library that is built for the minor version of torch: installed is torch " +
                         torch.getVersion() + ", and this openmm-nnp was built for torch " + list(versions) + ". " +
                         cure + ", or " + alternative);
    }
    path = file.string();
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        throw ModelError(need + " a library that cannot be loaded: " + dlerror() + ". Install openmm-nnp again.");
}

void* VersionedLibrary::find(const char* name) const {
    void* function = dlsym(library, name);
    if (function == nullptr)
        throw ModelError("The library '" + path + "' is not part of this openmm-nnp; install openmm-nnp again.");
    return function;
}

} // namespace openmmnnp
