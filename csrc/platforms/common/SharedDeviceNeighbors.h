#ifndef OPENMMNNP_SHARED_DEVICE_NEIGHBORS_H_
#define OPENMMNNP_SHARED_DEVICE_NEIGHBORS_H_

#include "platforms/SharedNeighbors.h"
#include "platforms/common/DeviceNeighbors.h"
#include <functional>
#include <memory>

namespace openmmnnp {

/** The list of these positions with these options and this layout, on the device; else the one that is made. */
std::shared_ptr<DeviceNeighbors> shareDeviceNeighbors(const NeighborPositions& positions,
                                                      const NeighborOptions& options, const EdgeLayout& layout,
                                                      const std::function<std::shared_ptr<DeviceNeighbors>()>& make);

} // namespace openmmnnp

#endif // OPENMMNNP_SHARED_DEVICE_NEIGHBORS_H_
