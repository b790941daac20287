#ifndef OPENMMNNP_NNP_FORCE_PROXY_H_
#define OPENMMNNP_NNP_FORCE_PROXY_H_

#include <openmm/serialization/SerializationProxy.h>

namespace openmmnnp {

/**
 * Writes an NNPForce into XML and reads it.
 *
 * The child <Model> holds the model's SHA-256 and its bytes in base64, in pieces; or only its path and SHA-256 if the
 * force says so (setModelByReference), and then the file is read with the XML.  What is read must have that SHA-256;
 * nothing of the model is run, loaded or unpickled.  A property that is missing takes the default of a new NNPForce.
 */
class NNPForceProxy : public OpenMM::SerializationProxy {
public:
    NNPForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

} // namespace openmmnnp

#endif // OPENMMNNP_NNP_FORCE_PROXY_H_
