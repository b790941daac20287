#include "model/torchscript/TorchScriptModel.h"
#include "model/TorchScope.h"
#include "model/torchscript/CheckProgram.h"
#include "model/torchscript/CheckWeights.h"
#include "model/torchscript/Libraries.h"
#include "model/torchscript/TorchError.h"
#include <ATen/Parallel.h>
#include <algorithm>
#include <sstream>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/version.h>

namespace openmmnnp {

namespace {

const std::string parameterPrefix = "parameters.";
const std::string derivativePrefix = "parameter_derivative.";

/** The output that is the energy's derivative by an input, or minus that; "" if there is none. */
std::string derivativeBy(const std::string& input) {
    if (input == "positions")
        return "forces";
    if (input == "mm_positions")
        return "mm_forces";
    const bool isParameter = input.compare(0, parameterPrefix.size(), parameterPrefix) == 0;
    return isParameter ? derivativePrefix + input.substr(parameterPrefix.size()) : "";
}

bool isForces(const std::string& output) {
    return output == "forces" || output == "mm_forces";
}

torch::Dtype torchDtype(DType dtype) {
    switch (dtype) {
    case DType::Float32:
        return torch::kFloat32;
    case DType::Float64:
        return torch::kFloat64;
    case DType::Int32:
        return torch::kInt32;
    default:
        return torch::kInt64;
    }
}

DType dtypeOf(const torch::Tensor& tensor) {
    for (const DType dtype : {DType::Float32, DType::Float64, DType::Int32, DType::Int64})
        if (tensor.scalar_type() == torchDtype(dtype))
            return dtype;
    return DType::Other;
}

torch::Device torchDevice(const ModelDevice& device) {
    return device.isCuda ? torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(device.index)) : torch::kCPU;
}

torch::Tensor wrapView(const TensorView& view, const ModelDevice& modelDevice) {
    const torch::Device device = torchDevice(modelDevice);
    return at::for_blob(view.data, torch::IntArrayRef(view.sizes, view.rank))
        .options(torch::device(device).dtype(torchDtype(view.dtype)))
        .target_device(device)
        .make_tensor();
}

const std::string bakedDevice =
    "a device is baked into its code. Take the device from the inputs (positions.device) and export it again.";

/** The sentence for what went wrong inside the model. */
std::string describeFailure(const std::exception& error) {
    const std::string cause = causeOf(error);
    const bool devicesMixed =
        cause.find("on the same device") != std::string::npos || cause.find("different device") != std::string::npos;
    return "The model failed: " + cause + (devicesMixed ? ": " + bakedDevice : ".");
}

TensorView viewOf(const torch::Tensor& tensor, const std::string& name, const ModelDevice& device) {
    TensorView view;
    if (!tensor.defined())
        return view;
    if (tensor.device() != torchDevice(device))
        throw ModelError("The model returned '" + name + "' on the device " + tensor.device().str() +
                         ", but it was run on " + device.describe() + ": " + bakedDevice);
    if (tensor.layout() != torch::kStrided || tensor.dim() > TensorView::maxRank)
        throw ModelError("The model returned '" + name + "' that is not a dense tensor of at most 8 axes.");
    view.data = tensor.data_ptr();
    view.dtype = dtypeOf(tensor);
    view.rank = static_cast<int>(tensor.dim());
    std::copy_n(tensor.sizes().data(), view.rank, view.sizes);
    std::copy_n(tensor.strides().data(), view.rank, view.strides);
    return view;
}

/** Gives the results of an evaluation free, also if something went wrong. */
struct ClearAtEnd {
    std::vector<torch::Tensor>& tensors;
    ~ClearAtEnd() {
        std::fill(tensors.begin(), tensors.end(), torch::Tensor());
    }
};

/** Freezing removes detach() as if it did nothing, and with it the end that it puts to a gradient. */
bool detaches(const torch::jit::Module& module) {
    const auto graph = module.get_method("forward").graph()->copy();
    torch::jit::Inline(*graph);
    return graph->toString(false).find("aten::detach") != std::string::npos;
}

void checkSignature(const torch::jit::Module& module, const ModelSpec& spec) {
    const auto method = module.find_method("forward");
    if (!method)
        throw ModelError(
            "The TorchScript program has no method forward(), which is needed; save the module that has it.");
    const auto& arguments = method->function().getSchema().arguments();
    const size_t most = arguments.size() - 1, given = spec.inputs.size();
    const size_t least = std::count_if(arguments.begin() + 1, arguments.end(),
                                       [](const c10::Argument& a) { return !a.default_value(); });
    if (given >= least && given <= most)
        return;
    std::ostringstream text;
    text << "The model's forward() takes " << most << " argument" << (most == 1 ? "" : "s") << " (";
    for (size_t i = 1; i < arguments.size(); i++)
        text << (i > 1 ? ", " : "") << arguments[i].name();
    text << "), but " << given << (given == 1 ? " is" : " are") << " passed (";
    for (size_t i = 0; i < given; i++)
        text << (i > 0 ? ", " : "") << spec.inputs[i];
    text << "). For a model without a spec these are positions, the box if the force uses periodic boundary "
            "conditions, and the global parameters in the order added.";
    throw ModelError(text.str());
}

} // namespace

