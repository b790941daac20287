#include "model/torchscript/CheckProgram.h"
#include "openmmnnp/ModelSpec.h"
#include <map>
#include <torch/csrc/jit/api/function_impl.h>

namespace openmmnnp {

namespace {

const std::map<std::string, std::string> operators = {
    {"aten::save", "writes files"},
    {"aten::from_file", "maps files"},
    {"mkldnn::data_ptr", "tells addresses in memory"},
    {"prim::PythonOp", "calls Python"},
    {"prim::IgnoredPythonOp", "calls Python"},
    {"prim::rpc_async", "calls other processes"},
    {"prim::rpc_sync", "calls other processes"},
    {"prim::rpc_remote", "calls other processes"},
};

const std::map<std::string, std::string> namespaces = {
    {"c10d", "talks to other processes"},
    {"_c10d_functional", "talks to other processes"},
    {"_c10d_functional_autograd", "talks to other processes"},
    {"_dtensor", "talks to other processes"},
    {"dist_c10d", "talks to other processes"},
    {"dist_rpc", "talks to other processes"},
    {"symm_mem", "shares memory with other processes"},
    {"debugprims", "reads files"},
    {"inductor", "reinterprets memory"},
};

const std::string* whyRefused(const std::string& operation, const std::string& space) {
    const auto found = operators.find(operation);
    if (found != operators.end())
        return &found->second;
    const auto foundSpace = namespaces.find(space);
    return foundSpace == namespaces.end() ? nullptr : &foundSpace->second;
}

void refuse(const std::string& operation, const std::string& space, const std::string& function) {
    if (const std::string* reason = whyRefused(operation, space))
        throw ModelError("The TorchScript program uses " + operation + " (in " + function + "), which " + *reason +
                         "; no potential needs it. Take it out and export the model again.");
}

/** Objects of classes that libraries register: __torch__.torch.classes.NAMESPACE.NAME. */
void checkType(const c10::Type& type, const std::string& function) {
    static const std::string prefix = "__torch__.torch.classes.";
    const auto* named = type.castRaw<c10::NamedType>();
    if (named == nullptr || !named->name() || named->name()->qualifiedName().compare(0, prefix.size(), prefix) != 0)
        return;
    const std::string name = named->name()->qualifiedName().substr(prefix.size());
    refuse("torch.classes." + name, name.substr(0, name.find('.')), function);
}

void checkBlock(const torch::jit::Block& block, const std::string& function);

void checkNode(const torch::jit::Node& node, const std::string& function) {
    refuse(node.kind().toQualString(), node.kind().ns().toUnqualString(), function);
    for (const torch::jit::Value* output : node.outputs())
        checkType(*output->type(), function);
    for (const torch::jit::Block* block : node.blocks())
        checkBlock(*block, function);
    for (const c10::Symbol name : node.attributeNames()) {
        if (node.kindOf(name) == torch::jit::AttributeKind::g)
            checkBlock(*node.g(name)->block(), function);
        if (node.kindOf(name) == torch::jit::AttributeKind::gs)
            for (const auto& graph : node.gs(name))
                checkBlock(*graph->block(), function);
    }
}

void checkBlock(const torch::jit::Block& block, const std::string& function) {
    for (const torch::jit::Value* input : block.inputs())
        checkType(*input->type(), function);
    for (const torch::jit::Node* node : block.nodes())
        checkNode(*node, function);
}

} // namespace

void checkProgram(const torch::jit::Module& module) {
    const auto program = module._ivalue()->compilation_unit();
    // Compiling one may define others.
    for (size_t i = 0; i < program->get_functions().size(); i++) {
        torch::jit::Function& function = *program->get_functions()[i];
        function.ensure_defined();
        if (torch::jit::GraphFunction* withGraph = torch::jit::tryToGraphFunction(function))
            checkBlock(*withGraph->graph()->block(), function.qualname().qualifiedName());
    }
}

} // namespace openmmnnp
