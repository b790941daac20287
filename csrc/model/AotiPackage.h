#ifndef OPENMMNNP_AOTI_PACKAGE_H_
#define OPENMMNNP_AOTI_PACKAGE_H_

#include "model/ModelDevice.h"
#include "model/ModelFile.h"
#include "model/OperatorCalls.h"
#include <string>
#include <vector>

namespace openmmnnp {

/** What an AOTInductor package says of itself. */
struct AotiPackage {
    /** A compiled model of the package: the archive's entries in one folder below data/aotinductor. */
    struct Entry {
        std::string library, metadata;
        /** Compiled CUDA kernels, which the library loads by their file names from a folder. */
        std::vector<std::string> kernels;
        /** What it calls without its being compiled into it, by the number of the call. */
        std::vector<const TensorOperator*> operators;
        std::string operatorList; // the entry that names them
    };
    Entry full;               // gives all outputs
    Entry energy;             // in the folder `energy`: gives neither forces nor derivatives; empty if there is none
    std::string torchVersion; // "" if it does not say

    /**
     * Read the package's directory and metadata.  Throws ModelError for what cannot run: another device, machine,
     * instruction set or GPU architecture, operators that are neither compiled into it nor known, weights outside the
     * library. `computeCapability` is ten times major plus minor, 0 if unknown.
     */
    static AotiPackage read(const ModelFile& file, const ModelDevice& device, int computeCapability);
};

} // namespace openmmnnp

#endif // OPENMMNNP_AOTI_PACKAGE_H_
