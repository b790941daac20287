#ifndef OPENMMNNP_AOTI_PACKAGE_H_
#define OPENMMNNP_AOTI_PACKAGE_H_

#include "model/ModelFile.h"
#include <string>

namespace openmmnnp {

/** What an AOTInductor package says of itself. */
struct AotiPackage {
    std::string libraryEntry; // the archive's entry with the shared library
    std::string device;       // "cpu", "cuda"
    std::string torchVersion; // "" if it does not say

    /**
     * Read the package's directory and metadata.  Throws ModelError for what cannot run: another device, machine or
     * instruction set, custom operators that need a proxy executor, weights outside the library.
     */
    static AotiPackage read(const ModelFile& file, const std::string& device);
};

} // namespace openmmnnp

#endif // OPENMMNNP_AOTI_PACKAGE_H_
