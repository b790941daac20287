#include "openmmnnp/ModelSpec.h"
#include "model/Units.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace openmmnnp {

namespace {

using Json = nlohmann::json;

constexpr int specFormat = 1;
const std::string parameterPrefix = "parameters.";
const std::string derivativePrefix = "parameter_derivative.";

bool startsWith(const std::string& text, const std::string& prefix) {
    return text.compare(0, prefix.size(), prefix) == 0 && text.size() > prefix.size();
}

std::string quote(const std::string& text) {
    return "'" + text + "'";
}

template <class T>
std::string joinNames(const T& names) {
    std::string text;
    for (const auto& name : names)
        text += (text.empty() ? "" : ", ") + quote(name);
    return text;
}

std::vector<std::string> unitNames(const std::vector<Unit>& units) {
    std::vector<std::string> names;
    for (const Unit& unit : units)
        names.emplace_back(unit.name);
    return names;
}

/** The JSON object with typed access; every error names the key. */
class Reader {
public:
    explicit Reader(const Json& object) : object(object) {}

    bool has(const std::string& key) const {
        return object.contains(key) && !object[key].is_null();
    }

    template <class T>
    void read(const std::string& key, T& value, const std::string& needed) const {
        if (!has(key))
            return;
        try {
            value = object[key].get<T>();
        } catch (const Json::exception&) {
            throw ModelError("The model's spec has \"" + key + "\": " + object[key].dump().substr(0, 80) + ", but " +
                             needed + " is needed.");
        }
    }

    template <class T>
    void read(const std::string& key, std::optional<T>& value, const std::string& needed) const {
        T plain{};
        read(key, plain, needed);
        if (has(key))
            value = plain;
    }

    void readChoice(const std::string& key, std::string& value, const std::vector<std::string>& choices) const {
        read(key, value, "one of " + joinNames(choices));
        if (std::find(choices.begin(), choices.end(), value) == choices.end())
            throw ModelError("The model's spec has \"" + key + "\": " + quote(value) + ", but one of " +
                             joinNames(choices) + " is needed.");
    }

    const Json& operator[](const std::string& key) const {
        return object[key];
    }

private:
    const Json& object;
};

void flatten(const Json& json, size_t depth, SpecArray& array) {
    if (!json.is_array()) {
        if (!json.is_number() || depth != array.shape.size())
            throw ModelError("");
        array.values.push_back(json.get<double>());
        return;
    }
    if (depth >= array.shape.size() || array.shape[depth] != static_cast<int64_t>(json.size()))
        throw ModelError("");
    for (const Json& item : json)
        flatten(item, depth + 1, array);
}

SpecArray readArray(const Json& json, const std::string& key) {
    SpecArray array;
    for (const Json* item = &json; item->is_array(); item = &item->front()) {
        array.shape.push_back(static_cast<int64_t>(item->size()));
        if (item->empty())
            break;
    }
    try {
        flatten(json, 0, array);
    } catch (const ModelError&) {
        throw ModelError("The model's spec has a reference whose \"" + key +
                         "\" is not a number or a regular array of numbers.");
    }
    return array;
}

SpecReference readReference(const Json& json, const ModelSpec& spec) {
    if (!json.is_object() || !json.contains("energy") || !json["energy"].is_number())
        throw ModelError("The model's spec has a reference without a number \"energy\".");
    SpecReference reference;
    reference.energy = json["energy"].get<double>();
    if (json.contains("forces"))
        reference.forces = readArray(json["forces"], "forces");
    for (const std::string& input : spec.inputs) {
        if (!json.contains(input))
            throw ModelError("The model's spec has a reference without the input " + quote(input) + ".");
        reference.inputs[input] = readArray(json[input], input);
    }
    return reference;
}

void checkNames(const ModelSpec& spec) {
    const std::set<std::string> known = {"positions",    "box",   "atomic_numbers", "types",        "charge",
                                         "multiplicity", "edges", "shifts",         "mm_positions", "mm_charges"};
    std::set<std::string> seen;
    for (const std::string& input : spec.inputs) {
        if (!known.count(input) && !startsWith(input, parameterPrefix))
            throw ModelError("The model's spec has the input " + quote(input) + ", but only " + joinNames(known) +
                             " and 'parameters.NAME' are known.");
        if (!seen.insert(input).second)
            throw ModelError("The model's spec has the input " + quote(input) + " twice.");
    }
    if (!seen.count("positions"))
        throw ModelError("The model's spec has the inputs " + joinNames(spec.inputs) + ", but 'positions' is needed.");
    if (!spec.hasOutput("energy"))
        throw ModelError("The model's spec has the outputs " + joinNames(spec.outputs) + ", but 'energy' is needed.");
    if (std::set<std::string>(spec.outputs.begin(), spec.outputs.end()).size() != spec.outputs.size())
        throw ModelError("The model's spec has an output twice: " + joinNames(spec.outputs) + ".");
    for (const std::string& output : spec.outputs)
        if (startsWith(output, derivativePrefix) &&
            !spec.hasInput(parameterPrefix + output.substr(derivativePrefix.size())))
            throw ModelError("The model's spec has the output " + quote(output) + " without the input " +
                             quote(parameterPrefix + output.substr(derivativePrefix.size())) + ".");
}

void readParticles(const Reader& reader, ModelSpec& spec) {
    if (!reader.has("particles") || reader["particles"] == "dynamic")
        return;
    reader.read("particles", spec.particles, "\"dynamic\" or a positive number");
    if (spec.particles < 1)
        throw ModelError("The model's spec has \"particles\": " + std::to_string(spec.particles) +
                         ", but \"dynamic\" or a positive number is needed.");
}

void readConstantEnergy(const Reader& reader, ModelSpec& spec) {
    if (reader.has("energy_offset") && reader.has("atomic_energies"))
        throw ModelError("The model's spec has both \"energy_offset\" and \"atomic_energies\"; keep one of them.");
    reader.read("energy_offset", spec.energyOffset, "a number");
    std::map<std::string, double> energies;
    reader.read("atomic_energies", energies, "an object {\"atomic number\": energy}");
    for (const auto& [key, energy] : energies) {
        char* end = nullptr;
        const long number = std::strtol(key.c_str(), &end, 10);
        if (key.empty() || *end != 0 || number < 1 || number > 118)
            throw ModelError("The model's spec has \"atomic_energies\" for " + quote(key) +
                             ", but an atomic number from 1 to 118 is needed.");
        spec.atomicEnergies[static_cast<int>(number)] = energy;
    }
}

double unitValue(const std::vector<Unit>& units, const std::string& name) {
    for (const Unit& unit : units)
        if (name == unit.name)
            return unit.value;
    throw ModelError("Unknown unit " + quote(name) + ".");
}

} // namespace

