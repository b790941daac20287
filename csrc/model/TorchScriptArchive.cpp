#include "model/TorchScriptArchive.h"
#include "openmmnnp/ModelSpec.h"

namespace openmmnnp {

namespace {

const std::string suffix = ".py";

constexpr int maxBrackets = 200;

/** torch's parser calls itself for each bracket, until the stack ends and with it the process. */
bool nestsTooDeeply(const std::string& code) {
    int depth = 0;
    for (const char c : code) {
        if (c == '(' || c == '[' || c == '{')
            depth++;
        else if (c == ')' || c == ']' || c == '}')
            depth--;
        if (depth > maxBrackets)
            return true;
    }
    return false;
}

bool isCode(const std::string& entry) {
    return entry.size() > suffix.size() && entry.compare(entry.size() - suffix.size(), suffix.size(), suffix) == 0;
}

} // namespace

void checkTorchScriptArchive(const Archive& archive) {
    if (archive.contains("model.json"))
        throw ModelError("The TorchScript program is in the format from before torch 1.0 ('model.json'); load it with "
                         "torch.jit.load and save it again.");
    for (const std::string& entry : archive.getNames()) {
        if (!isCode(entry))
            continue;
        const std::string code = archive.read(entry);
        if (nestsTooDeeply(code))
            throw ModelError("The TorchScript program nests more than " + std::to_string(maxBrackets) + " brackets ('" +
                             entry + "'); no exporter writes that. Export the model again.");
        if (code.find("__setstate__") != std::string::npos)
            throw ModelError("The TorchScript program has a method __setstate__ ('" + entry +
                             "'), which would run while the file is read; no potential needs it. Take it out and "
                             "export the model again.");
    }
}

} // namespace openmmnnp
