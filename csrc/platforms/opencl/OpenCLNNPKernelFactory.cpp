#include "platforms/common/HostModelKernel.h"
#include <openmm/KernelFactory.h>
#include <openmm/OpenMMException.h>
#include <openmm/PluginInitializer.h>
#include <openmm/opencl/OpenCLContext.h>

namespace openmmnnp {

class OpenCLNNPKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        const auto* data = static_cast<OpenMM::OpenCLPlatform::PlatformData*>(context.getPlatformData());
        if (name == CalcNNPForceKernel::Name())
            return new HostModelKernel(name, platform, context, *data->contexts[0]);
        throw OpenMM::OpenMMException("openmm-nnp has no kernel '" + name + "' for the platform " + platform.getName() +
                                      ".");
    }
};

} // namespace openmmnnp

extern "C" OPENMMNNP_EXPORT void registerPlatforms() {}

/** Called by OpenMM when the plugin is loaded. */
extern "C" OPENMMNNP_EXPORT void registerKernelFactories() {
    for (int i = 0; i < OpenMM::Platform::getNumPlatforms(); i++) {
        OpenMM::Platform& platform = OpenMM::Platform::getPlatform(i);
        if (dynamic_cast<OpenMM::OpenCLPlatform*>(&platform) != nullptr)
            platform.registerKernelFactory(openmmnnp::CalcNNPForceKernel::Name(),
                                           new openmmnnp::OpenCLNNPKernelFactory());
    }
}
