#include "platforms/common/DeviceCharges.h"
#include "model/MMInputs.h"
#include "neighbors/CheckBox.h"
#include "openmmnnp_kernels.h"
#include <algorithm>
#include <openmm/common/ContextSelector.h>

namespace openmmnnp {

namespace {

constexpr int threadsOfGroup = 128, threadsOfGroupOnCpu = 32;
constexpr int firstCapacity = 256; // if there is a cutoff
constexpr int step = 32;           // by which it grows
constexpr double slack = 1.2;      // room beyond what is needed
constexpr double farAway = 1e30;   // square of a distance

template <class... Arguments>
void setArguments(OpenMM::ComputeKernelImpl& kernel, Arguments&&... arguments) {
    int index = 0;
    (kernel.setArg(index++, arguments), ...);
}

int roundUp(double number) {
    return step * (static_cast<int>(number / step) + 1);
}

} // namespace

DeviceCharges::DeviceCharges(OpenMM::ComputeContext& context, const MMCharges& mm, int numRegion, bool modelIsDouble,
                             double perNm, std::unique_ptr<HostNumbers> numbers)
    : context(context), options(mm.getOptions()), particles(context, mm.getParticles()),
      numCharges(static_cast<int>(mm.getParticles().size())), numRegion(numRegion),
      numParts(std::min(context.getNumThreadBlocks(), numCharges)), modelIsDouble(modelIsDouble),
      wide(context.getSupportsDoublePrecision()), perNm(perNm), numbers(std::move(numbers)),
      capacity(
          std::max(MMInputs::leastCharges, options.cutoff > 0 ? std::min(numCharges, firstCapacity) : numCharges)) {
    const size_t real = modelIsDouble ? sizeof(double) : sizeof(float);
    allCharges.initialize(context, numCharges, wide ? sizeof(double) : sizeof(float), "nnpAllCharges");
    images.initialize(context, numCharges, wide ? sizeof(OpenMM::mm_double4) : sizeof(OpenMM::mm_float4),
                      "nnpChargeImages");
    partCounts.initialize<int64_t>(context, 2 * numParts, "nnpChargeCounts");
    positions.initialize(context, 3 * static_cast<size_t>(capacity), real, "nnpChargePositions");
    charges.initialize(context, capacity, real, "nnpCharges");
    chosen.initialize<int>(context, capacity, "nnpChosenCharges");
    setCharges(mm);
    compile();
}

void DeviceCharges::setCharges(const MMCharges& mm) {
    allCharges.upload(mm.getCharges(), true); // converted to float where the device has no double
}

void DeviceCharges::compile() {
    std::map<std::string, std::string> defines = {
        {"NUM_CHARGES", context.intToString(numCharges)},
        {"PADDED_NUM_ATOMS", context.intToString(context.getPaddedNumAtoms())},
        {"GROUP_SIZE", context.intToString(threadsOfGroup)},
        {"MODEL_REAL", modelIsDouble ? "double" : "float"},
        {"WIDE", wide ? "double" : "float"},
        {"WIDE4", wide ? "double4" : "float4"}};
    if (options.images)
        defines["IMAGES"] = "1";
    else
        defines["UNWRAP"] = "1";
    if (options.oneImage)
        defines["ONE_IMAGE"] = "1";
    const OpenMM::ComputeProgram program =
        context.compileProgram(std::string(kernels::sums) + kernels::charges, defines);
    const auto make = [&](const char* name, int numArguments) {
        const OpenMM::ComputeKernel kernel = program->createKernel(name);
        for (int i = 0; i < numArguments; i++)
            kernel->addArg();
        return kernel;
    };
    marker = make("markCharges", context.getUseMixedPrecision() ? 15 : 14);
    writer = make("writeCharges", 10);
    scatterer = make("scatterToCharges", 6);
    numbers->addTo(*writer);
    const int most = std::min(marker->getMaxBlockSize(), writer->getMaxBlockSize()) / step * step;
    groupSize = context.getIsCPU() ? threadsOfGroupOnCpu : std::min(threadsOfGroup, most);
}

void DeviceCharges::enqueue(OpenMM::ComputeArray& region) {
    const OpenMM::ContextSelector selector(context);
    OpenMM::Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    double rows[9];
    for (int k = 0; k < 9; k++)
        rows[k] = box[k / 3][k % 3] * perNm;
    checkBoxForCharges(options, rows);
    grow();
    if (!options.images)
        particles.update();
    if (wide)
        launch<double, OpenMM::mm_double4>(region, rows);
    else
        launch<float, OpenMM::mm_float4>(region, rows);
    numbers->send();
    isKnown = false;
}

template <class Real, class Real4>
void DeviceCharges::launch(OpenMM::ComputeArray& region, const double box[9]) {
    const auto vector = [](const double* v, double factor) {
        return Real4(static_cast<Real>(v[0] * factor), static_cast<Real>(v[1] * factor),
                     static_cast<Real>(v[2] * factor), 0);
    };
    double height[3];
    findHeights(box, height);
    const Real4 a = vector(box, 1), b = vector(box + 3, 1), c = vector(box + 6, 1), heights = vector(height, 1),
                padding = vector(MMInputs::padding, perNm);
    const Real scale = perNm, limit = options.cutoff > 0 ? options.cutoff * options.cutoff : farAway;
    if (context.getUseMixedPrecision())
        setArguments(*marker, numParts, context.getPosq(), context.getPosqCorrection(), particles.getSlots(),
                     particles.getCellOffsets(), a, b, c, scale, numRegion, region, limit, heights, images, partCounts);
    else
        setArguments(*marker, numParts, context.getPosq(), particles.getSlots(), particles.getCellOffsets(), a, b, c,
                     scale, numRegion, region, limit, heights, images, partCounts);
    setArguments(*writer, numParts, images, partCounts, allCharges, region, padding, capacity, positions, charges,
                 chosen);
    marker->execute(numParts * groupSize, groupSize);
    writer->execute(numParts * groupSize, groupSize);
}

bool DeviceCharges::fits() {
    if (!isKnown) {
        const long long* values = numbers->wait();
        count = values[0];
        isKnown = true;
        if (values[1] > 0)
            throw ModelError(describeTwoImages(options, particles.getParticles()[values[1] - 1]));
    }
    return count <= capacity;
}

/** Nothing that was enqueued may use the old arrays when they go. */
void DeviceCharges::grow() {
    if (count <= capacity)
        return;
    const OpenMM::ComputeEvent passed = context.createEvent();
    passed->enqueue();
    passed->wait();
    numGrowths++; // also if there is no memory: what was there before is gone then
    const int needed = std::min(roundUp(slack * count), numCharges);
    capacity = 0; // until there is memory: no kernel runs before
    positions.resize(3 * static_cast<size_t>(needed));
    charges.resize(needed);
    chosen.resize(needed);
    capacity = needed;
    count = 0;
}

void DeviceCharges::scatter(OpenMM::ComputeArray& forces, int numForces, double factor) {
    const OpenMM::ContextSelector selector(context);
    if (wide)
        setArguments(*scatterer, forces, chosen, particles.getSlots(), factor, numForces, context.getLongForceBuffer());
    else
        setArguments(*scatterer, forces, chosen, particles.getSlots(), static_cast<float>(factor), numForces,
                     context.getLongForceBuffer());
    if (numForces > 0)
        scatterer->execute(numForces);
}

} // namespace openmmnnp
