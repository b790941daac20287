#include "platforms/cuda/CudaNNPKernel.h"
#include <openmm/KernelFactory.h>
#include <openmm/OpenMMException.h>
#include <openmm/PluginInitializer.h>

namespace openmmnnp {

class CudaNNPKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        const auto* data = static_cast<OpenMM::CudaPlatform::PlatformData*>(context.getPlatformData());
        if (name == CalcNNPForceKernel::Name())
            return new CudaNNPKernel(name, platform, context, *data->contexts[0]);
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
        if (platform.getName() == "CUDA")
            platform.registerKernelFactory(openmmnnp::CalcNNPForceKernel::Name(),
                                           new openmmnnp::CudaNNPKernelFactory());
    }
}
