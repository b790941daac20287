#include "openmmnnp/ModelSpec.h"
#include "model/Units.h"
#include <algorithm>

namespace openmmnnp {

namespace {

const std::string parameterPrefix = "parameters.";

double unitValue(const std::vector<Unit>& units, const std::string& name) {
    for (const Unit& unit : units)
        if (name == unit.name)
            return unit.value;
    throw ModelError("The unit '" + name + "' is not known; choose one that the documentation of ModelSpec lists.");
}

} // namespace

bool ModelSpec::hasInput(const std::string& input) const {
    return std::find(inputs.begin(), inputs.end(), input) != inputs.end();
}

bool ModelSpec::hasOutput(const std::string& output) const {
    return std::find(outputs.begin(), outputs.end(), output) != outputs.end();
}

bool ModelSpec::isVariable(const std::string& output) const {
    return hasOutput(output) && output != "energy" && output != "forces" && output != "mm_forces" &&
           output.find('.') == std::string::npos;
}

std::vector<std::string> ModelSpec::getParameterNames() const {
    std::vector<std::string> names;
    for (const std::string& input : inputs)
        if (input.compare(0, parameterPrefix.size(), parameterPrefix) == 0)
            names.push_back(input.substr(parameterPrefix.size()));
    return names;
}

double ModelSpec::getLengthInNm() const {
    return unitValue(lengthUnits(), lengthUnit);
}

double ModelSpec::getEnergyInKJPerMol() const {
    return energyUnit == noEnergy ? 1 : unitValue(energyUnits(), energyUnit);
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
