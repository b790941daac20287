#include "model/StrictJson.h"
#include "model/Units.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>
#include <climits>
#include <cmath>
#include <set>

namespace openmmnnp {

namespace {

using Json = nlohmann::json;

constexpr int specFormat = 1, maxElement = 118;
const std::string parameterPrefix = "parameters.";
const std::string derivativePrefix = "parameter_derivative.", forcesPrefix = "forces.";
const std::string subject = "The model's spec has ";

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

bool isInteger(const Json& json, double low, double high) {
    return json.is_number_integer() && json.get<double>() >= low && json.get<double>() <= high;
}

bool isElement(const Json& json) {
    return isInteger(json, 1, maxElement);
}

bool isText(const Json& json) {
    return json.is_string();
}

template <class F>
bool holdsOnly(const Json& json, bool ofKind, F accepts) {
    return ofKind && std::all_of(json.begin(), json.end(), accepts);
}

/** The JSON object with typed access.  Errors name the key; a key that is never asked for is an error, too. */
class Reader {
public:
    explicit Reader(const Json& object) : object(object) {}

    /** The value of a key, null if it is missing or null itself. */
    const Json* find(const std::string& key) {
        known.insert(key);
        const auto found = object.find(key);
        return found == object.end() || found->is_null() ? nullptr : &*found;
    }

    [[noreturn]] void refuse(const std::string& key, const std::string& needed) const {
        const auto found = object.find(key);
        const std::string given = found == object.end() ? "nothing" : found->dump().substr(0, 80);
        throw ModelError(subject + "\"" + key + "\": " + given + ", but " + needed + " is needed.");
    }

    template <class T, class F>
    void read(const std::string& key, T& value, const std::string& needed, F accepts) {
        const Json* json = find(key);
        if (json == nullptr)
            return;
        if (!accepts(*json))
            refuse(key, needed);
        value = json->get<T>();
    }

    void readText(const std::string& key, std::string& value) {
        read(key, value, "a text", isText);
    }

    void readFlag(const std::string& key, std::optional<bool>& value) {
        bool flag = false;
        read(key, flag, "true or false", [](const Json& json) { return json.is_boolean(); });
        if (find(key))
            value = flag;
    }

    void readPositive(const std::string& key, std::optional<double>& value) {
        double number = 0;
        read(key, number, "a positive number", [](const Json& j) { return j.is_number() && j.get<double>() > 0; });
        if (find(key))
            value = number;
    }

    void readTexts(const std::string& key, std::vector<std::string>& value) {
        read(key, value, "a list of texts", [](const Json& j) { return holdsOnly(j, j.is_array(), isText); });
    }

    void readElements(const std::string& key, std::vector<int>& value) {
        read(key, value, "a list of atomic numbers (1 to 118)",
             [](const Json& j) { return holdsOnly(j, j.is_array(), isElement); });
    }

    std::string readChoice(const std::string& key, const std::vector<std::string>& choices,
                           const std::string& otherwise = "") {
        std::string value = otherwise;
        readText(key, value);
        if (find(key) && std::find(choices.begin(), choices.end(), value) == choices.end())
            throw ModelError(subject + "\"" + key + "\": " + quote(value) + ", but one of " + joinNames(choices) +
                             " is needed.");
        return value;
    }

    /** Counts, or the word "dynamic", which leaves the value as it is. */
    void readCount(const std::string& key, int& value) {
        const Json* json = find(key);
        if (json != nullptr && *json != "dynamic")
            read(key, value, "\"dynamic\" or a positive number",
                 [](const Json& j) { return isInteger(j, 1, INT_MAX); });
    }

    void require(const std::vector<std::string>& keys) {
        for (const std::string& key : keys)
            if (find(key) == nullptr)
                refuse(key, "a value");
    }

