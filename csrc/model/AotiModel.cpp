#include "model/AotiModel.h"
#include "model/TorchScope.h"
#include <algorithm>

namespace openmmnnp {

namespace {

const std::string derivativePrefix = "parameter_derivative.", forcesPrefix = "forces.";

bool isDerivative(const std::string& output) {
    return output == "forces" || output == "mm_forces" || output.compare(0, forcesPrefix.size(), forcesPrefix) == 0 ||
           output.compare(0, derivativePrefix.size(), derivativePrefix) == 0;
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

AotiModel::AotiModel(const ModelFile& file, const ModelDevice& device, int computeCapability)
    : Model(*file.getSpec(), device), torch(TorchApi::get()), outputHandles(outputNames.size()),
      outputViews(outputNames.size()) {
    const AotiPackage package = AotiPackage::read(file, device, computeCapability);
    if (!spec.hasOutput("forces"))
        throw ModelError("The package's spec has no output 'forces'; a compiled model must give them. Export it with "
                         "openmmnnp.export, which adds them.");
    if (spec.hasInput("mm_positions") && !spec.hasOutput("mm_forces"))
        throw ModelError("The package's spec has the input 'mm_positions' and no output 'mm_forces'; a compiled model "
                         "must give them. Export it with openmmnnp.export, which adds them.");
    if (!spec.hasOutput("energy") && !spec.hasOutput("atomic_energy"))
        throw ModelError(
            "The package's spec has no output 'energy'; a compiled model of collective variables must give "
            "it, their sum, to be checked with. Export it with openmmnnp.export, which adds it.");
    fullEntry = open(file, package, package.full, false);
    if (!package.energy.library.empty())
        energyEntry = open(file, package, package.energy, true);
}

AotiModel::Entry AotiModel::open(const ModelFile& file, const AotiPackage& package, const AotiPackage::Entry& entry,
                                 bool energyAlone) {
    Entry opened;
    for (size_t i = 0; i < outputNames.size(); i++)
        if (!energyAlone || !isDerivative(outputNames[i]))
            opened.outputs.push_back(static_cast<int>(i));
    opened.handles.resize(opened.outputs.size());
    opened.container =
        std::make_unique<AotiContainer>(file, package, entry, device, spec.inputs.size(), opened.outputs.size());
    return opened;
}

void AotiModel::run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) {
    const bool wantsDerivatives = request.forces || (request.derivatives != nullptr && !request.derivatives->empty());
    Entry& entry = wantsDerivatives || !hasEnergyEntry() ? fullEntry : energyEntry;
    const TorchScope scope(device, request.stream);
    const TensorOwner owner(torch, entry.handles);
    entry.container->run(inputs, request.stream, entry.handles);
    std::fill(outputHandles.begin(), outputHandles.end(), nullptr);
    std::fill(outputViews.begin(), outputViews.end(), TensorView());
    for (size_t i = 0; i < entry.handles.size(); i++) {
        const int output = entry.outputs[i];
        if (deviceOf(entry.handles[i]) != device)
            throw ModelError("The output '" + outputNames[output] + "' of the model is not on " + device.describe() +
                             ", where the model was run.");
        outputHandles[output] = entry.handles[i];
        outputViews[output] = viewOf(entry.handles[i]);
    }
    reader.read(outputViews);
}

void AotiModel::copyOutput(int output, const TensorView& target) {
    copyTensor(TorchTensor::wrap(target, device).get(), outputHandles[output]);
}

int AotiModel::getNumThreads() const {
    return torch.maxThreads ? torch.maxThreads() : 0;
}

std::string AotiModel::getTorchVersion() const {
    return torch.getVersion();
}

} // namespace openmmnnp
