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
    links = std::make_unique<HostLinks>(force->getLinkAtoms(), definition.usesPeriodicBoundaryConditions());
}

double ReferenceCalcNNPForceKernel::execute(OpenMM::ContextImpl&, bool includeForces, bool includeEnergy,
                                            double scale) {
    const bool withForces = includeForces && scale != 0; // at 0 the energy alone is of use, for the derivative by it
    clock.start();
    gatherInputs();
    clock.stop(StageClock::Gather);
    force->findNeighbors();
    force->chooseCharges(*dataOf(context).positions, dataOf(context).periodicBoxVectors);
    clock.stop(StageClock::Neighbors);
    force->run(withForces);
    clock.stop(StageClock::Evaluate);
    if (withForces)
        scatterForces(scale);
    clock.stop(StageClock::Scatter);
    const double energy = accumulate(*force, scale, *dataOf(context).energyParameterDerivatives);
    clock.stop(StageClock::Accumulate);
    clock.countCall();
    return includeEnergy ? energy : 0;
}

void ReferenceCalcNNPForceKernel::gatherInputs() {
    const PlatformData& data = dataOf(context);
    ModelInputs& inputs = force->getEvaluation().getInputs();
    const double perNm = force->getLengthsPerNm();
    if (inputs.getDType() == DType::Float64)
        gatherPositions<double>();
    else
        gatherPositions<float>();
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

template <class Real>
void ReferenceCalcNNPForceKernel::gatherPositions() {
    const PlatformData& data = dataOf(context);
    const int n = force->getNumParticles();
    Real* target = force->getEvaluation().getInputs().getPositions<Real>();
    gather(*data.positions, force->getParticles(), n, force->getLengthsPerNm(), target);
    links->place(*data.positions, data.periodicBoxVectors, force->getLengthsPerNm(), target + 3 * n);
}

void ReferenceCalcNNPForceKernel::scatterForces(double scale) {
    const int n = force->getNumParticles();
    Evaluation& evaluation = force->getEvaluation();
    const double* forces = evaluation.getForces();
    const double factor = scale * force->getForceUnit();
    std::vector<OpenMM::Vec3>& target = *dataOf(context).forces;
    scatter(forces, force->getParticles(), n, factor, target);
    links->spread(forces + 3 * n, factor, target);
    if (const MMInputs* mm = evaluation.getInputs().getMM())
        scatter(evaluation.getMMForces(), mm->getParticles(), mm->getCount(), factor, target);
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
