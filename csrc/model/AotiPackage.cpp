#include "model/AotiPackage.h"
#include "model/StrictJson.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <sstream>
#include <sys/utsname.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace openmmnnp {

namespace {

using Json = nlohmann::json;

const std::string energyFolder = "data/aotinductor/energy/";

bool endsWith(const std::string& text, const std::string& suffix) {
    return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

bool startsWith(const std::string& text, const std::string& prefix) {
    return text.compare(0, prefix.size(), prefix) == 0;
}

Json readJson(const Archive& archive, const std::string& entry) {
    return parseJsonObject(archive.read(entry), "The package's entry '" + entry + "'");
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

/** Which operator a node of the list calls. */
Json findTarget(const Json& node) {
    const Json* found = &node;
    for (const char* key : {"node", "target"}) {
        const auto value = found->is_object() ? found->find(key) : found->end();
        if (value == found->end())
            return "unnamed";
        found = &*value;
    }
    return *found;
}

std::vector<const TensorOperator*> readOperators(const Archive& archive, const std::string& entry) {
    const Json json = readJson(archive, entry);
    std::vector<const TensorOperator*> operators;
    std::string unknown;
    for (const Json& node : json.value("nodes", Json::array())) {
        const Json target = findTarget(node);
        operators.push_back(findTensorOperator(target.is_string() ? target.get<std::string>() : ""));
        if (operators.back() == nullptr)
            unknown += " " + target.dump();
    }
    if (!unknown.empty())
        throw ModelError("The package calls operators that are not compiled into it (" + unknown.substr(1) +
                         "), which needs a proxy executor; write the model with operators that Inductor compiles, or "
                         "use TorchScript.");
    return operators;
}

#if defined(__x86_64__)
/** Does the CPU have AMX tiles, and does the system keep their state?  clang's __builtin_cpu_supports lacks the name.
 */
bool hasTiles() {
    constexpr unsigned amxTile = 1 << 24, osxsave = 1 << 27, tileState = 3 << 17; // of CPUID 7 and 1, of XCR0
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & osxsave) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & amxTile))
        return false;
    unsigned kept = 0, high = 0;
    asm("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    return (kept & tileState) == tileState;
}

bool cpuSupports(const std::string& instructionSet) {
    if (instructionSet == "AVX2")
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (instructionSet == "AVX512")
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
    if (instructionSet == "AVX512_VNNI")
        return __builtin_cpu_supports("avx512vnni");
    if (instructionSet == "AMX_TILE")
        return hasTiles();
    return instructionSet == "INVALID_VEC_ISA"; // compiled without vector instructions
}
#else
bool cpuSupports(const std::string&) {
    return true;
}
#endif

std::string describeCapability(int capability) {
    return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

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

/** The C interface of a package holds within a major version from 2.11 on; "" is an exporter that does not say. */
void checkTorchVersion(const std::string& compiledBy) {
    int major = 0, minor = 0;
    if (compiledBy.empty() ||
        (std::sscanf(compiledBy.c_str(), "%d.%d", &major, &minor) == 2 && major == 2 && minor >= 11))
        return;
    throw ModelError("The package was compiled by torch " + compiledBy.substr(0, 40) +
                     ", but torch 2.11 or a later 2.x is needed; export the model again with the torch that is "
                     "installed.");
}

bool isKernel(const std::string& entry) {
    return endsWith(entry, ".cubin") || endsWith(entry, ".fatbin");
}

/** They are written into one folder, so their file names must differ from each other and from the library's. */
void addKernel(std::vector<std::string>& kernels, const std::string& entry) {
    const std::string name = entry.substr(entry.rfind('/'));
    for (const std::string& other : kernels)
        if (other.substr(other.rfind('/')) == name)
            throw ModelError("The package holds two kernels of one file name ('" + other + "', '" + entry +
                             "'); compile one model per package.");
    kernels.push_back(entry);
}

/**
 * Machine code for a GPU runs on the same major architecture from its minor one on; a .fatbin also holds code that is
 * translated for later ones.
 */
void checkArchitecture(const Json& metadata, const std::vector<std::string>& kernels, int here) {
    const std::string written = text(metadata, "AOTI_COMPUTE_CAPABILITY");
    if (here == 0 || written.empty() || written.find_first_not_of("0123456789") != std::string::npos)
        return;
    const int there = std::stoi(written.substr(0, 6));
    const bool translates = std::any_of(kernels.begin(), kernels.end(),
                                        [](const std::string& entry) { return endsWith(entry, ".fatbin"); });
    if (here < there || (here / 10 != there / 10 && !translates))
        throw ModelError("The package was compiled for GPUs of compute capability " + describeCapability(there) +
                         ", but this one has " + describeCapability(here) + "; export the model on this machine.");
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

/** Put an entry of the archive where it belongs. */
void sort(const Archive& archive, const std::string& name, AotiPackage::Entry& entry) {
    if (endsWith(name, ".so")) {
        if (!entry.library.empty())
            throw ModelError("The package holds more than one library ('" + entry.library + "', '" + name +
                             "'); compile one model per package.");
        entry.library = name;
    } else if (endsWith(name, "_metadata.json"))
        entry.metadata = name;
    else if (endsWith(name, ".json")) {
        if (!entry.operatorList.empty())
            throw ModelError("The package holds more than one list of operators ('" + entry.operatorList + "', '" +
                             name + "'); compile one model per package.");
        entry.operatorList = name;
        entry.operators = readOperators(archive, name);
    } else if (isKernel(name))
        addKernel(entry.kernels, name);
}

/** The version of torch that compiled it; throws if it can't run here. */
std::string check(const Archive& archive, const AotiPackage::Entry& entry, const ModelDevice& device,
                  int computeCapability) {
    if (entry.library.empty())
        throw ModelError("The package holds no compiled library (.so); export the model again.");
    if (entry.metadata.empty())
        throw ModelError(
            "The package holds no metadata (*_metadata.json), so its device is unknown; export the model again.");
    const Json metadata = readJson(archive, entry.metadata);
    const std::string torchVersion = text(metadata, "openmmnnp_torch_version");
    checkTorchVersion(torchVersion);
    const std::string compiledFor = text(metadata, "AOTI_DEVICE_KEY"), wanted = device.isCuda ? "cuda" : "cpu";
    if (compiledFor != wanted)
        throw ModelError("The package was compiled for the device '" + compiledFor +
                         "', but this Context runs the model on '" + wanted +
                         "'; export the model for that device, or choose another Platform.");
    checkMachine(metadata);
    if (device.isCuda)
        checkArchitecture(metadata, entry.kernels, computeCapability);
    checkElf(archive.read(entry.library), entry.library);
    return torchVersion;
}

} // namespace

AotiPackage AotiPackage::read(const ModelFile& file, const ModelDevice& device, int computeCapability) {
    const Archive& archive = file.getArchive();
    AotiPackage package;
    for (const std::string& name : archive.getNames()) {
        refuseWeightsOutside(name);
        if (startsWith(name, "data/aotinductor/"))
            sort(archive, name, startsWith(name, energyFolder) ? package.energy : package.full);
    }
    package.torchVersion = check(archive, package.full, device, computeCapability);
    if (!package.energy.library.empty())
        check(archive, package.energy, device, computeCapability);
    return package;
}

} // namespace openmmnnp
