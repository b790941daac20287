#include "model/AotiPackage.h"
#include <cstring>
#include <elf.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <sys/utsname.h>

namespace openmmnnp {

namespace {

using Json = nlohmann::json;

bool endsWith(const std::string& text, const std::string& suffix) {
    return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

bool startsWith(const std::string& text, const std::string& prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

Json readJson(const Archive& archive, const std::string& entry) {
    Json json = Json::parse(archive.read(entry), nullptr, false);
    if (!json.is_object())
        throw ModelError("The package's entry '" + entry + "' is not a JSON object; export the model again.");
    return json;
}

std::string text(const Json& metadata, const char* key) {
    const auto found = metadata.find(key);
    return found != metadata.end() && found->is_string() ? found->get<std::string>() : "";
}

void refuseWeightsOutside(const std::string& entry) {
    if (endsWith(entry, "_weights.blob") || endsWith(entry, "weights_config.json") ||
        startsWith(entry, "data/weights/") || startsWith(entry, "data/constants/"))
        throw ModelError("The package keeps weights or constants outside its library ('" + entry +
                         "'); compile it with the weights inside, as openmmnnp.export does.");
}

void refuseCustomOperators(const Archive& archive, const std::string& entry) {
    const Json json = readJson(archive, entry);
    if (!json.contains("nodes") || json["nodes"].empty())
        return;
    std::string names;
    for (const Json& node : json["nodes"])
        if (node.contains("node") && node["node"].contains("target"))
            names += " " + node["node"]["target"].dump();
    throw ModelError(
        "The package calls operators that are not compiled into it (" + (names.empty() ? "unnamed" : names.substr(1)) +
        "), which needs a proxy executor; write the model with operators that Inductor compiles, or use TorchScript.");
}

#if defined(__x86_64__)
bool cpuSupports(const std::string& instructionSet) {
    if (instructionSet == "AVX2")
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (instructionSet == "AVX512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    if (instructionSet == "AVX512_VNNI")
        return __builtin_cpu_supports("avx512vnni");
    return true;
}
#else
bool cpuSupports(const std::string&) {
    return true;
}
#endif

void checkMachine(const Json& metadata) {
    utsname here{};
    uname(&here);
    const std::string machine = text(metadata, "AOTI_MACHINE"), platform = text(metadata, "AOTI_PLATFORM");
    if ((!machine.empty() && machine != here.machine) || (!platform.empty() && platform != "linux"))
        throw ModelError("The package was compiled for " + platform + " on " + machine + ", but this is linux on " +
                         here.machine + "; compile it here.");
    std::istringstream sets(text(metadata, "AOTI_CPU_ISA"));
    for (std::string set; sets >> set;)
        if (!cpuSupports(set))
            throw ModelError("The package was compiled for a CPU with " + set +
                             ", which this CPU lacks; compile it here.");
}

void checkElf(const std::string& library, const std::string& entry) {
    Elf64_Ehdr header;
    if (library.size() < sizeof(header) || std::memcmp(library.data(), ELFMAG, SELFMAG) != 0)
        throw ModelError("The package's library '" + entry + "' is not an ELF file; export the model again.");
    std::memcpy(&header, library.data(), sizeof(header));
#if defined(__x86_64__)
    constexpr int machine = EM_X86_64;
#else
    constexpr int machine = EM_AARCH64;
#endif
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != machine || header.e_type != ET_DYN)
        throw ModelError("The package's library '" + entry +
                         "' is not a shared library for this machine; compile the model here.");
}

} // namespace

AotiPackage AotiPackage::read(const ModelFile& file, const std::string& device) {
    const Archive& archive = file.getArchive();
    AotiPackage package;
    std::string metadataEntry;
    for (const std::string& entry : archive.getNames()) {
        refuseWeightsOutside(entry);
        if (!startsWith(entry, "data/aotinductor/"))
            continue;
        if (endsWith(entry, ".so")) {
            if (!package.libraryEntry.empty())
                throw ModelError("The package holds more than one library ('" + package.libraryEntry + "', '" + entry +
                                 "'); compile one model per package.");
            package.libraryEntry = entry;
        } else if (endsWith(entry, "_metadata.json"))
            metadataEntry = entry;
        else if (endsWith(entry, ".json"))
            refuseCustomOperators(archive, entry);
    }
    if (package.libraryEntry.empty())
        throw ModelError("The package holds no compiled library (.so); export the model again.");
    if (metadataEntry.empty())
        throw ModelError(
            "The package holds no metadata (*_metadata.json), so its device is unknown; export the model again.");
    const Json metadata = readJson(archive, metadataEntry);
    package.device = text(metadata, "AOTI_DEVICE_KEY");
    package.torchVersion = text(metadata, "openmmnnp_torch_version");
    const std::string wanted = device.substr(0, device.find(':'));
    if (package.device != wanted)
        throw ModelError("The package was compiled for the device '" + package.device +
                         "', but this Context runs the model on '" + wanted +
                         "'; export the model for that device, or choose another Platform.");
    checkMachine(metadata);
    checkElf(archive.read(package.libraryEntry), package.libraryEntry);
    return package;
}

} // namespace openmmnnp
