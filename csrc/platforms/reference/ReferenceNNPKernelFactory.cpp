#include "platforms/reference/ReferenceNNPKernel.h"
#include <openmm/KernelFactory.h>
#include <openmm/OpenMMException.h>
#include <openmm/PluginInitializer.h>
#include <openmm/reference/ReferencePlatform.h>

namespace openmmnnp {

class ReferenceNNPKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl&) const override {
        if (name == CalcNNPForceKernel::Name())
            return new ReferenceCalcNNPForceKernel(name, platform);
        throw OpenMM::OpenMMException("openmm-nnp has no kernel '" + name + "' for the platform " + platform.getName() +
                                      ".");
    }
};

} // namespace openmmnnp

extern "C" OPENMMNNP_EXPORT void registerPlatforms() {}

/** Called by OpenMM when the plugin is loaded: Reference, and the CPU platform, which derives from it. */
extern "C" OPENMMNNP_EXPORT void registerKernelFactories() {
    for (int i = 0; i < OpenMM::Platform::getNumPlatforms(); i++) {
        OpenMM::Platform& platform = OpenMM::Platform::getPlatform(i);
        if (dynamic_cast<OpenMM::ReferencePlatform*>(&platform) != nullptr)
            platform.registerKernelFactory(openmmnnp::CalcNNPForceKernel::Name(),
                                           new openmmnnp::ReferenceNNPKernelFactory());
    }
}
