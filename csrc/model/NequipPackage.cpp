#include "model/NequipPackage.h"
#include "model/Elements.h"
#include "model/StrictJson.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

namespace openmmnnp {

namespace {

using Json = nlohmann::json;
using Names = std::map<std::string, std::string>;

const std::string packageFolder = "data/aotinductor/";
const std::string subject = "The package's metadata by nequip-compile has ";
const char* const inputsKey = "nequip_aoti_inputs";
const char* const outputsKey = "nequip_aoti_outputs";

// NequIP's names (nequip.data.AtomicDataDict), and ours.
const Names inputNames = {{"pos", "positions"},
                          {"edge_index", "edges"},
                          {"atom_types", "types"},
                          {"cell", "box"},
                          {"edge_cell_shift", "shifts"}};
const Names outputNames = {{"total_energy", "energy"},
                           {"atomic_energy", "atomic_energy"},
                           {"forces", "forces"},
                           {"stress", "stress"},
                           {"virial", "virial"}};
const Names outputUnits = {{"atomic_energy", "eV"}, {"stress", "eV/angstrom/angstrom/angstrom"}, {"virial", "eV"}};

std::vector<std::string> split(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

std::string text(const Json& metadata, const char* key) {
    const auto found = metadata.find(key);
    if (found == metadata.end() || !found->is_string())
        throw ModelError(subject + "no text '" + key + "', which is needed; compile the model again.");
    return found->get<std::string>();
}

std::vector<std::string> translate(const Json& metadata, const char* key, const Names& names) {
    std::vector<std::string> translated;
    for (const std::string& name : split(text(metadata, key))) {
        const auto found = names.find(name);
        if (found == names.end())
            throw ModelError(subject + "'" + name.substr(0, 80) + "' in '" + key +
                             "', which is not known; compile the model with --target ase, pair_nequip or "
                             "pair_allegro.");
        translated.push_back(found->second);
    }
    return translated;
}

double cutoff(const Json& metadata) {
    const std::string given = text(metadata, "r_max");
    const Json number = Json::parse(given, nullptr, false); // whatever the locale
    if (!number.is_number() || number.get<double>() <= 0)
        throw ModelError(subject + "'r_max': '" + given.substr(0, 80) +
                         "', but a positive number is needed; compile the model again.");
    return number.get<double>();
}

void addTypes(const Json& metadata, Json& spec) {
    Json types = Json::object(), elements = Json::array();
    for (const std::string& name : split(text(metadata, "type_names"))) {
        const int type = static_cast<int>(types.size());
        if (!types.emplace(name, type).second)
            throw ModelError(subject + "the type '" + name.substr(0, 80) + "' twice in 'type_names'; name it once.");
        if (const int element = findElement(name))
            elements.push_back(element);
    }
    spec["type_map"] = types;
    if (elements.size() == types.size())
        spec["elements"] = elements;
}

void addUnits(const std::vector<std::string>& outputs, Json& spec) {
    spec["output_units"] = Json::object();
    for (const std::string& output : outputs)
        if (const auto unit = outputUnits.find(output); unit != outputUnits.end())
            spec["output_units"][output] = unit->second;
}

Json makeSpec(const Json& metadata) {
    const auto operators = metadata.find("nequip_custom_ops_libs");
    if (operators != metadata.end())
        throw ModelError("The package calls operators of " + operators->dump().substr(0, 80) +
                         ", which need Python; compile the model without that modifier.");
    const auto inputs = translate(metadata, inputsKey, inputNames),
               outputs = translate(metadata, outputsKey, outputNames);
    const auto takes = [&](const char* name) { return std::find(inputs.begin(), inputs.end(), name) != inputs.end(); };
    Json spec = {{"format", 1},         {"name", "NequIP"},      {"length_unit", "angstrom"},
                 {"energy_unit", "eV"}, {"dtype", "float64"},    {"precision", text(metadata, "model_dtype")},
                 {"inputs", inputs},    {"outputs", outputs},    {"cutoff", cutoff(metadata)},
                 {"edges", "full"},     {"shifts", "real_cell"}, {"long_range", false}};
    addTypes(metadata, spec);
    addUnits(outputs, spec);
    if (takes("box"))
        spec["batched_box"] = true;
    if (!takes("shifts"))
        spec["periodic"] = false;
    return spec;
}

bool endsWith(const std::string& text, const std::string& suffix) {
    return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

} // namespace

std::string nequipSpec(const Archive& archive) {
    for (const std::string& entry : archive.getNames())
        if (entry.compare(0, packageFolder.size(), packageFolder) == 0 && endsWith(entry, "_metadata.json")) {
            const Json metadata = parseJsonObject(archive.read(entry), "The package's entry '" + entry + "'");
            if (metadata.contains(inputsKey))
                return makeSpec(metadata).dump();
        }
    return "";
}

} // namespace openmmnnp