    /** After all keys were asked for. */
    void refuseUnknown() const {
        for (const auto& [key, value] : object.items())
            if (!known.count(key))
                throw ModelError(subject + "the key \"" + key.substr(0, 80) + "\", which this openmm-nnp does not " +
                                 "know; the keys are " + joinNames(known) +
                                 ". Correct it, or install the openmm-nnp that wrote it.");
    }

private:
    const Json& object;
    std::set<std::string> known;
};

void checkInputs(const ModelSpec& spec) {
    const std::set<std::string> known = {"positions",    "box",   "atomic_numbers", "types",        "charge",
                                         "multiplicity", "edges", "shifts",         "mm_positions", "mm_charges"};
    std::set<std::string> seen;
    for (const std::string& input : spec.inputs) {
        if (!known.count(input) && !startsWith(input, parameterPrefix))
            throw ModelError(subject + "the input " + quote(input) + ", but only " + joinNames(known) +
                             " and 'parameters.NAME' are known.");
        if (!seen.insert(input).second)
            throw ModelError(subject + "the input " + quote(input) + " twice; name it once.");
    }
    if (seen.count("mm_positions") != seen.count("mm_charges"))
        throw ModelError(subject + "the inputs " + joinNames(spec.inputs) +
                         ", but 'mm_positions' and 'mm_charges' are needed together.");
    if (!seen.count("positions"))
        throw ModelError(subject + "the inputs " + joinNames(spec.inputs) + ", but 'positions' is needed.");
}

void checkOutputs(const ModelSpec& spec) {
    const bool variablesAlone =
        spec.energyUnit == ModelSpec::noEnergy && !spec.outputs.empty() && spec.isVariable(spec.outputs[0]);
    if (!spec.hasOutput("energy") && !(spec.hasOutput("atomic_energy") && spec.hasOutput("forces")) && !variablesAlone)
        throw ModelError(subject + "the outputs " + joinNames(spec.outputs) +
                         ", but 'energy' (or 'atomic_energy' and 'forces') is needed.");
    if (std::set<std::string>(spec.outputs.begin(), spec.outputs.end()).size() != spec.outputs.size())
        throw ModelError(subject + "an output twice: " + joinNames(spec.outputs) + "; name each once.");
    for (const std::string& output : spec.outputs)
        if (startsWith(output, derivativePrefix) &&
            !spec.hasInput(parameterPrefix + output.substr(derivativePrefix.size())))
            throw ModelError(subject + "the output " + quote(output) + " without the input " +
                             quote(parameterPrefix + output.substr(derivativePrefix.size())) + ", which is needed.");
    if (spec.hasOutput("mm_forces") && !spec.hasInput("mm_positions"))
        throw ModelError(subject + "the output 'mm_forces' without the input 'mm_positions', which is needed.");
    for (const std::string& output : spec.outputs)
        if (startsWith(output, forcesPrefix) && !spec.isVariable(output.substr(forcesPrefix.size())))
            throw ModelError(subject + "the output " + quote(output) + " without the output " +
                             quote(output.substr(forcesPrefix.size())) + ", which is needed.");
    for (const auto& [output, count] : spec.collectiveVariables)
        if (!spec.isVariable(output))
            throw ModelError(subject + "\"collective_variables\" with " + quote(output) +
                             ", but a named output of the model is needed.");
    for (const auto& [output, unit] : spec.outputUnits)
        if (!spec.hasOutput(output))
            throw ModelError(subject + "\"output_units\" for " + quote(output) + ", but one of the outputs " +
                             joinNames(spec.outputs) + " is needed.");
}

void readParticles(Reader& reader, ModelSpec& spec) {
    reader.readCount("particles", spec.particles);
    reader.readElements("atomic_numbers", spec.atomicNumbers);
    reader.readElements("elements", spec.elements);
    reader.read("type_map", spec.typeMap, "an object {name: type}", [](const Json& json) {
        return holdsOnly(json, json.is_object(), [](const Json& type) { return isInteger(type, 0, INT_MAX); });
    });
    const size_t count = spec.atomicNumbers.size();
    if (count != 0 && spec.particles != static_cast<int>(count))
        reader.refuse("particles", std::to_string(count) + ", the number of \"atomic_numbers\",");
}

void readConstantEnergy(Reader& reader, ModelSpec& spec) {
    if (reader.find("energy_offset") && reader.find("atomic_energies"))
        throw ModelError(subject + "both \"energy_offset\" and \"atomic_energies\"; keep one of them.");
    const auto isNumber = [](const Json& json) { return json.is_number(); };
    reader.read("energy_offset", spec.energyOffset, "a number", isNumber);
    std::map<std::string, double> energies;
    reader.read("atomic_energies", energies, "an object {\"atomic number\": energy}",
                [&](const Json& json) { return holdsOnly(json, json.is_object(), isNumber); });
    for (const auto& [key, energy] : energies) {
        const bool isNumeral =
            !key.empty() && key.size() < 4 && key.find_first_not_of("0123456789") == std::string::npos;
        const int number = isNumeral ? std::stoi(key) : 0;
        if (number < 1 || number > maxElement || !spec.atomicEnergies.emplace(number, energy).second)
            throw ModelError(subject + "\"atomic_energies\" for " + quote(key) +
                             ", but an atomic number from 1 to 118, each once, is needed.");
    }
}

void flatten(const Json& json, size_t depth, SpecArray& array, bool& regular) {
    if (!json.is_array()) {
        regular = regular && json.is_number() && depth == array.shape.size();
        if (regular)
            array.values.push_back(json.get<double>());
        return;
    }
    regular = regular && depth < array.shape.size() && array.shape[depth] == static_cast<int64_t>(json.size());
    for (size_t i = 0; regular && i < json.size(); i++)
        flatten(json[i], depth + 1, array, regular);
}

class ReferenceReader {
public:
    ReferenceReader(const Json& json, const ModelSpec& spec) : json(json), spec(spec) {}

