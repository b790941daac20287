#include "model/torchscript/CheckWeights.h"
#include "openmmnnp/ModelSpec.h"
#include <map>
#include <set>
#include <torch/csrc/jit/api/function_impl.h>

namespace openmmnnp {

namespace {

/** Bytes of each piece of memory that holds a tensor, by its address: tensors may share one. */
using Storages = std::map<const void*, uint64_t>;

void add(const torch::Tensor& tensor, Storages& found) {
    if (tensor.defined() && tensor.has_storage() && tensor.storage().nbytes() > 0)
        found[tensor.storage().data()] = tensor.storage().nbytes();
}

void addConstants(const torch::jit::Block& block, Storages& found) {
    for (const torch::jit::Node* node : block.nodes()) {
        if (node->kind() == torch::jit::prim::Constant && node->hasAttribute(torch::jit::attr::value) &&
            node->kindOf(torch::jit::attr::value) == torch::jit::AttributeKind::t)
            add(node->t(torch::jit::attr::value), found);
        for (const torch::jit::Block* inner : node->blocks())
            addConstants(*inner, found);
    }
}

Storages findStorages(const torch::jit::Module& module) {
    Storages found;
    torch::jit::IValue(module._ivalue()).visit([&](const torch::jit::IValue& value) {
        if (value.isTensor())
            add(value.toTensor(), found);
        return false; // go on
    });
    for (torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions())
        if (torch::jit::GraphFunction* withGraph = torch::jit::tryToGraphFunction(*function))
            addConstants(*withGraph->graph()->block(), found);
    return found;
}

} // namespace

void checkWeights(const torch::jit::Module& module, const Archive& archive) {
    std::multiset<uint64_t> sizes = archive.getSizes("data/");
    sizes.merge(archive.getSizes("constants/"));
    for (const auto& [address, size] : findStorages(module)) {
        const auto entry = sizes.find(size);
        if (entry == sizes.end())
            throw ModelError("The TorchScript program has a tensor of " + std::to_string(size) +
                             " bytes, but the archive holds no entry of that size for it. Export the model again.");
        sizes.erase(entry);
    }
}

} // namespace openmmnnp
