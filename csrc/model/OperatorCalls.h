#ifndef OPENMMNNP_OPERATOR_CALLS_H_
#define OPENMMNNP_OPERATOR_CALLS_H_

#include "model/TorchApi.h"
#include <string>
#include <vector>

namespace openmmnnp {

/** An operator that takes and gives tensors alone. */
struct TensorOperator {
    const char* name;
    int numInputs, numOutputs;
};

/** The operators that a package may call without their being compiled into it; null for another name. */
const TensorOperator* findTensorOperator(const std::string& name);

/**
 * Runs operators that torch's C interface has no function for, which is what a compiled model asks its caller to do.
 *
 * The model hands the pointer to torch, which calls the function as that of its own class
 * torch::aot_inductor::ProxyExecutor (torch/csrc/inductor/aoti_torch/proxy_executor.h): a virtual destructor, then this
 * function, must be the first virtual functions.
 */
class OperatorCalls {
public:
    /** `operators` in the order of the package's list of external nodes.  Throws ModelError if torch cannot call them.
     */
    explicit OperatorCalls(std::vector<const TensorOperator*> operators);
    virtual ~OperatorCalls() = default;
    /** Run the operator of a node.  `tensors` are its inputs, then its outputs, which are assigned. */
    virtual void call(int node, int numIntegers, int64_t* integers, int numTensors, AtenTensorHandle* tensors);

private:
    const TorchApi& torch;
    const std::vector<const TensorOperator*> operators;
};

} // namespace openmmnnp

#endif // OPENMMNNP_OPERATOR_CALLS_H_