    SpecReference read() {
        checkKeys();
        SpecReference reference;
        const SpecArray positions = readArray("positions", {-1, 3});
        const int64_t n = positions.shape[0];
        if (n < 1 || (spec.particles != 0 && n != spec.particles))
            refuse("positions", positions.shape,
                   "[" + (spec.particles ? std::to_string(spec.particles) : "n") + ", 3]");
        reference.energy = readArray("energy", {}).values[0];
        if (json.contains("forces"))
            reference.forces = readArray("forces", {n, 3});
        for (const std::string& input : spec.inputs)
            reference.inputs[input] = readInput(input, n);
        if (spec.hasInput("mm_positions"))
            readMM(reference);
        return reference;
    }

private:
    void checkKeys() const {
        if (!json.is_object())
            throw ModelError(subject + "a reference that is no object; needed are the inputs, 'energy' and 'forces'.");
        for (const std::string& input : spec.inputs)
            if (!json.contains(input))
                throw ModelError(subject + "a reference without the input " + quote(input) + ", which is needed.");
        if (!json.contains("energy"))
            throw ModelError(subject + "a reference without a number \"energy\", which is needed.");
        for (const auto& [key, value] : json.items())
            if (key != "energy" && key != "forces" && key != "mm_forces" && !spec.hasInput(key))
                throw ModelError(subject + "a reference with the key \"" + key.substr(0, 80) +
                                 "\"; needed are the inputs, 'energy' and 'forces'.");
    }

    void readMM(SpecReference& reference) const {
        const int64_t m = reference.inputs["mm_positions"].shape[0];
        readArray("mm_charges", {m});
        if (json.contains("mm_forces"))
            reference.mmForces = readArray("mm_forces", {m, 3});
    }

    /** An array of this shape, -1 being any number. */
    SpecArray readArray(const std::string& key, const std::vector<int64_t>& needed) const {
        SpecArray array;
        for (const Json* item = &json[key]; item->is_array(); item = &item->front()) {
            array.shape.push_back(static_cast<int64_t>(item->size()));
            if (item->empty())
                break;
        }
        bool regular = true;
        flatten(json[key], 0, array, regular);
        if (!regular)
            throw ModelError(subject + "a reference whose \"" + key +
                             "\" is not a number or a regular array of numbers, which is needed.");
        bool fits = array.shape.size() == needed.size();
        for (size_t axis = 0; fits && axis < needed.size(); axis++)
            fits = needed[axis] == -1 || needed[axis] == array.shape[axis];
        if (!fits)
            refuse(key, array.shape, describe(needed));
        return array;
    }

    SpecArray readInput(const std::string& input, int64_t n) const {
        if (input == "positions" || input == "mm_positions" || input == "shifts")
            return readArray(input, {input == "positions" ? n : -1, 3});
        if (input == "box")
            return readArray(input, {3, 3});
        if (input == "mm_charges")
            return readArray(input, {-1});
        if (startsWith(input, parameterPrefix))
            return readArray(input, {});
        const bool perParticle = input == "atomic_numbers" || input == "types";
        const SpecArray array = input == "edges" ? readArray(input, {2, -1})
                                : perParticle    ? readArray(input, {n})
                                                 : readArray(input, {});
        for (const double value : array.values)
            if (value != std::floor(value) || std::abs(value) > INT_MAX)
                throw ModelError(subject + "a reference whose \"" + input +
                                 "\" holds a number that is no integer of 32 bits, which is needed.");
        return array;
    }

    static std::string describe(const std::vector<int64_t>& shape) {
        std::string text;
        for (const int64_t size : shape)
            text += (text.empty() ? "" : ", ") + (size == -1 ? "n" : std::to_string(size));
        return "[" + text + "]";
    }

