#ifndef OPENMMNNP_STRICT_JSON_H_
#define OPENMMNNP_STRICT_JSON_H_

#include <nlohmann/json.hpp>
#include <string>

namespace openmmnnp {

/**
 * Read a JSON object from a file that is not trusted: no key twice in an object, at most 64 levels, numbers that fit a
 * double.  `what` begins the sentence of the ModelError.
 */
nlohmann::json parseJsonObject(const std::string& text, const std::string& what);

} // namespace openmmnnp

#endif // OPENMMNNP_STRICT_JSON_H_
