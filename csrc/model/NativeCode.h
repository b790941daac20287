#ifndef OPENMMNNP_NATIVE_CODE_H_
#define OPENMMNNP_NATIVE_CODE_H_

#include "model/ModelFile.h"

namespace openmmnnp {

/**
 * Before a package's library is opened: throws ModelError unless somebody vouched for it (TrustModel.h), and says to
 * the standard error, once per process and package, that native code is about to run.
 */
void admitNativeCode(const ModelFile& file);

} // namespace openmmnnp

#endif // OPENMMNNP_NATIVE_CODE_H_
