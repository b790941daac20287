#ifndef OPENMMNNP_BASE64_H_
#define OPENMMNNP_BASE64_H_

#include <string>
#include <string_view>

namespace openmmnnp {

/**
 * Bytes as text, for XML: base64 (RFC 4648, padded, in one line) is what this project writes, hexadecimal is what
 * openmm-torch writes.  The decoders throw OpenMMException at the first character that does not belong there.
 */
std::string encodeBase64(std::string_view bytes);
std::string decodeBase64(std::string_view text);
std::string decodeHex(std::string_view text);

} // namespace openmmnnp

#endif // OPENMMNNP_BASE64_H_