    [[noreturn]] static void refuse(const std::string& key, const std::vector<int64_t>& given,
                                    const std::string& needed) {
        throw ModelError(subject + "a reference whose \"" + key + "\" has the shape " + describe(given) + ", but " +
                         needed + " is needed.");
    }

    const Json& json;
    const ModelSpec& spec;
};

void readFormat(Reader& reader) {
    int format = 0;
    reader.read("format", format, "the number 1", [](const Json& json) { return isInteger(json, 0, INT_MAX); });
    if (format != specFormat)
        throw ModelError(subject + "\"format\": " + std::to_string(format) +
                         "; this version of openmm-nnp reads format " + std::to_string(specFormat) +
                         ". Export the model again, or install the openmm-nnp that wrote it.");
}

void readNeighbors(Reader& reader, ModelSpec& spec) {
    reader.readPositive("cutoff", spec.cutoff);
    reader.readPositive("mm_cutoff", spec.mmCutoff);
    spec.edges = reader.readChoice("edges", {"full", "half"}, spec.edges);
    spec.shifts = reader.readChoice("shifts", {"cell", "real_cell", "cartesian"}, spec.shifts);
    spec.indexDtype = reader.readChoice("index_dtype", {"int64", "int32"}, spec.indexDtype);
    spec.smallBox = reader.readChoice("small_box", {"images", "refuse"}, spec.smallBox);
    reader.readCount("edge_capacity", spec.edgeCapacity);
    if (spec.mmCutoff && !spec.hasInput("mm_positions"))
        reader.refuse("mm_cutoff", "no value, since the model takes no MM charges,");
    if ((spec.hasInput("edges") || spec.hasInput("shifts")) && !spec.cutoff)
        reader.refuse("cutoff", "a number, since the model takes edges,");
}

void readLibraries(Reader& reader, ModelSpec& spec) {
    static const std::vector<std::string> known = {"metatensor", "metatomic"};
    reader.readTexts("libraries", spec.libraries);
    for (const std::string& library : spec.libraries)
        if (std::find(known.begin(), known.end(), library) == known.end())
            throw ModelError(subject + "\"libraries\" with " + quote(library) + ", but only " + joinNames(known) +
                             " are known to this openmm-nnp. Correct it, or install the openmm-nnp that wrote it.");
}

} // namespace

ModelSpec ModelSpec::parse(const std::string& text) {
    const Json json = parseJsonObject(text, "The model's spec (extra/openmmnnp.json)");
    Reader reader(json);
    readFormat(reader);
    reader.require({"name", "length_unit", "energy_unit", "dtype", "inputs", "outputs"});
    ModelSpec spec;
    reader.readText("name", spec.name);
    spec.lengthUnit = reader.readChoice("length_unit", unitNames(lengthUnits()));
    std::vector<std::string> energies = unitNames(energyUnits());
    energies.emplace_back(ModelSpec::noEnergy);
    spec.energyUnit = reader.readChoice("energy_unit", energies);
    spec.dtype = reader.readChoice("dtype", {"float32", "float64"});
    spec.precision = reader.readChoice("precision", {"float32", "float64"});
    reader.readTexts("inputs", spec.inputs);
    reader.readTexts("outputs", spec.outputs);
    reader.read("output_units", spec.outputUnits, "an object {output: unit}",
                [](const Json& object) { return holdsOnly(object, object.is_object(), isText); });
    reader.read("collective_variables", spec.collectiveVariables, "an object {output: number of components}",
                [](const Json& object) {
                    return holdsOnly(object, object.is_object(),
                                     [](const Json& j) { return isInteger(j, 1, INT_MAX); });
                });
    checkInputs(spec);
    checkOutputs(spec);
    readParticles(reader, spec);
    readNeighbors(reader, spec);
    std::optional<bool> batched;
    reader.readFlag("batched_box", batched);
    spec.batchedBox = batched.value_or(false);
    reader.readFlag("periodic", spec.periodic);
    reader.readFlag("long_range", spec.longRange);
    readLibraries(reader, spec);
    readConstantEnergy(reader, spec);
    reader.readTexts("authors", spec.authors);
    reader.readText("license", spec.license);
    reader.readText("citation", spec.citation);
    reader.readText("domain", spec.domain);
    if (const Json* references = reader.find("references")) {
        if (!references->is_array())
            reader.refuse("references", "a list");
        for (const Json& reference : *references)
            spec.references.push_back(ReferenceReader(reference, spec).read());
    }
    reader.refuseUnknown();
    return spec;
}

} // namespace openmmnnp
