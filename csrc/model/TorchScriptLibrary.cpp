#include "model/TorchScriptLibrary.h"
#include "model/VersionedLibrary.h"

namespace openmmnnp {

const TorchScriptLibrary& TorchScriptLibrary::get() {
    static const TorchScriptLibrary library;
    return library;
}

TorchScriptLibrary::TorchScriptLibrary() {
    const VersionedLibrary library("OpenMMNNPTorch", "TorchScript models (.pt) need",
                                   "use a package (.pt2), which works regardless.");
    library.take("openmmnnpCreateTorchScriptModel", create);
}

std::shared_ptr<Model> TorchScriptLibrary::load(const ModelFile& file, const LoadOptions& options) const {
    return std::shared_ptr<Model>(create(file, options));
}

} // namespace openmmnnp
