#ifndef OPENMMNNP_TORCH_FORCE_PROXY_H_
#define OPENMMNNP_TORCH_FORCE_PROXY_H_

#include <openmm/serialization/SerializationProxy.h>

namespace openmmnnp {

/** The type under which TorchForceProxy is registered.  No such object exists, so that OpenMM only ever reads with it.
 */
struct TorchForceTag {};

/**
 * Reads a TorchForce that openmm-torch wrote (versions 1 to 4 of its XML) as an NNPForce with the same semantics.
 * What is written later is an NNPForce.
 */
class TorchForceProxy : public OpenMM::SerializationProxy {
public:
    TorchForceProxy();
    void serialize(const void* object, OpenMM::SerializationNode& node) const override;
    void* deserialize(const OpenMM::SerializationNode& node) const override;
};

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_FORCE_PROXY_H_
