#ifndef OPENMMNNP_TORCH_SCRIPT_MODEL_H_
#define OPENMMNNP_TORCH_SCRIPT_MODEL_H_

#include "model/Model.h"
#include "model/ModelCache.h"
#include "model/ModelFile.h"
#include <torch/script.h>

namespace openmmnnp {

/**
 * A TorchScript program (.pt), frozen.  Where it does not give forces or parameter derivatives, they come from
 * autograd, with respect to positions, mm_positions and parameters only.  The energy of one that gives collective
 * variables alone is the sum of its first output.
 */
class TorchScriptModel : public Model {
public:
    TorchScriptModel(const ModelFile& file, const ModelSpec& spec, const ModelDevice& device);
    void copyOutput(int output, const TensorView& target) override;
    int getNumThreads() const override;
    std::string getTorchVersion() const override;

protected:
    void run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) override;

private:
    std::vector<torch::jit::IValue> wrap(const std::vector<TensorView>& inputs,
                                         const std::vector<torch::Tensor>& leaves) const;
    std::vector<torch::Tensor> makeLeaves(const std::vector<TensorView>& inputs, const Request& request) const;
    void unpack(const torch::jit::IValue& result);
    void differentiate(const std::vector<torch::Tensor>& leaves);
    void differentiateComponents(const torch::Tensor& positions, int output);

    torch::jit::Module module;
    std::vector<torch::Tensor> results; // one per output name; undefined if not asked for
    std::vector<TensorView> views;
    int positionsInput;
    bool derivesEnergy;
    std::vector<int> forcesOfOutputs;   // by output of the program; -1: the program gives them, or there are none
    std::vector<int> derivativeOutputs; // by input; -1 for what nothing is a derivative by
    std::vector<bool> derives;          // by input: whether autograd gives that output
};

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_SCRIPT_MODEL_H_