TorchScriptModel::TorchScriptModel(const ModelFile& file, const ModelSpec& modelSpec, const ModelDevice& device)
    : Model(modelSpec, device) {
    const TorchScope scope(device);
    std::istringstream stream(file.getBytes());
    try {
        loadLibraries(spec.libraries);
        module = torch::jit::load(stream, torchDevice(device));
        checkProgram(module, spec.libraries);
        checkWeights(module, file.getArchive());
        module.eval();
        for (torch::Tensor parameter : module.parameters())
            parameter.requires_grad_(false);
        checkSignature(module, spec);
        // Freezing looks into objects, which those of a library's classes do not allow.
        if (spec.libraries.empty() && !detaches(module))
            module = torch::jit::freeze(module);
    } catch (const ModelError&) {
        throw;
    } catch (const std::exception& error) {
        throw ModelError("The TorchScript program cannot be loaded: " + causeOf(error) + ".");
    }
    const auto& inputs = spec.inputs;
    positionsInput = static_cast<int>(std::find(inputs.begin(), inputs.end(), "positions") - inputs.begin());
    derivesEnergy = spec.energyUnit == ModelSpec::noEnergy && !spec.hasOutput("energy");
    if (derivesEnergy)
        outputNames.emplace_back("energy");
    for (const std::string& output : spec.outputs) {
        const std::string name = "forces." + output;
        const bool isDerived = spec.isVariable(output) && !spec.hasOutput(name);
        forcesOfOutputs.push_back(isDerived ? static_cast<int>(outputNames.size()) : -1);
        if (isDerived)
            outputNames.push_back(name);
    }
    // Forces come before derivatives in the outputs.
    for (const bool ofForces : {true, false})
        for (const std::string& input : inputs) {
            const std::string name = derivativeBy(input);
            if (isForces(name) == ofForces && !name.empty() && !spec.hasOutput(name))
                outputNames.push_back(name);
        }
    for (const std::string& input : inputs) {
        const std::string name = derivativeBy(input);
        derives.push_back(!name.empty() && !spec.hasOutput(name));
        derivativeOutputs.push_back(name.empty() ? -1 : findOutput(name));
    }
    results.resize(outputNames.size());
    views.resize(outputNames.size());
}

void TorchScriptModel::run(const std::vector<TensorView>& inputs, const Request& request, OutputReader& reader) {
    const TorchScope scope(device, request.stream);
    const ClearAtEnd clear{results};
    try {
        // The graph was optimized when it was frozen; torch's profiling executor would specialize it on shapes again
        // and again.
        const torch::jit::GraphOptimizerEnabledGuard unspecialized(false);
        const torch::AutoGradMode gradients(true);
        const std::vector<torch::Tensor> leaves = makeLeaves(inputs, request);
        unpack(module.forward(wrap(inputs, leaves)));
        if (request.forcesOf >= 0 && request.forces && forcesOfOutputs[request.forcesOf] >= 0)
            differentiateComponents(leaves[positionsInput], request.forcesOf);
        else
            differentiate(leaves);
    } catch (const ModelError&) {
        throw;
    } catch (const std::exception& error) {
        throw ModelError(describeFailure(error));
    }
    for (size_t i = 0; i < results.size(); i++)
        views[i] = viewOf(results[i], outputNames[i], device);
    reader.read(views);
}

void TorchScriptModel::copyOutput(int output, const TensorView& target) {
    const torch::NoGradGuard noGradients;
    wrapView(target, device).copy_(results[output], true);
}

/** Tensors of the inputs with respect to which something is differentiated; undefined for the others. */
std::vector<torch::Tensor> TorchScriptModel::makeLeaves(const std::vector<TensorView>& inputs,
                                                        const Request& request) const {
    std::vector<torch::Tensor> leaves(inputs.size());
    for (size_t i = 0; request.forces && i < inputs.size(); i++) {
        const bool isLeaf = request.forcesOf < 0
                                ? derives[i] && isForces(outputNames[derivativeOutputs[i]])
                                : static_cast<int>(i) == positionsInput && forcesOfOutputs[request.forcesOf] >= 0;
        if (isLeaf)
            leaves[i] = wrapView(inputs[i], device).requires_grad_();
    }
    if (request.derivatives != nullptr)
        for (const int input : *request.derivatives)
            if (derives[input])
                leaves[input] = wrapView(inputs[input], device).requires_grad_();
    return leaves;
}

std::vector<torch::jit::IValue> TorchScriptModel::wrap(const std::vector<TensorView>& inputs,
                                                       const std::vector<torch::Tensor>& leaves) const {
    std::vector<torch::jit::IValue> values;
    values.reserve(inputs.size());
    for (size_t i = 0; i < inputs.size(); i++)
        values.emplace_back(leaves[i].defined() ? leaves[i] : wrapView(inputs[i], device));
    return values;
}

