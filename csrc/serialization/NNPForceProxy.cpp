#include "serialization/NNPForceProxy.h"
#include "model/ModelFile.h"
#include "model/Printable.h"
#include "openmmnnp/NNPForce.h"
#include "openmmnnp/TrustModel.h"
#include "serialization/Base64.h"
#include "serialization/XmlValues.h"
#include <filesystem>
#include <fstream>
#include <memory>
#include <openmm/OpenMMException.h>
#include <string_view>
#include <utility>

namespace openmmnnp {

using OpenMM::OpenMMException;
using OpenMM::SerializationNode;

namespace {

constexpr int version = 2;                         // 1 had no link atoms
constexpr size_t chunkSize = size_t(3) << 18;      // bytes in one <Bytes>: OpenMM's XML is slower with one long text
constexpr size_t maxEmbedded = size_t(1500) << 20; // OpenMM reads XML files with 32-bit offsets

void writeModel(const NNPForce& force, SerializationNode& node) {
    const std::string& path = force.getModelPath();
    SerializationNode& model = node.createChildNode("Model").setStringProperty("sha256", force.getModelHash());
    if (!path.empty())
        model.setStringProperty("path", path);
    if (force.getModelByReference()) {
        if (path.empty())
            throw OpenMMException("a model that was given as bytes has no path to refer to; call "
                                  "setModelByReference(False) or give the path of a file");
        return;
    }
    const std::string_view bytes = force.getModelBytes();
    if (bytes.size() > maxEmbedded)
        throw OpenMMException("the model '" + path +
                              "' is too large to be embedded in XML; call setModelByReference(True)");
    for (size_t i = 0; i < bytes.size(); i += chunkSize)
        model.createChildNode("Bytes").setStringProperty("base64", encodeBase64(bytes.substr(i, chunkSize)));
}

std::string readEmbedded(const SerializationNode& model) {
    std::string bytes;
    for (const SerializationNode& chunk : model.getChildren())
        bytes += decodeBase64(readString(chunk, "base64"));
    return bytes;
}

/** Read a file that the XML refers to; anything but a regular file (a FIFO would wait for ever) is refused. */
std::string readReferenced(const std::string& path, const std::string& hash) {
    const std::string what = "the model file '" + path + "' (looked for at " +
                             std::filesystem::absolute(path).string() + ", SHA-256 " + hash + ")";
    if (!std::filesystem::is_regular_file(path))
        throw OpenMMException(what + " is missing or not a regular file; put it there again");
    std::ifstream file(path, std::ios::binary);
    std::string bytes(std::filesystem::file_size(path), '\0');
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
        throw OpenMMException(what + " cannot be read");
    return bytes;
}

void checkHash(const std::string& found, const std::string& needed, const std::string& what) {
    if (found != needed)
        throw OpenMMException(what + ": the XML was written with SHA-256 " + needed + ", found is " + found);
}

/** The force hashes what it takes; only if it refuses the bytes are they read again, to say whether they changed. */
void readModel(const SerializationNode& model, NNPForce& force) {
    const std::string hash = readString(model, "sha256"), path = model.getStringProperty("path", "");
    const bool embedded = !model.getChildren().empty();
    if (!embedded && path.empty())
        throw OpenMMException("<Model> has neither the model's bytes nor a path");
    const std::string what =
        embedded ? "the embedded model '" + path + "' is damaged" : "the model file '" + path + "' has changed";
    const auto read = [&] { return embedded ? readEmbedded(model) : readReferenced(path, hash); };
    try {
        force.setModelBytes(read(), path);
    } catch (const std::exception&) {
        checkHash(sha256(read()), hash, what);
        throw;
    }
    checkHash(force.getModelHash(), hash, what);
    if (!embedded)
        trustModel(hash); // the System recorded it, and the file is the user's
}

void writeOptions(const NNPForce& force, SerializationNode& node) {
    node.setStringProperty("name", force.getName());
    node.setIntProperty("forceGroup", force.getForceGroup());
    node.setBoolProperty("modelByReference", force.getModelByReference());
    node.setBoolProperty("usesPeriodic", force.usesPeriodicBoundaryConditions());
    node.setIntProperty("charge", force.getCharge());
    node.setIntProperty("multiplicity", force.getMultiplicity());
    node.setBoolProperty("outputsForces", force.getOutputsForces());
    node.setBoolProperty("checkReferences", force.getCheckReferences());
    node.setBoolProperty("cudaGraphs", force.getCudaGraphs());
    node.setIntProperty("cudaGraphWarmupSteps", force.getCudaGraphWarmupSteps());
    node.setDoubleProperty("skin", force.getSkin());
    node.setBoolProperty("deviceNeighbors", force.getDeviceNeighbors());
}

void readOptions(const SerializationNode& node, NNPForce& force) {
    force.setName(node.getStringProperty("name", force.getName()));
    force.setForceGroup(readInt(node, "forceGroup", force.getForceGroup()));
    force.setModelByReference(readBool(node, "modelByReference", force.getModelByReference()));
    force.setUsesPeriodicBoundaryConditions(readBool(node, "usesPeriodic", force.usesPeriodicBoundaryConditions()));
    force.setCharge(readInt(node, "charge", force.getCharge()));
    force.setMultiplicity(readInt(node, "multiplicity", force.getMultiplicity()));
    force.setOutputsForces(readBool(node, "outputsForces", force.getOutputsForces()));
    force.setCheckReferences(readBool(node, "checkReferences", force.getCheckReferences()));
    force.setCudaGraphs(readBool(node, "cudaGraphs", force.getCudaGraphs()));
    force.setCudaGraphWarmupSteps(readInt(node, "cudaGraphWarmupSteps", force.getCudaGraphWarmupSteps()));
    if (node.hasProperty("skin"))
        force.setSkin(readDouble(node, "skin"));
    force.setDeviceNeighbors(readBool(node, "deviceNeighbors", force.getDeviceNeighbors()));
}

void writeParticles(const NNPForce& force, SerializationNode& node) {
    if (force.usesSubset())
        writeInts(node.createChildNode("Particles"), "indices", force.getParticles());
    if (!force.getAtomicNumbers().empty())
        writeInts(node.createChildNode("AtomicNumbers"), "values", force.getAtomicNumbers());
    if (!force.getTypes().empty())
        writeInts(node.createChildNode("Types"), "values", force.getTypes());
    std::vector<int> bonds(2 * force.getNumBonds());
    for (int i = 0; i < force.getNumBonds(); i++)
        force.getBondParameters(i, bonds[2 * i], bonds[2 * i + 1]);
    if (!bonds.empty())
        writeInts(node.createChildNode("Bonds"), "particles", bonds);
}

void writeLinkAtoms(const NNPForce& force, SerializationNode& node) {
    if (force.getNumLinkAtoms() == 0)
        return;
    SerializationNode& atoms = node.createChildNode("LinkAtoms");
    for (const LinkAtom& atom : force.getLinkAtoms())
        atoms.createChildNode("LinkAtom")
            .setIntProperty("mlParticle", atom.mlParticle)
            .setIntProperty("mmParticle", atom.mmParticle)
            .setDoubleProperty("distance", atom.distance)
            .setIntProperty("atomicNumber", atom.atomicNumber);
}

void readLinkAtoms(const SerializationNode& node, NNPForce& force) {
    if (const SerializationNode* child = findChild(node, "LinkAtoms"))
        for (const SerializationNode& atom : child->getChildren())
            force.addLinkAtom(readInt(atom, "mlParticle"), readInt(atom, "mmParticle"), readDouble(atom, "distance"),
                              readInt(atom, "atomicNumber"));
}

void readParticles(const SerializationNode& node, NNPForce& force) {
    if (const SerializationNode* child = findChild(node, "Particles"))
        force.setParticles(readInts(*child, "indices"));
    if (const SerializationNode* child = findChild(node, "AtomicNumbers"))
        force.setAtomicNumbers(readInts(*child, "values"));
    if (const SerializationNode* child = findChild(node, "Types"))
        force.setTypes(readInts(*child, "values"));
    if (const SerializationNode* child = findChild(node, "Bonds")) {
        const std::vector<int> bonds = readInts(*child, "particles");
        if (bonds.size() % 2 != 0)
            throw OpenMMException("<Bonds particles=...> must hold pairs of particles; it holds " +
                                  std::to_string(bonds.size()) + " integers");
        for (size_t i = 0; i < bonds.size(); i += 2)
            force.addBond(bonds[i], bonds[i + 1]);
    }
}

void writeParameters(const NNPForce& force, SerializationNode& node) {
    if (!force.getScaleParameter().empty()) {
        SerializationNode& child = node.createChildNode("ScaleParameter");
        child.setStringProperty("name", force.getScaleParameter());
        if (const auto value = force.getScaleParameterDefaultValue())
            child.setDoubleProperty("default", *value);
    }
    SerializationNode& parameters = node.createChildNode("GlobalParameters");
    for (int i = 0; i < force.getNumGlobalParameters(); i++)
        parameters.createChildNode("Parameter")
            .setStringProperty("name", force.getGlobalParameterName(i))
            .setDoubleProperty("default", force.getGlobalParameterDefaultValue(i));
    SerializationNode& derivatives = node.createChildNode("ParameterDerivatives");
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        derivatives.createChildNode("Parameter").setStringProperty("name", force.getEnergyParameterDerivativeName(i));
}

void readParameters(const SerializationNode& node, NNPForce& force) {
    if (const SerializationNode* child = findChild(node, "ScaleParameter"))
        force.setScaleParameter(readString(*child, "name"), child->hasProperty("default")
                                                                ? std::optional(readDouble(*child, "default"))
                                                                : std::nullopt);
    if (const SerializationNode* child = findChild(node, "GlobalParameters"))
        for (const SerializationNode& parameter : child->getChildren())
            force.addGlobalParameter(readString(parameter, "name"), readDouble(parameter, "default"));
    if (const SerializationNode* child = findChild(node, "ParameterDerivatives"))
        for (const SerializationNode& parameter : child->getChildren())
            force.addEnergyParameterDerivative(readString(parameter, "name"));
}

} // namespace

NNPForceProxy::NNPForceProxy() : SerializationProxy("NNPForce") {}

void NNPForceProxy::serialize(const void* object, SerializationNode& node) const {
    const NNPForce& force = *static_cast<const NNPForce*>(object);
    try {
        node.setIntProperty("version", version);
        writeOptions(force, node);
        if (force.hasModel())
            writeModel(force, node);
        writeParticles(force, node);
        writeLinkAtoms(force, node);
        writeParameters(force, node);
    } catch (const std::exception& error) {
        throw OpenMMException("Cannot write the NNPForce '" + force.getName() + "' to XML: " + error.what());
    }
}

void* NNPForceProxy::deserialize(const SerializationNode& node) const {
    try {
        readVersion(node, "NNPForce", version);
        auto force = std::make_unique<NNPForce>();
        readOptions(node, *force);
        if (const SerializationNode* model = findChild(node, "Model"))
            readModel(*model, *force);
        readParticles(node, *force);
        readLinkAtoms(node, *force);
        readParameters(node, *force);
        return force.release();
    } catch (const std::exception& error) {
        throw OpenMMException(printable("Cannot read the NNPForce '" + node.getStringProperty("name", "") +
                                        "' from XML: " + error.what()));
    }
}

} // namespace openmmnnp
