#include "model/ModelFile.h"
#include "model/NequipPackage.h"
#include "model/TorchScriptArchive.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sha2.h>
#include <sys/stat.h>

namespace openmmnnp {

namespace {

const std::string specEntry = "extra/openmmnnp.json";
const std::string packageFolder = "data/aotinductor/";

const std::string& requireZip(const std::string& bytes) {
    if (bytes.empty())
        throw ModelError("The file is empty; a TorchScript file (.pt) or an AOTInductor package (.pt2) is needed.");
    if (!Archive::isZip(bytes))
        throw ModelError("The file is not a zip archive, so neither a TorchScript file (.pt, from torch.jit.save) nor "
                         "an AOTInductor package (.pt2). "
                         "A state dict or a pickled module is no model: export it with openmmnnp.export.");
    return bytes;
}

ModelFile::Format findFormat(const Archive& archive) {
    for (const std::string& name : archive.getNames())
        if (name.compare(0, packageFolder.size(), packageFolder) == 0)
            return ModelFile::Format::AotInductor;
    if (archive.contains("constants.pkl") && archive.contains("data.pkl"))
        return ModelFile::Format::TorchScript;
    throw ModelError("The archive holds neither a TorchScript program (code/, constants.pkl) nor an AOTInductor "
                     "package (data/aotinductor/). "
                     "A state dict or a pickled module is no model: export it with openmmnnp.export.");
}

std::string readFile(const std::string& path) {
    struct stat status;
    if (stat(path.c_str(), &status) != 0)
        throw ModelError("Cannot read the model file '" + path + "': " + std::strerror(errno) + ".");
    if (!S_ISREG(status.st_mode))
        throw ModelError("Cannot read the model file '" + path + "': it is not a regular file.");
    std::ifstream stream(path, std::ios::binary);
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    if (!stream.read(bytes.data(), status.st_size))
        throw ModelError("Cannot read the model file '" + path +
                         "': " + (errno ? std::strerror(errno) : "it is shorter than its size says") + ".");
    return bytes;
}

} // namespace

std::string sha256(const std::string& bytes) {
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    char text[SHA256_DIGEST_STRING_LENGTH];
    SHA256End(&context, text);
    return text;
}

std::shared_ptr<const ModelFile> ModelFile::open(const std::string& path) {
    return fromBytes(readFile(path), path);
}

std::shared_ptr<const ModelFile> ModelFile::fromBytes(std::string bytes, const std::string& path) {
    try {
        return std::shared_ptr<const ModelFile>(new ModelFile(std::move(bytes), path));
    } catch (const ModelError& error) {
        throw ModelError("Model file " + (path.empty() ? std::string("(given as bytes)") : "'" + path + "'") + ": " +
                         error.what());
    }
}

ModelFile::ModelFile(std::string content, const std::string& path)
    : bytes(std::move(content)), path(path), hash(sha256(bytes)), archive(requireZip(bytes)),
      format(findFormat(archive)) {
    if (format == Format::TorchScript)
        checkTorchScriptArchive(archive);
    const bool hasSpec = archive.contains(specEntry);
    if (hasSpec)
        specText = archive.read(specEntry);
    else if (format == Format::AotInductor)
        specText = nequipSpec(archive);
    if (hasSpec || !specText.empty())
        spec = ModelSpec::parse(specText);
    else if (format == Format::AotInductor)
        throw ModelError(
            "The package carries no ModelSpec (extra/openmmnnp.json), so its units, inputs and outputs are unknown. "
            "Write one with openmmnnp.spec.write_spec, or export the model with openmmnnp.export.");
}

std::string ModelFile::describe() const {
    return path.empty() ? "model " + hash.substr(0, 12) : "'" + path + "'";
}

} // namespace openmmnnp
