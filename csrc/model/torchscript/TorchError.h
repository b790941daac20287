#ifndef OPENMMNNP_TORCH_ERROR_H_
#define OPENMMNNP_TORCH_ERROR_H_

#include <algorithm>
#include <c10/util/Exception.h>
#include <string>

namespace openmmnnp {

/** The cause in torch's exception, without its traces and without a full stop. */
inline std::string causeOf(const std::exception& exception) {
    std::string text = exception.what();
    if (const auto* error = dynamic_cast<const c10::Error*>(&exception))
        text = error->what_without_backtrace();
    const size_t marker = text.rfind("Error: ");
    if (marker != std::string::npos)
        text = text.substr(text.rfind('\n', marker) + 1);
    if (text.compare(0, 13, "[enforce fail") == 0) // then comes the line of torch's source
        text.erase(0, std::min(text.find_first_not_of(" .", text.find(']') + 1), text.size()));
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ' || text.back() == '.'))
        text.pop_back();
    const size_t trace = std::min(text.find("\nException raised from"), text.find("\n\nAt:"));
    return text.substr(0, std::min<size_t>(trace, 600));
}

} // namespace openmmnnp

#endif // OPENMMNNP_TORCH_ERROR_H_
