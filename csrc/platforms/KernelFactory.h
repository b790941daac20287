#ifndef OPENMMNNP_KERNEL_FACTORY_H_
#define OPENMMNNP_KERNEL_FACTORY_H_

#include "api/NNPKernel.h"
#include <openmm/KernelFactory.h>
#include <openmm/OpenMMException.h>
#include <openmm/Platform.h>
#include <string>

namespace openmmnnp {

/** Makes the kernel of NNPForce on a platform. */
class NNPKernelFactory : public OpenMM::KernelFactory {
public:
    using Make = CalcNNPForceKernel* (*)(const std::string& name, const OpenMM::Platform&, OpenMM::ContextImpl&);
    explicit NNPKernelFactory(Make make) : make(make) {}
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        if (name == CalcNNPForceKernel::Name())
            return make(name, platform, context);
        throw OpenMM::OpenMMException("openmm-nnp has no kernel '" + name + "' for the platform " + platform.getName() +
                                      ".");
    }

private:
    Make make;
};

/** Register it with each platform of this class or of one that derives from it. */
template <class PlatformClass>
void registerKernelFactory(NNPKernelFactory::Make make) {
    for (int i = 0; i < OpenMM::Platform::getNumPlatforms(); i++) {
        OpenMM::Platform& platform = OpenMM::Platform::getPlatform(i);
        if (dynamic_cast<PlatformClass*>(&platform) != nullptr)
            platform.registerKernelFactory(CalcNNPForceKernel::Name(), new NNPKernelFactory(make));
    }
}

} // namespace openmmnnp

#endif // OPENMMNNP_KERNEL_FACTORY_H_
