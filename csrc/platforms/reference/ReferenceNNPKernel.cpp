#include "platforms/reference/ReferenceNNPKernel.h"
#include "platforms/reference/accumulate.h"
#include "platforms/reference/gather.h"
#include "platforms/reference/scatter.h"
#include <openmm/reference/ReferencePlatform.h>

namespace openmmnnp {

namespace {

using PlatformData = OpenMM::ReferencePlatform::PlatformData;

/** The CPU platform derives from Reference and keeps the same data. */
PlatformData& dataOf(OpenMM::ContextImpl& context) {
    return *static_cast<PlatformData*>(context.getPlatformData());
}

} // namespace

void ReferenceCalcNNPForceKernel::initialize(const OpenMM::System&, const NNPForce& definition) {
    platformName = getPlatform().getName();
    force = std::make_unique<ForceEvaluation>(definition, context, "cpu", "float64", true);
}

double ReferenceCalcNNPForceKernel::execute(OpenMM::ContextImpl&, bool includeForces, bool includeEnergy,
                                            double scale) {
    clock.start();
    gatherInputs();
    clock.stop(StageClock::Gather);
    force->findNeighbors();
    force->chooseCharges(*dataOf(context).positions, dataOf(context).periodicBoxVectors);
    clock.stop(StageClock::Neighbors);
    force->run(includeForces);
    clock.stop(StageClock::Evaluate);
    PlatformData& data = dataOf(context);
    if (includeForces)
        scatter(force->getEvaluation().getForces(), force->getParticles(), force->getNumParticles(),
                scale * force->getForceUnit(), *data.forces);
    if (const MMInputs* mm = force->getEvaluation().getInputs().getMM(); includeForces && mm != nullptr)
        scatter(force->getEvaluation().getMMForces(), mm->getParticles(), mm->getCount(), scale * force->getForceUnit(),
                *data.forces);
    clock.stop(StageClock::Scatter);
    const double energy = accumulate(*force, scale, *data.energyParameterDerivatives);
    clock.stop(StageClock::Accumulate);
    clock.countCall();
    return includeEnergy ? energy : 0;
}

void ReferenceCalcNNPForceKernel::gatherInputs() {
    const PlatformData& data = dataOf(context);
    ModelInputs& inputs = force->getEvaluation().getInputs();
    const double perNm = force->getLengthsPerNm();
    if (inputs.getDType() == DType::Float64)
        gather(*data.positions, force->getParticles(), force->getNumParticles(), perNm, inputs.getPositions<double>());
    else
        gather(*data.positions, force->getParticles(), force->getNumParticles(), perNm, inputs.getPositions<float>());
    if (inputs.hasBox()) {
        double box[9];
        for (int i = 0; i < 9; i++)
            box[i] = data.periodicBoxVectors[i / 3][i % 3] * perNm;
        inputs.setBox(box);
    }
    const std::vector<std::string>& names = force->getParameterNames();
    for (size_t i = 0; i < names.size(); i++)
        inputs.setParameter(static_cast<int>(i), context.getParameters().at(names[i]));
}

void ReferenceCalcNNPForceKernel::skip() {
    force->skip();
}

NamedOutput ReferenceCalcNNPForceKernel::getOutput(const std::string& name) {
    return force->getOutput(name);
}

Diagnostics ReferenceCalcNNPForceKernel::getDiagnostics() {
    Diagnostics diagnostics = force->getDiagnostics();
    diagnostics.platform = platformName;
    diagnostics.milliseconds = clock.getMilliseconds();
    return diagnostics;
}

void ReferenceCalcNNPForceKernel::update(const NNPForce& definition) {
    force->update(definition);
}

} // namespace openmmnnp
