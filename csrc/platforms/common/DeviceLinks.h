#ifndef OPENMMNNP_DEVICE_LINKS_H_
#define OPENMMNNP_DEVICE_LINKS_H_

#include "openmmnnp/NNPForce.h"
#include <openmm/common/ComputeArray.h>
#include <openmm/common/ComputeContext.h>
#include <openmm/common/ComputeKernel.h>
#include <vector>

namespace openmmnnp {

/** What the kernels gather and scatter know of the link atoms of a force (kernels/links.cc); nothing if it has none. */
class DeviceLinks {
public:
    /** The particles are those of the force, as indices in the System. */
    DeviceLinks(OpenMM::ComputeContext& context, const std::vector<int>& particles, const std::vector<LinkAtom>& atoms);
    /** The last arguments of the kernels. */
    void addToGather(OpenMM::ComputeKernelImpl& kernel);
    void addToScatter(OpenMM::ComputeKernelImpl& kernel);

private:
    OpenMM::ComputeArray parents, distances, bonds;
};

} // namespace openmmnnp

#endif // OPENMMNNP_DEVICE_LINKS_H_
