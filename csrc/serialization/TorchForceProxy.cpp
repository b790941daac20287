#include "serialization/TorchForceProxy.h"
#include "model/ModelFile.h"
#include "model/Printable.h"
#include "openmmnnp/NNPForce.h"
#include "serialization/Base64.h"
#include "serialization/XmlValues.h"
#include <memory>
#include <openmm/OpenMMException.h>

namespace openmmnnp {

using OpenMM::OpenMMException;
using OpenMM::SerializationNode;

namespace {

constexpr int newestVersion = 4; // of openmm-torch 1.5

/** Version 1 holds the path of the file, later ones its bytes; their path is kept for messages only. */
void readModel(const SerializationNode& node, int version, NNPForce& force) {
    const std::string path = node.getStringProperty("file", "");
    if (version == 1) // not setModelFile(): the XML names the file, not the user
        force.setModelBytes(ModelFile::open(path)->getBytes(), path);
    else
        force.setModelBytes(decodeHex(readString(node, "encodedFileContents")), path);
}

void readParameters(const SerializationNode& node, NNPForce& force) {
    if (const SerializationNode* child = findChild(node, "GlobalParameters"))
        for (const SerializationNode& parameter : child->getChildren())
            force.addGlobalParameter(readString(parameter, "name"), readDouble(parameter, "default"));
    if (const SerializationNode* child = findChild(node, "ParameterDerivatives"))
        for (const SerializationNode& parameter : child->getChildren())
            force.addEnergyParameterDerivative(readString(parameter, "name"));
}

void readProperty(const SerializationNode& property, NNPForce& force) {
    const std::string name = readString(property, "name"), value = readString(property, "value");
    if (name == "useCUDAGraphs" && (value == "true" || value == "false" || value.empty()))
        force.setCudaGraphs(value == "true");
    else if (name == "CUDAGraphWarmupSteps")
        force.setCudaGraphWarmupSteps(readInt(property, "value"));
    else
        throw OpenMMException("the property " + name + "=\"" + value +
                              "\" is not one of useCUDAGraphs (true or false) and CUDAGraphWarmupSteps");
}

std::unique_ptr<NNPForce> readForce(const SerializationNode& node) {
    const int version = readVersion(node, "TorchForce", newestVersion);
    auto force = std::make_unique<NNPForce>();
    force->setName("TorchForce"); // openmm-torch writes no name
    force->setCudaGraphs(false);
    readModel(node, version, *force);
    force->setForceGroup(readInt(node, "forceGroup", 0));
    force->setUsesPeriodicBoundaryConditions(readBool(node, "usesPeriodic", false));
    force->setOutputsForces(readBool(node, "outputsForces", false));
    readParameters(node, *force);
    if (const SerializationNode* properties = findChild(node, "Properties"))
        for (const SerializationNode& property : properties->getChildren())
            readProperty(property, *force);
    return force;
}

} // namespace

TorchForceProxy::TorchForceProxy() : SerializationProxy("TorchForce") {}

void TorchForceProxy::serialize(const void*, SerializationNode&) const {
    throw OpenMMException("openmm-nnp reads the XML of openmm-torch's TorchForce and does not write it");
}

void* TorchForceProxy::deserialize(const SerializationNode& node) const {
    try {
        return readForce(node).release();
    } catch (const std::exception& error) {
        throw OpenMMException(
            printable(std::string("Cannot read openmm-torch's TorchForce from XML: ") + error.what()));
    }
}

} // namespace openmmnnp
