#ifndef OPENMMNNP_MODEL_DEVICE_H_
#define OPENMMNNP_MODEL_DEVICE_H_

#include "openmmnnp/ModelSpec.h"
#include <string>

namespace openmmnnp {

/** Where a model runs: the CPU, or one CUDA device by its ordinal. */
struct OPENMMNNP_EXPORT ModelDevice {
    bool isCuda = false;
    int index = 0;

    /** "cpu", "cuda:0"; "cuda" is the first.  Throws ModelError for anything else. */
    static ModelDevice parse(const std::string& text);
    /** "cpu", "cuda:0". */
    std::string getName() const;
    /** How sentences call it: "the CPU", "cuda:0". */
    std::string describe() const;
    bool operator==(const ModelDevice& other) const {
        return isCuda == other.isCuda && (!isCuda || index == other.index);
    }
    bool operator!=(const ModelDevice& other) const {
        return !(*this == other);
    }
};

} // namespace openmmnnp

#endif // OPENMMNNP_MODEL_DEVICE_H_