ModelSpec ModelSpec::parse(const std::string& text) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object())
        throw ModelError(
            "The model's spec (extra/openmmnnp.json) is not a JSON object; write it again with openmmnnp.export.");
    const Reader reader(json);
    int format = 0;
    reader.read("format", format, "the number 1");
    if (format != specFormat)
        throw ModelError("The model's spec has \"format\": " + std::to_string(format) +
                         "; this version of openmm-nnp reads format " + std::to_string(specFormat) +
                         ". Export the model again, or install the openmm-nnp that wrote it.");
    ModelSpec spec;
    reader.read("name", spec.name, "a text");
    reader.readChoice("length_unit", spec.lengthUnit, unitNames(lengthUnits()));
    reader.readChoice("energy_unit", spec.energyUnit, unitNames(energyUnits()));
    reader.readChoice("dtype", spec.dtype, {"float32", "float64"});
    reader.read("inputs", spec.inputs, "a list of names");
    reader.read("outputs", spec.outputs, "a list of names");
    checkNames(spec);
    reader.read("output_units", spec.outputUnits, "an object {output: unit}");
    readParticles(reader, spec);
    reader.read("atomic_numbers", spec.atomicNumbers, "a list of atomic numbers");
    reader.read("elements", spec.elements, "a list of atomic numbers");
    reader.read("type_map", spec.typeMap, "an object {name: type}");
    reader.read("cutoff", spec.cutoff, "a number");
    reader.read("periodic", spec.periodic, "true or false");
    reader.read("long_range", spec.longRange, "true or false");
    readConstantEnergy(reader, spec);
    reader.read("authors", spec.authors, "a list of names");
    reader.read("license", spec.license, "a text");
    reader.read("citation", spec.citation, "a text");
    reader.read("domain", spec.domain, "a text");
    if (reader.has("references")) {
        if (!json["references"].is_array())
            throw ModelError("The model's spec has \"references\" that are not a list.");
        for (const Json& reference : json["references"])
            spec.references.push_back(readReference(reference, spec));
    }
    return spec;
}

bool ModelSpec::hasInput(const std::string& input) const {
    return std::find(inputs.begin(), inputs.end(), input) != inputs.end();
}

bool ModelSpec::hasOutput(const std::string& output) const {
    return std::find(outputs.begin(), outputs.end(), output) != outputs.end();
}

std::vector<std::string> ModelSpec::getParameterNames() const {
    std::vector<std::string> names;
    for (const std::string& input : inputs)
        if (startsWith(input, parameterPrefix))
            names.push_back(input.substr(parameterPrefix.size()));
    return names;
}

double ModelSpec::getLengthInNm() const {
    return unitValue(lengthUnits(), lengthUnit);
}

double ModelSpec::getEnergyInKJPerMol() const {
    return unitValue(energyUnits(), energyUnit);
}

double ModelSpec::getConstantEnergy(const std::vector<int>& numbers) const {
    double energy = energyOffset;
    if (!atomicEnergies.empty())
        for (const int number : numbers) {
            const auto found = atomicEnergies.find(number);
            if (found == atomicEnergies.end())
                throw ModelError("The model has no atomic energy for the element with atomic number " +
                                 std::to_string(number) +
                                 "; it was not made for it. Choose another model, or check the atomic numbers.");
            energy += found->second;
        }
    return energy;
}

} // namespace openmmnnp
