#include "platforms/KernelFactory.h"
#include "platforms/reference/ReferenceNNPKernel.h"
#include <openmm/PluginInitializer.h>
#include <openmm/reference/ReferencePlatform.h>

namespace {

openmmnnp::CalcNNPForceKernel* make(const std::string& name, const OpenMM::Platform& platform,
                                    OpenMM::ContextImpl& context) {
    return new openmmnnp::ReferenceCalcNNPForceKernel(name, platform, context);
}

} // namespace

extern "C" OPENMMNNP_EXPORT void registerPlatforms() {}

/** Called by OpenMM when the plugin is loaded: Reference, and the CPU platform, which derives from it. */
extern "C" OPENMMNNP_EXPORT void registerKernelFactories() {
    openmmnnp::registerKernelFactory<OpenMM::ReferencePlatform>(make);
}
