#include "platforms/KernelFactory.h"
#include "platforms/common/HostModelKernel.h"
#include <openmm/PluginInitializer.h>
#include <openmm/opencl/OpenCLContext.h>

namespace {

openmmnnp::CalcNNPForceKernel* make(const std::string& name, const OpenMM::Platform& platform,
                                    OpenMM::ContextImpl& context) {
    const auto* data = static_cast<OpenMM::OpenCLPlatform::PlatformData*>(context.getPlatformData());
    return new openmmnnp::HostModelKernel(name, platform, context, *data->contexts[0]);
}

} // namespace

extern "C" OPENMMNNP_EXPORT void registerPlatforms() {}

/** Called by OpenMM when the plugin is loaded. */
extern "C" OPENMMNNP_EXPORT void registerKernelFactories() {
    openmmnnp::registerKernelFactory<OpenMM::OpenCLPlatform>(make);
}
