#include "api/NNPForceImpl.h"
#include "api/CheckForce.h"
#include "model/ModelFile.h"
#include <cmath>
#include <openmm/OpenMMException.h>

namespace openmmnnp {

namespace {

/** Run something of ours; what goes wrong becomes an OpenMMException that names the force and the file. */
template <class F>
auto named(const NNPForce& force, F function) -> decltype(function()) {
    try {
        return function();
    } catch (const OpenMM::OpenMMException&) {
        throw;
    } catch (const std::exception& error) {
        const std::string file = force.hasModel() ? " (" + force.getModel()->describe() + ")" : "";
        throw OpenMM::OpenMMException(force.getName() + file + ": " + error.what());
    }
}

bool declaresDerivative(const NNPForce& force, const std::string& name) {
    for (int i = 0; i < force.getNumEnergyParameterDerivatives(); i++)
        if (force.getEnergyParameterDerivativeName(i) == name)
            return true;
    return false;
}

} // namespace

NNPForceImpl::NNPForceImpl(const NNPForce& owner)
    : owner(owner), current(owner), scaleParameter(owner.getScaleParameter()),
      evaluateAtZeroScale(declaresDerivative(owner, scaleParameter)) {
    forceGroup = owner.getForceGroup();
}

void NNPForceImpl::initialize(OpenMM::ContextImpl& context) {
    named(owner, [&] {
        checkForce(owner, context.getSystem());
        kernel = context.getPlatform().createKernel(CalcNNPForceKernel::Name(), context);
        kernel.getAs<CalcNNPForceKernel>().initialize(context.getSystem(), owner);
    });
}

double NNPForceImpl::calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy,
                                         int groups) {
    if ((groups & (1 << forceGroup)) == 0)
        return 0;
    const double scale = scaleParameter.empty() ? 1 : context.getParameters().at(scaleParameter);
    if (!std::isfinite(scale))
        throw OpenMM::OpenMMException(owner.getName() + ": the scale parameter '" + scaleParameter + "' is " +
                                      std::to_string(scale) + ", but a finite number is needed.");
    auto& implementation = kernel.getAs<CalcNNPForceKernel>();
    if (scale == 0 && !evaluateAtZeroScale) {
        implementation.skip();
        return 0;
    }
    return named(owner, [&] { return implementation.execute(context, includeForces, includeEnergy, scale); });
}

std::map<std::string, double> NNPForceImpl::getDefaultParameters() {
    std::map<std::string, double> parameters;
    for (int i = 0; i < owner.getNumGlobalParameters(); i++)
        parameters[owner.getGlobalParameterName(i)] = owner.getGlobalParameterDefaultValue(i);
    if (!owner.getScaleParameter().empty())
        parameters[owner.getScaleParameter()] = owner.getScaleParameterDefaultValue();
    return parameters;
}

std::vector<std::string> NNPForceImpl::getKernelNames() {
    return {CalcNNPForceKernel::Name()};
}

std::vector<std::pair<int, int>> NNPForceImpl::getBondedParticles() const {
    std::vector<std::pair<int, int>> bonds(owner.getNumBonds());
    for (int i = 0; i < owner.getNumBonds(); i++)
        owner.getBondParameters(i, bonds[i].first, bonds[i].second);
    return bonds;
}

NamedOutput NNPForceImpl::getOutput(const std::string& name) const {
    return named(owner, [&] { return kernel.getAs<CalcNNPForceKernel>().getOutput(name); });
}

Diagnostics NNPForceImpl::getDiagnostics() const {
    return named(owner, [&] { return kernel.getAs<CalcNNPForceKernel>().getDiagnostics(); });
}

void NNPForceImpl::update(const NNPForce& force) {
    named(force, [&] { kernel.getAs<CalcNNPForceKernel>().update(force); });
    current = force;
}

} // namespace openmmnnp
