#include "api/NNPForceImpl.h"
#include "api/CheckForce.h"
#include "api/NamedErrors.h"

namespace openmmnnp {

NNPForceImpl::NNPForceImpl(const NNPForce& owner) : owner(owner), current(owner), scaleParameter(owner) {
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
    const double scale = scaleParameter.get(context);
    auto& implementation = kernel.getAs<CalcNNPForceKernel>();
    if (scaleParameter.skips(scale)) {
        implementation.skip();
        return 0;
    }
    return named(owner, [&] { return implementation.execute(context, includeForces, includeEnergy, scale); });
}

std::map<std::string, double> NNPForceImpl::getDefaultParameters() {
    std::map<std::string, double> parameters;
    for (int i = 0; i < owner.getNumGlobalParameters(); i++)
        parameters[owner.getGlobalParameterName(i)] = owner.getGlobalParameterDefaultValue(i);
    if (const auto scale = owner.getScaleParameterDefaultValue(); scale && !owner.getScaleParameter().empty())
        parameters[owner.getScaleParameter()] = *scale;
    return parameters;
}

std::vector<std::string> NNPForceImpl::getKernelNames() {
    return {CalcNNPForceKernel::Name()};
}

std::vector<std::pair<int, int>> NNPForceImpl::getBondedParticles() const {
    std::vector<std::pair<int, int>> bonds(owner.getNumBonds());
    for (int i = 0; i < owner.getNumBonds(); i++)
        owner.getBondParameters(i, bonds[i].first, bonds[i].second);
    for (const LinkAtom& atom : owner.getLinkAtoms())
        bonds.emplace_back(atom.mlParticle, atom.mmParticle);
    return bonds;
}

NamedOutput NNPForceImpl::getOutput(const std::string& name) {
    return named(owner, [&] { return kernel.getAs<CalcNNPForceKernel>().getOutput(name); });
}

Diagnostics NNPForceImpl::getDiagnostics() {
    return named(owner, [&] { return kernel.getAs<CalcNNPForceKernel>().getDiagnostics(); });
}

void NNPForceImpl::update(const NNPForce& force) {
    named(force, [&] { kernel.getAs<CalcNNPForceKernel>().update(force); });
    current = force;
}

} // namespace openmmnnp
