#ifndef OPENMMNNP_AOTI_MODEL_H_
#define OPENMMNNP_AOTI_MODEL_H_

#include "model/AotiContainer.h"
#include "model/Model.h"
#include <memory>

namespace openmmnnp {

/**
 * An AOTInductor package (.pt2), run through C interfaces alone: AotiContainer for the model, TorchApi for tensors.
 *
 * Beside the entry with all outputs it may hold one without forces and parameter derivatives (`energy`), which serves
 * calls that want neither.
 */
class AotiModel : public Model {
public:
    /**
     * Check what the package says of itself, unpack its libraries (and the kernels beside them) and open them.
     * `computeCapability` of a CUDA device is as in LoadOptions.  Throws ModelError.
     */
    AotiModel(const ModelFile& file, const ModelDevice& device, int computeCapability);
    void copyOutput(int output, const TensorView& target) override;
    int getNumThreads() const override;
    std::string getTorchVersion() const override;
    bool hasEnergyEntry() const override {
        return energyEntry.container != nullptr;
    }

protected:
    void run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) override;

private:
    struct Entry {
        std::unique_ptr<AotiContainer> container;
        std::vector<int> outputs; // indices into outputNames
        std::vector<AtenTensorHandle> handles;
    };
    Entry open(const ModelFile& file, const AotiPackage& package, const AotiPackage::Entry& entry, bool energyAlone);

    const TorchApi& torch;
    Entry fullEntry, energyEntry;
    std::vector<AtenTensorHandle> outputHandles; // of the evaluation that is read; null: the entry does not give it
    std::vector<TensorView> outputViews;
};

} // namespace openmmnnp

#endif // OPENMMNNP_AOTI_MODEL_H_
