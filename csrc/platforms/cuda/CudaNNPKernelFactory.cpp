#include "platforms/KernelFactory.h"
#include "platforms/cuda/CudaNNPKernel.h"
#include <openmm/PluginInitializer.h>

namespace {

openmmnnp::CalcNNPForceKernel* make(const std::string& name, const OpenMM::Platform& platform,
                                    OpenMM::ContextImpl& context) {
    const auto* data = static_cast<OpenMM::CudaPlatform::PlatformData*>(context.getPlatformData());
    return new openmmnnp::CudaNNPKernel(name, platform, context, *data->contexts[0]);
}

} // namespace

extern "C" OPENMMNNP_EXPORT void registerPlatforms() {}

/** Called by OpenMM when the plugin is loaded. */
extern "C" OPENMMNNP_EXPORT void registerKernelFactories() {
    openmmnnp::registerKernelFactory<OpenMM::CudaPlatform>(make);
}
