#include "model/OperatorCalls.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>

namespace openmmnnp {

namespace {

constexpr int mostTensors = 4;
const TensorOperator known[] = {{"aten::_linalg_det", 1, 3}}; // NequIP's volume of the cell, for the stress

} // namespace

const TensorOperator* findTensorOperator(const std::string& name) {
    const auto* found = std::find_if(std::begin(known), std::end(known),
                                     [&](const TensorOperator& candidate) { return name == candidate.name; });
    return found == std::end(known) ? nullptr : found;
}

OperatorCalls::OperatorCalls(std::vector<const TensorOperator*> list)
    : torch(TorchApi::get()), operators(std::move(list)) {
    if (!operators.empty() && !(torch.callDispatcher && torch.newTensorHandle && torch.assignTensors))
        throw ModelError(std::string("The package calls the operator ") + operators.front()->name + ", which torch " +
                         torch.getVersion() + " does not offer to C programs; install torch 2.13 or newer.");
}

void OperatorCalls::call(int node, int numIntegers, int64_t*, int numTensors, AtenTensorHandle* tensors) {
    const auto checkStatus = [](int32_t status) {
        if (status != 0)
            throw ModelError("An operator of the model failed; torch printed the reason to the standard error.");
    };
    const TensorOperator& called = *operators.at(node);
    if (numIntegers != 0 || numTensors != called.numInputs + called.numOutputs)
        throw ModelError(std::string("The model calls the operator ") + called.name +
                         " with other arguments than it has; export the model again.");
    uint64_t stack[mostTensors] = {}; // handles, that the dispatcher takes, then gives
    for (int i = 0; i < called.numInputs; i++)
        checkStatus(torch.newTensorHandle(tensors[i], reinterpret_cast<AtenTensorHandle*>(&stack[i])));
    checkStatus(torch.callDispatcher(called.name, "", stack));
    for (int i = 0; i < called.numOutputs; i++) {
        const auto result = reinterpret_cast<AtenTensorHandle>(stack[i]);
        checkStatus(torch.assignTensors(result, tensors[called.numInputs + i]));
        checkStatus(torch.deleteTensor(result));
    }
}

} // namespace openmmnnp
