#ifndef OPENMMNNP_TORCH_SCRIPT_ARCHIVE_H_
#define OPENMMNNP_TORCH_SCRIPT_ARCHIVE_H_

#include "model/Archive.h"

namespace openmmnnp {

/**
 * Refuse a TorchScript archive of which torch would run something while it reads it: methods `__setstate__`, and the
 * format from before torch 1.0.  Throws ModelError.
 */
void checkTorchScriptArchive(const Archive& archive);

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_SCRIPT_ARCHIVE_H_
