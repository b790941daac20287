// The JSON of a ModelSpec: one that is taken is written, read again, and must be the same.

#include "model/Units.h"
#include "openmmnnp/ModelSpec.h"
#include "require.h"
#include <cmath>
#include <nlohmann/json.hpp>

using namespace openmmnnp;
using Json = nlohmann::json;

namespace {

Json nested(const SpecArray& array, size_t axis, size_t& at) {
    if (axis == array.shape.size())
        return array.values.at(at++);
    Json rows = Json::array();
    for (int64_t i = 0; i < array.shape[axis]; i++)
        rows.push_back(nested(array, axis + 1, at));
    return rows;
}

Json write(const SpecArray& array) {
    size_t used = 0;
    const Json json = nested(array, 0, used);
    REQUIRE(used == array.values.size());
    return json;
}

Json write(const SpecReference& reference) {
    Json json = {{"energy", reference.energy}};
    for (const auto& [input, array] : reference.inputs)
        json[input] = write(array);
    if (!reference.forces.shape.empty())
        json["forces"] = write(reference.forces);
    if (!reference.mmForces.shape.empty())
        json["mm_forces"] = write(reference.mmForces);
    return json;
}

template <class T>
void writeIf(Json& json, const char* key, const std::optional<T>& value) {
    if (value)
        json[key] = *value;
}

Json write(const ModelSpec& spec) {
    Json json = {{"format", 1},
                 {"name", spec.name},
                 {"length_unit", spec.lengthUnit},
                 {"energy_unit", spec.energyUnit},
                 {"dtype", spec.dtype},
                 {"inputs", spec.inputs},
                 {"outputs", spec.outputs},
                 {"output_units", spec.outputUnits},
                 {"collective_variables", spec.collectiveVariables},
                 {"particles", spec.particles ? Json(spec.particles) : Json("dynamic")},
                 {"atomic_numbers", spec.atomicNumbers},
                 {"elements", spec.elements},
                 {"type_map", spec.typeMap},
                 {"edges", spec.edges},
                 {"shifts", spec.shifts},
                 {"index_dtype", spec.indexDtype},
                 {"edge_capacity", spec.edgeCapacity ? Json(spec.edgeCapacity) : Json("dynamic")},
                 {"small_box", spec.smallBox},
                 {"batched_box", spec.batchedBox},
                 {"libraries", spec.libraries},
                 {"authors", spec.authors},
                 {"license", spec.license},
                 {"citation", spec.citation},
                 {"domain", spec.domain},
                 {"references", Json::array()}};
    json["precision"] = spec.precision.empty() ? Json() : Json(spec.precision);
    writeIf(json, "cutoff", spec.cutoff);
    writeIf(json, "mm_cutoff", spec.mmCutoff);
    writeIf(json, "periodic", spec.periodic);
    writeIf(json, "long_range", spec.longRange);
    if (spec.atomicEnergies.empty())
        json["energy_offset"] = spec.energyOffset;
    for (const auto& [element, energy] : spec.atomicEnergies)
        json["atomic_energies"][std::to_string(element)] = energy;
    for (const SpecReference& reference : spec.references)
        json["references"].push_back(write(reference));
    return json;
}

/** What the rest of the code takes for granted. */
void checkValues(const ModelSpec& spec) {
    REQUIRE(spec.hasInput("positions"));
    REQUIRE(spec.getLengthInNm() > 0 && spec.getEnergyInKJPerMol() > 0);
    REQUIRE(!spec.cutoff || (*spec.cutoff > 0 && std::isfinite(*spec.cutoff)));
    REQUIRE(!spec.mmCutoff || (*spec.mmCutoff > 0 && std::isfinite(*spec.mmCutoff)));
    REQUIRE(spec.particles >= 0 && spec.edgeCapacity >= 0);
    REQUIRE(spec.getParameterNames().size() <= spec.inputs.size());
    for (const SpecReference& reference : spec.references) {
        REQUIRE(reference.inputs.size() == spec.inputs.size());
        const int64_t n = reference.inputs.at("positions").shape.at(0);
        REQUIRE(n > 0 && (spec.particles == 0 || n == spec.particles));
        REQUIRE(reference.forces.shape.empty() || reference.forces.shape.at(0) == n);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Json written;
    try {
        const ModelSpec spec = ModelSpec::parse(std::string(reinterpret_cast<const char*>(data), size));
        checkValues(spec);
        written = write(spec);
    } catch (const ModelError&) {
        return 0;
    }
    REQUIRE(write(ModelSpec::parse(written.dump())) == written);
    return 0;
}
