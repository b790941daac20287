#ifndef OPENMMNNP_TORCH_SCRIPT_LIBRARY_H_
#define OPENMMNNP_TORCH_SCRIPT_LIBRARY_H_

#include "model/Model.h"
#include "model/ModelCache.h"
#include <memory>

namespace openmmnnp {

/** The library libOpenMMNNPTorch-<minor>.so, which is built for one minor release of torch and opened when first used.
 */
class TorchScriptLibrary {
public:
    /** Throws ModelError if there is none for the torch that is installed; it says for which there are. */
    static const TorchScriptLibrary& get();
    std::shared_ptr<Model> load(const ModelFile& file, const LoadOptions& options) const;

private:
    TorchScriptLibrary();
    Model* (*create)(const ModelFile&, const LoadOptions&);
};

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_SCRIPT_LIBRARY_H_
