#ifndef OPENMMNNP_NEQUIP_PACKAGE_H_
#define OPENMMNNP_NEQUIP_PACKAGE_H_

#include "model/Archive.h"
#include <string>

namespace openmmnnp {

/**
 * The spec, as JSON, of a package that nequip-compile wrote (`.nequip.pt2`, of NequIP or Allegro), from the metadata
 * that it put in.  python/openmmnnp/_nequip.py mirrors it.
 *
 * Positions are always float64, and the energy is theirs; `model_dtype` is the precision inside.  Units are not in the
 * metadata: angstrom and eV, as NequIP's own interfaces take them.
 *
 * "" if there is no such metadata.  Throws ModelError for what cannot run: an input or output that is not known, other
 * systems in one batch, operators of other packages.
 */
std::string nequipSpec(const Archive& archive);

} // namespace openmmnnp

#endif // OPENMMNNP_NEQUIP_PACKAGE_H_
