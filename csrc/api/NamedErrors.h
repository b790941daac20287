#ifndef OPENMMNNP_NAMED_ERRORS_H_
#define OPENMMNNP_NAMED_ERRORS_H_

#include "model/ModelFile.h"
#include "model/Printable.h"
#include "openmmnnp/NNPForce.h"
#include <openmm/OpenMMException.h>

namespace openmmnnp {

/** Run something of ours; what goes wrong becomes an OpenMMException that names the force and the file. */
template <class F>
auto named(const NNPForce& force, F function) -> decltype(function()) {
    try {
        return function();
    } catch (const OpenMM::OpenMMException&) {
        throw;
    } catch (const std::exception& error) {
        const std::string file = force.hasModel() ? " (" + force.getModel()->describe() + ")" : "";
        throw OpenMM::OpenMMException(printable(force.getName() + file + ": " + error.what()));
    }
}

} // namespace openmmnnp

#endif // OPENMMNNP_NAMED_ERRORS_H_
