#include "platforms/MMCharges.h"
#include "api/MMChargeOptions.h"
#include "platforms/IsInnerContext.h"
#include <algorithm>
#include <numeric>

namespace openmmnnp {

MMCharges::MMCharges(const NNPForce& force, OpenMM::ContextImpl& context)
    : options(mmChargeOptions(force, context.getSystem())), perNm(1 / force.getModelSpec().getLengthInNm()),
      nearby(options) {
    if (!force.getMMPeriodic() && !force.usesPeriodicBoundaryConditions() && !force.getMMParticles().empty() &&
        isInnerContext(context))
        throw ModelError("The force is inside a CustomCVForce or ATMForce, where it cannot see whether the System is "
                         "periodic, and so whether MM charges have periodic images: say it with setMMPeriodic().");
    const std::vector<int>& given = force.getMMParticles();
    std::vector<int> order(given.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return given[a] < given[b]; });
    for (const int index : order) {
        particles.push_back(given[index]);
        charges.push_back(force.getMMCharges()[index]);
    }
}

void MMCharges::choose(ModelInputs& inputs, const std::vector<OpenMM::Vec3>& positions, const OpenMM::Vec3 box[3]) {
    region.resize(3 * static_cast<size_t>(inputs.getNumParticles()));
    for (size_t k = 0; k < region.size(); k++)
        region[k] = inputs.getPosition(static_cast<int>(k / 3), k % 3);
    double rows[9];
    for (int k = 0; k < 9; k++)
        rows[k] = box[k / 3][k % 3] * perNm;
    static_assert(sizeof(OpenMM::Vec3) == 3 * sizeof(double), "positions are read as numbers");
    nearby.update(region,
                  {reinterpret_cast<const double*>(positions.data()), particles.data(),
                   static_cast<int>(particles.size()), perNm},
                  rows);
    inputs.chooseMM(static_cast<int>(nearby.getChosen().size()), nearby.getChosen().data(),
                    nearby.getPositions().data());
}

} // namespace openmmnnp
