#ifndef OPENMMNNP_TRUST_MODEL_H_
#define OPENMMNNP_TRUST_MODEL_H_

#include "openmmnnp/ModelSpec.h"
#include <string>

namespace openmmnnp {

/**
 * Vouch for a package (.pt2), which is native code, by the SHA-256 of its file in hexadecimal.
 *
 * It counts for this process.  A file that is named (NNPForce::setModelFile) and one that XML refers to by path and
 * hash need no such call; bytes do, whether given as such or embedded in XML, since their code came with the data.  The
 * environment variable OPENMMNNP_TRUST (hashes, separated by commas) does the same.  Throws ModelError if it is no
 * SHA-256.
 */
OPENMMNNP_EXPORT void trustModel(const std::string& sha256);

} // namespace openmmnnp

#endif // OPENMMNNP_TRUST_MODEL_H_