/** One tensor, a tuple or list of tensors in the order of the spec, or a dictionary of tensors by name. */
void TorchScriptModel::unpack(const torch::jit::IValue& result) {
    const std::vector<std::string>& names = spec.outputs;
    std::vector<torch::jit::IValue> values;
    if (result.isGenericDict()) {
        const auto dictionary = result.toGenericDict();
        for (const std::string& name : names) {
            if (!dictionary.contains(name))
                throw ModelError("The model returned a dictionary without '" + name +
                                 "', which its spec lists as an output.");
            values.push_back(dictionary.at(name));
        }
    } else if (result.isTuple())
        values = result.toTupleRef().elements().vec();
    else if (result.isTensorList())
        for (const torch::Tensor& tensor : result.toTensorVector())
            values.emplace_back(tensor);
    else
        values.push_back(result);
    if (values.size() != names.size())
        throw ModelError("The model returned " + std::to_string(values.size()) + " value" +
                         (values.size() == 1 ? "" : "s") + ", but " + std::to_string(names.size()) +
                         (names.size() == 1 ? " (energy) is" : " are") + " needed" +
                         (names.size() == 2 && names[1] == "forces" ? " (energy, forces)" : "") +
                         ". A model without a spec that returns forces as well needs setOutputsForces(True).");
    for (size_t i = 0; i < values.size(); i++) {
        if (!values[i].isTensor())
            throw ModelError("The model returned '" + names[i] + "' that is a " + values[i].tagKind() +
                             ", but a tensor is needed.");
        results[i] = values[i].toTensor().resolve_neg(); // a view may carry its sign beside its numbers
    }
    if (derivesEnergy)
        results[findOutput("energy")] = results[0].to(torch::kFloat64).sum();
}

/** -d(component)/dr [...][n][3] of each component of an output [...]. */
void TorchScriptModel::differentiateComponents(const torch::Tensor& positions, int output) {
    const torch::Tensor& values = results[output];
    if (!values.requires_grad())
        throw ModelError("The model's output '" + outputNames[output] +
                         "' has no gradient (was it detached, rounded, or computed with .data, numpy or integers?), so "
                         "it cannot be a collective variable. Compute it with differentiable operations.");
    const std::vector<torch::Tensor> components = values.reshape({-1}).unbind();
    std::vector<torch::Tensor> rows;
    for (size_t i = 0; i < components.size(); i++) {
        const bool keepsGraph = i + 1 < components.size();
        const torch::Tensor gradient =
            torch::autograd::grad({components[i]}, {positions}, {}, keepsGraph, false, true)[0];
        rows.push_back(gradient.defined() ? -gradient : torch::zeros_like(positions));
    }
    std::vector<int64_t> shape = values.sizes().vec();
    shape.insert(shape.end(), positions.sizes().begin(), positions.sizes().end());
    results[forcesOfOutputs[output]] = torch::stack(rows).reshape(shape);
}

void TorchScriptModel::differentiate(const std::vector<torch::Tensor>& leaves) {
    std::vector<torch::Tensor> variables;
    std::vector<int> outputs;
    for (size_t i = 0; i < leaves.size(); i++)
        if (leaves[i].defined()) {
            variables.push_back(leaves[i]);
            outputs.push_back(derivativeOutputs[i]);
        }
    if (variables.empty())
        return;
    const bool sums = findOutput("energy") < 0;
    torch::Tensor& energy = results[findOutput(sums ? "atomic_energy" : "energy")];
    if (!sums && energy.numel() != 1)
        throw ModelError("The model returned an energy that is " + viewOf(energy, "energy", device).describe() +
                         ", but one number, float32 or float64 [], is needed.");
    if (!energy.requires_grad())
        throw ModelError("The model's energy has no gradient (was it detached, rounded, or computed with .data, numpy "
                         "or integers?), so no forces can be computed. "
                         "Compute it with differentiable operations, or return forces too.");
    const auto gradients = torch::autograd::grad({energy.sum()}, variables, {}, false, false, true);
    for (size_t i = 0; i < variables.size(); i++) {
        const torch::Tensor gradient = gradients[i].defined() ? gradients[i] : torch::zeros_like(variables[i]);
        results[outputs[i]] = isForces(outputNames[outputs[i]]) ? -gradient : gradient.resolve_neg();
    }
    energy = energy.detach();
}

int TorchScriptModel::getNumThreads() const {
    return at::get_num_threads();
}

std::string TorchScriptModel::getTorchVersion() const {
    return TORCH_VERSION;
}

} // namespace openmmnnp

/** The one function that the core takes from this library. */
extern "C" OPENMMNNP_EXPORT openmmnnp::Model* openmmnnpCreateTorchScriptModel(const openmmnnp::ModelFile& file,
                                                                              const openmmnnp::LoadOptions& options) {
    return new openmmnnp::TorchScriptModel(file, file.getSpec() ? *file.getSpec() : options.getContract(),
                                           openmmnnp::ModelDevice::parse(options.device));
}
