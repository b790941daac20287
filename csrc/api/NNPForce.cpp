#include "openmmnnp/NNPForce.h"
#include "api/FindImpl.h"
#include "api/NNPForceImpl.h"
#include "model/ModelFile.h"
#include "model/Printable.h"
#include "openmmnnp/TrustModel.h"
#include <cmath>
#include <openmm/OpenMMException.h>

namespace openmmnnp {

namespace {

template <class T>
const T& at(const std::vector<T>& items, int index, const char* what) {
    if (index < 0 || index >= static_cast<int>(items.size()))
        throw OpenMM::OpenMMException("NNPForce: there is no " + std::string(what) + " " + std::to_string(index) +
                                      "; there are " + std::to_string(items.size()) + ", counted from 0.");
    return items[index];
}

const ModelFile& required(const std::shared_ptr<const ModelFile>& model) {
    if (!model)
        throw OpenMM::OpenMMException(
            "NNPForce: the force has no model: give it one with setModelFile() or in the constructor.");
    return *model;
}

LinkAtom checked(const LinkAtom& atom) {
    if (!(atom.distance > 0) || std::isinf(atom.distance))
        throw OpenMM::OpenMMException("NNPForce: the link atom between the particles " +
                                      std::to_string(atom.mlParticle) + " and " + std::to_string(atom.mmParticle) +
                                      " was given the distance " + std::to_string(atom.distance) +
                                      " nm, but one of more than 0 nm is needed.");
    return atom;
}

template <class F>
auto translated(F function) -> decltype(function()) {
    try {
        return function();
    } catch (const ModelError& error) {
        throw OpenMM::OpenMMException(printable(std::string("NNPForce: ") + error.what()));
    }
}

} // namespace

NNPForce::NNPForce() {
    setName("NNPForce");
}

NNPForce::NNPForce(const std::string& path) : NNPForce() {
    setModelFile(path);
}

void NNPForce::setModelFile(const std::string& path) {
    model = translated([&] { return ModelFile::open(path); });
    trustModel(model->getHash()); // the user named it
}

void NNPForce::setModelBytes(std::string bytes, const std::string& path) {
    model = translated([&] { return ModelFile::fromBytes(std::move(bytes), path); });
}

bool NNPForce::hasModel() const {
    return model != nullptr;
}

const std::shared_ptr<const ModelFile>& NNPForce::getModel() const {
    return model;
}

const std::string& NNPForce::getModelBytes() const {
    return required(model).getBytes();
}

const std::string& NNPForce::getModelPath() const {
    return required(model).getPath();
}

const std::string& NNPForce::getModelHash() const {
    return required(model).getHash();
}

bool NNPForce::hasModelSpec() const {
    return required(model).getSpec().has_value();
}

const ModelSpec& NNPForce::getModelSpec() const {
    if (!hasModelSpec())
        throw OpenMM::OpenMMException("NNPForce: the model " + model->describe() +
                                      " carries no ModelSpec; it is used by openmm-torch's contract (nm, kJ/mol).");
    return *model->getSpec();
}

const std::string& NNPForce::getModelSpecText() const {
    return required(model).getSpecText();
}

void NNPForce::setModelByReference(bool byReference) {
    modelByReference = byReference;
}

bool NNPForce::getModelByReference() const {
    return modelByReference;
}

void NNPForce::setParticles(const std::vector<int>& indices) {
    particles = indices;
    subset = true;
}

const std::vector<int>& NNPForce::getParticles() const {
    return particles;
}

bool NNPForce::usesSubset() const {
    return subset;
}

void NNPForce::setAtomicNumbers(const std::vector<int>& numbers) {
    atomicNumbers = numbers;
}

const std::vector<int>& NNPForce::getAtomicNumbers() const {
    return atomicNumbers;
}

void NNPForce::setTypes(const std::vector<int>& newTypes) {
    types = newTypes;
}

const std::vector<int>& NNPForce::getTypes() const {
    return types;
}

void NNPForce::setCharge(int newCharge) {
    charge = newCharge;
}

int NNPForce::getCharge() const {
    return charge;
}

void NNPForce::setMultiplicity(int newMultiplicity) {
    multiplicity = newMultiplicity;
}

int NNPForce::getMultiplicity() const {
    return multiplicity;
}

int NNPForce::addBond(int particle1, int particle2) {
    bonds.emplace_back(particle1, particle2);
    return getNumBonds() - 1;
}

int NNPForce::getNumBonds() const {
    return static_cast<int>(bonds.size());
}

void NNPForce::getBondParameters(int index, int& particle1, int& particle2) const {
    std::tie(particle1, particle2) = at(bonds, index, "bond");
}

int NNPForce::addLinkAtom(int mlParticle, int mmParticle, double distance, int atomicNumber) {
    linkAtoms.push_back(checked({mlParticle, mmParticle, distance, atomicNumber}));
    return getNumLinkAtoms() - 1;
}

int NNPForce::getNumLinkAtoms() const {
    return static_cast<int>(linkAtoms.size());
}

void NNPForce::getLinkAtomParameters(int index, int& mlParticle, int& mmParticle, double& distance,
                                     int& atomicNumber) const {
    const LinkAtom& atom = at(linkAtoms, index, "link atom");
    mlParticle = atom.mlParticle;
    mmParticle = atom.mmParticle;
    distance = atom.distance;
    atomicNumber = atom.atomicNumber;
}

void NNPForce::setLinkAtomParameters(int index, int mlParticle, int mmParticle, double distance, int atomicNumber) {
    at(linkAtoms, index, "link atom");
    linkAtoms[index] = checked({mlParticle, mmParticle, distance, atomicNumber});
}

const std::vector<LinkAtom>& NNPForce::getLinkAtoms() const {
    return linkAtoms;
}

void NNPForce::setUsesPeriodicBoundaryConditions(bool usesPeriodic) {
    periodic = usesPeriodic;
}

bool NNPForce::usesPeriodicBoundaryConditions() const {
    return periodic;
}

int NNPForce::addGlobalParameter(const std::string& name, double defaultValue) {
    globalParameters.push_back({name, defaultValue});
    return getNumGlobalParameters() - 1;
}

int NNPForce::getNumGlobalParameters() const {
    return static_cast<int>(globalParameters.size());
}

const std::string& NNPForce::getGlobalParameterName(int index) const {
    return at(globalParameters, index, "global parameter").name;
}

void NNPForce::setGlobalParameterName(int index, const std::string& name) {
    at(globalParameters, index, "global parameter");
    globalParameters[index].name = name;
}

double NNPForce::getGlobalParameterDefaultValue(int index) const {
    return at(globalParameters, index, "global parameter").defaultValue;
}

void NNPForce::setGlobalParameterDefaultValue(int index, double defaultValue) {
    at(globalParameters, index, "global parameter");
    globalParameters[index].defaultValue = defaultValue;
}

void NNPForce::addEnergyParameterDerivative(const std::string& name) {
    for (const std::string& known : energyParameterDerivatives)
        if (known == name)
            return;
    energyParameterDerivatives.push_back(name);
}

int NNPForce::getNumEnergyParameterDerivatives() const {
    return static_cast<int>(energyParameterDerivatives.size());
}

const std::string& NNPForce::getEnergyParameterDerivativeName(int index) const {
    return at(energyParameterDerivatives, index, "energy parameter derivative");
}

void NNPForce::setScaleParameter(const std::string& name, std::optional<double> defaultValue) {
    scaleParameter = name;
    scaleParameterDefault = defaultValue;
}

const std::string& NNPForce::getScaleParameter() const {
    return scaleParameter;
}

std::optional<double> NNPForce::getScaleParameterDefaultValue() const {
    return scaleParameterDefault;
}

void NNPForce::setOutputsForces(bool outputs) {
    outputsForces = outputs;
}

bool NNPForce::getOutputsForces() const {
    return outputsForces;
}

void NNPForce::setCheckReferences(bool check) {
    checkReferences = check;
}

bool NNPForce::getCheckReferences() const {
    return checkReferences;
}

void NNPForce::setCudaGraphs(bool enabled) {
    cudaGraphs = enabled;
}

bool NNPForce::getCudaGraphs() const {
    return cudaGraphs;
}

void NNPForce::setCudaGraphWarmupSteps(int steps) {
    cudaGraphWarmupSteps = steps;
}

int NNPForce::getCudaGraphWarmupSteps() const {
    return cudaGraphWarmupSteps;
}

void NNPForce::setSkin(double distance) {
    if (!(distance >= 0) || std::isinf(distance))
        throw OpenMM::OpenMMException("NNPForce: setSkin() was given " + std::to_string(distance) +
                                      " nm, but a distance of 0 nm or more is needed.");
    skin = distance;
}

double NNPForce::getSkin() const {
    return skin;
}

void NNPForce::setDeviceNeighbors(bool onDevice) {
    deviceNeighbors = onDevice;
}

bool NNPForce::getDeviceNeighbors() const {
    return deviceNeighbors;
}

NamedOutput NNPForce::getOutput(OpenMM::Context& context, const std::string& name) const {
    return findImpl(context, true).getOutput(name);
}

Diagnostics NNPForce::getDiagnostics(OpenMM::Context& context) const {
    return findImpl(context, true).getDiagnostics();
}

void NNPForce::updateParametersInContext(OpenMM::Context& context) const {
    findImpl(context, false).update(*this);
}

/**
 * The impl that this force owns in the Context; else, since CustomCVForce evaluates copies of its forces in Contexts of
 * its own, the one impl there whose force is equal to this one but for the force group (and, where it is to be updated,
 * for what can be updated).
 */
NNPForceImpl& NNPForce::findImpl(OpenMM::Context& context, bool sameModel) const {
    ImplSearch search(*this, sameModel);
    search.look(getContextImpl(context),
                [this](OpenMM::Context& inner) -> OpenMM::ContextImpl& { return getContextImpl(inner); });
    return search.getResult();
}

OpenMM::ForceImpl* NNPForce::createImpl() const {
    return new NNPForceImpl(*this);
}

} // namespace openmmnnp
