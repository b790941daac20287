#ifndef OPENMMNNP_PRINTABLE_H_
#define OPENMMNNP_PRINTABLE_H_

#include "openmmnnp/ModelSpec.h"
#include <string>

namespace openmmnnp {

/**
 * A message as UTF-8, which Python's OpenMM asks for: what is no UTF-8 (names and texts of a damaged file) becomes the
 * replacement character U+FFFD, a control character other than a line feed a question mark.
 */
OPENMMNNP_EXPORT std::string printable(const std::string& message);

/** A number with six digits. */
std::string printNumber(double value);

} // namespace openmmnnp

#endif // OPENMMNNP_PRINTABLE_H_
