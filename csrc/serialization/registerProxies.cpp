#include "openmmnnp/NNPForce.h"
#include "serialization/NNPForceProxy.h"
#include "serialization/TorchForceProxy.h"
#include <openmm/OpenMMException.h>

namespace openmmnnp {

namespace {

bool isRegistered(const std::string& typeName) {
    try {
        OpenMM::SerializationProxy::getProxy(typeName);
        return true;
    } catch (const OpenMM::OpenMMException&) {
        return false;
    }
}

} // namespace

/** Runs when the library is loaded.  A TorchForce that openmm-torch registered stays.  OpenMM never frees proxies. */
__attribute__((constructor)) void registerSerializationProxies() {
    OpenMM::SerializationProxy::registerProxy(typeid(NNPForce), new NNPForceProxy());
    if (!isRegistered("TorchForce"))
        OpenMM::SerializationProxy::registerProxy(typeid(TorchForceTag), new TorchForceProxy());
}

} // namespace openmmnnp
