#include "model/torchscript/CheckProgram.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>
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
    {"metatensor::load", "reads files"},
    {"metatensor::load_block", "reads files"},
    {"metatensor::load_labels", "reads files"},
    {"metatensor::save", "writes files"},
    {"metatomic::check_atomistic_model", "reads files"},
    {"metatomic::load_model_extensions", "loads native code"},
    {"metatomic::load_system", "reads files"},
    {"metatomic::read_model_metadata", "reads files"},
    {"metatomic::save", "writes files"},
};

/** Methods of classes that libraries register; static ones cannot be in an archive. */
const std::map<std::string, std::string> methods = {
    {"load", "reads files"},
    {"save", "writes files"},
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

const std::string* find(const std::map<std::string, std::string>& reasons, const std::string& name) {
    const auto found = reasons.find(name);
    return found == reasons.end() ? nullptr : &found->second;
}

/** NAMESPACE.NAME of a class that a library registers, torch's own ones among them; empty for other types. */
std::string registeredName(const c10::Type& type) {
    static const std::string prefix = "__torch__.torch.classes.";
    const auto* named = type.castRaw<c10::NamedType>();
    const std::string name = named == nullptr || !named->name() ? "" : named->name()->qualifiedName();
    return name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : "";
}

/** Looks at a function of the program. */
class Checker {
public:
    Checker(const std::string& function, const std::vector<std::string>& libraries)
        : function(function), libraries(libraries) {}

    void checkBlock(const torch::jit::Block& block) const {
        for (const torch::jit::Value* input : block.inputs())
            checkType(*input->type());
        for (const torch::jit::Node* node : block.nodes())
            checkNode(*node);
    }

private:
    void checkNode(const torch::jit::Node& node) const {
        const std::string operation = node.kind().toQualString(), space = node.kind().ns().toUnqualString();
        refuseFor(find(operators, operation), operation);
        checkNamespace(operation, space);
        if (node.kind() == torch::jit::prim::CallMethod)
            checkMethod(*node.input(0)->type(), node.s(torch::jit::attr::name));
        for (const torch::jit::Value* output : node.outputs())
            checkType(*output->type());
        for (const torch::jit::Block* block : node.blocks())
            checkBlock(*block);
        for (const c10::Symbol name : node.attributeNames()) {
            if (node.kindOf(name) == torch::jit::AttributeKind::g)
                checkBlock(*node.g(name)->block());
            if (node.kindOf(name) == torch::jit::AttributeKind::gs)
                for (const auto& graph : node.gs(name))
                    checkBlock(*graph->block());
        }
    }

    void checkType(const c10::Type& type) const {
        const std::string name = registeredName(type);
        if (!name.empty())
            checkNamespace("torch.classes." + name, name.substr(0, name.find('.')));
    }

    void checkMethod(const c10::Type& type, const std::string& method) const {
        const std::string name = registeredName(type);
        if (!name.empty())
            refuseFor(find(methods, method), "torch.classes." + name + "." + method);
    }

    void checkNamespace(const std::string& operation, const std::string& space) const {
        refuseFor(find(namespaces, space), operation);
        if ((space == "metatensor" || space == "metatomic") &&
            std::find(libraries.begin(), libraries.end(), space) == libraries.end())
            throw ModelError("The TorchScript program uses " + operation + " (in " + function +
                             "), which it finds only where another model or Python loaded the library. Name '" + space +
                             "' among the \"libraries\" of its spec.");
    }

    void refuseFor(const std::string* reason, const std::string& operation) const {
        if (reason != nullptr)
            throw ModelError("The TorchScript program uses " + operation + " (in " + function + "), which " + *reason +
                             "; no potential needs it. Take it out and export the model again.");
    }

    const std::string function;
    const std::vector<std::string>& libraries;
};

} // namespace

void checkProgram(const torch::jit::Module& module, const std::vector<std::string>& libraries) {
    const auto program = module._ivalue()->compilation_unit();
    // Compiling one may define others.
    for (size_t i = 0; i < program->get_functions().size(); i++) {
        torch::jit::Function& function = *program->get_functions()[i];
        function.ensure_defined();
        if (torch::jit::GraphFunction* withGraph = torch::jit::tryToGraphFunction(function))
            Checker(function.qualname().qualifiedName(), libraries).checkBlock(*withGraph->graph()->block());
    }
}

} // namespace openmmnnp
