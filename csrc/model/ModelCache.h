#ifndef OPENMMNNP_MODEL_CACHE_H_
#define OPENMMNNP_MODEL_CACHE_H_

#include "model/Model.h"
#include "model/ModelFile.h"
#include <memory>
#include <string>
#include <vector>

namespace openmmnnp {

/** Where a model is loaded, and what a file without a spec leaves open. */
struct OPENMMNNP_EXPORT LoadOptions {
    std::string device = "cpu"; // or "cuda:N"
    int computeCapability = 0;  // of a CUDA device, ten times major plus minor; 0: packages are not checked for it
    bool checkReferences = true;
    // Only for a TorchScript file without a spec (openmm-torch's contract):
    std::string dtype = "float64";
    bool periodic = false, outputsForces = false;
    std::vector<std::string> parameters;

    /** The spec that openmm-torch's contract amounts to. */
    ModelSpec getContract() const;
};

/**
 * The model of a file on a device: loaded once per process, shared by its Contexts, unloaded with the last of them.
 * The references of its spec are evaluated when it is loaded.  Throws ModelError.
 */
OPENMMNNP_EXPORT std::shared_ptr<Model> loadModel(const ModelFile& file, const LoadOptions& options);

} // namespace openmmnnp

#endif // OPENMMNNP_MODEL_CACHE_H_
