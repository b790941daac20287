// What the XML of a force says, without the XML: lines that open a node (<NAME), close it (>) or set a property of it
// (NAME=VALUE).  A force that is made of it is written, read again, and must be written the same.

#include "require.h"
#include "serialization/NNPForceProxy.h"
#include "serialization/TorchForceProxy.h"
#include <cstdint>
#include <memory>
#include <openmm/Force.h>
#include <openmm/OpenMMException.h>
#include <openmm/serialization/SerializationNode.h>
#include <sstream>

using namespace openmmnnp;
using OpenMM::Force;
using OpenMM::SerializationNode;

namespace {

void readChildren(std::istream& lines, SerializationNode& node) {
    for (std::string line; std::getline(lines, line) && line != ">";) {
        const size_t split = line.find('=');
        if (line[0] == '<')
            readChildren(lines, node.createChildNode(line.substr(1)));
        else if (split != std::string::npos)
            node.setStringProperty(line.substr(0, split), line.substr(split + 1));
    }
}

bool isSame(const SerializationNode& a, const SerializationNode& b) {
    bool same = a.getName() == b.getName() && a.getProperties() == b.getProperties() &&
                a.getChildren().size() == b.getChildren().size();
    for (size_t i = 0; same && i < a.getChildren().size(); i++)
        same = isSame(a.getChildren()[i], b.getChildren()[i]);
    return same;
}

SerializationNode write(const Force& force) {
    SerializationNode node;
    NNPForceProxy().serialize(&force, node);
    return node;
}

std::unique_ptr<Force> read(const SerializationNode& node, bool isTorchForce) {
    if (isTorchForce)
        return std::unique_ptr<Force>(static_cast<Force*>(TorchForceProxy().deserialize(node)));
    return std::unique_ptr<Force>(static_cast<Force*>(NNPForceProxy().deserialize(node)));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
    SerializationNode node;
    readChildren(lines, node);
    std::unique_ptr<Force> force;
    try {
        force = read(node, node.getStringProperty("type", "") == "TorchForce");
    } catch (const OpenMM::OpenMMException&) {
        return 0;
    }
    const SerializationNode written = write(*force);
    REQUIRE(isSame(write(*read(written, false)), written));
    return 0;
}
