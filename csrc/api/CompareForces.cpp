#include "api/CompareForces.h"
#include <utility>

namespace openmmnnp {

namespace {

bool sameBonds(const NNPForce& a, const NNPForce& b) {
    if (a.getNumBonds() != b.getNumBonds())
        return false;
    for (int i = 0; i < a.getNumBonds(); i++) {
        std::pair<int, int> bondA, bondB;
        a.getBondParameters(i, bondA.first, bondA.second);
        b.getBondParameters(i, bondB.first, bondB.second);
        if (bondA != bondB)
            return false;
    }
    return true;
}

bool sameParameterNames(const NNPForce& a, const NNPForce& b) {
    if (a.getNumGlobalParameters() != b.getNumGlobalParameters())
        return false;
    for (int i = 0; i < a.getNumGlobalParameters(); i++)
        if (a.getGlobalParameterName(i) != b.getGlobalParameterName(i))
            return false;
    return true;
}

bool sameParameters(const NNPForce& a, const NNPForce& b) {
    if (!sameParameterNames(a, b) || a.getNumEnergyParameterDerivatives() != b.getNumEnergyParameterDerivatives())
        return false;
    for (int i = 0; i < a.getNumGlobalParameters(); i++)
        if (a.getGlobalParameterDefaultValue(i) != b.getGlobalParameterDefaultValue(i))
            return false;
    for (int i = 0; i < a.getNumEnergyParameterDerivatives(); i++)
        if (a.getEnergyParameterDerivativeName(i) != b.getEnergyParameterDerivativeName(i))
            return false;
    return a.getScaleParameter() == b.getScaleParameter() &&
           a.getScaleParameterDefaultValue() == b.getScaleParameterDefaultValue();
}

} // namespace

bool sameStructure(const NNPForce& a, const NNPForce& b) {
    return a.getName() == b.getName() && sameInputs(a, b) &&
           a.getCollectiveVariableComponent() == b.getCollectiveVariableComponent() && sameBonds(a, b) &&
           sameParameters(a, b);
}

bool sameInputs(const NNPForce& a, const NNPForce& b) {
    return a.usesSubset() == b.usesSubset() && a.getParticles() == b.getParticles() &&
           a.getLinkAtoms() == b.getLinkAtoms() && a.usesMMCharges() == b.usesMMCharges() &&
           a.getMMParticles() == b.getMMParticles() && a.getMMPeriodic() == b.getMMPeriodic() &&
           a.usesPeriodicBoundaryConditions() == b.usesPeriodicBoundaryConditions() &&
           a.getOutputsForces() == b.getOutputsForces() && a.getSkin() == b.getSkin() &&
           a.getDeviceNeighbors() == b.getDeviceNeighbors() && a.getCollectiveVariable() == b.getCollectiveVariable() &&
           sameParameterNames(a, b);
}

bool sameModelInputs(const NNPForce& a, const NNPForce& b) {
    return a.getModelHash() == b.getModelHash() && a.getAtomicNumbers() == b.getAtomicNumbers() &&
           a.getTypes() == b.getTypes() && a.getCharge() == b.getCharge() &&
           a.getMultiplicity() == b.getMultiplicity() && a.getMMCharges() == b.getMMCharges();
}

} // namespace openmmnnp
