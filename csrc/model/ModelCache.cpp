#include "model/ModelCache.h"
#include "model/AotiModel.h"
#include "model/FreedMemory.h"
#include "model/NativeCode.h"
#include "model/References.h"
#include "model/TorchScriptLibrary.h"
#include "openmmnnp/InterpreterLock.h"
#include <map>
#include <mutex>

namespace openmmnnp {

namespace {

std::string cacheKey(const ModelFile& file, const LoadOptions& options) {
    std::string key = file.getHash() + " " + options.device + (options.checkReferences ? "" : " unchecked");
    if (!file.getSpec()) {
        key += " " + options.dtype + (options.periodic ? " periodic" : "") + (options.outputsForces ? " forces" : "");
        for (const std::string& name : options.parameters)
            key += " " + name;
    }
    return key;
}

std::shared_ptr<Model> load(const ModelFile& file, const LoadOptions& options) {
    if (!ModelDevice::parse(options.device).isCuda)
        keepFreedMemory();
    std::shared_ptr<Model> model;
    if (file.getFormat() == ModelFile::Format::AotInductor) {
        admitNativeCode(file);
        model = std::make_shared<AotiModel>(file, ModelDevice::parse(options.device), options.computeCapability);
    } else
        model = TorchScriptLibrary::get().load(file, options);
    if (options.checkReferences)
        checkReferences(*model);
    return model;
}

} // namespace

ModelSpec LoadOptions::getContract() const {
    ModelSpec spec;
    spec.dtype = dtype;
    spec.inputs = {"positions"};
    if (periodic)
        spec.inputs.emplace_back("box");
    for (const std::string& name : parameters)
        spec.inputs.push_back("parameters." + name);
    spec.outputs = {"energy"};
    if (outputsForces)
        spec.outputs.emplace_back("forces");
    return spec;
}

std::shared_ptr<Model> loadModel(const ModelFile& file, const LoadOptions& options) {
    static std::mutex mutex;
    static std::map<std::string, std::weak_ptr<Model>> models;
    const WithoutInterpreterLock unlocked;
    const std::lock_guard<std::mutex> lock(mutex);
    std::weak_ptr<Model>& entry = models[cacheKey(file, options)];
    std::shared_ptr<Model> model = entry.lock();
    if (!model)
        entry = model = load(file, options);
    return model;
}

} // namespace openmmnnp
