#include "model/ModelDevice.h"

namespace openmmnnp {

ModelDevice ModelDevice::parse(const std::string& text) {
    if (text == "cpu")
        return {};
    const size_t colon = text.find(':');
    const std::string number = colon == std::string::npos ? "0" : text.substr(colon + 1);
    const bool isNumber =
        !number.empty() && number.size() < 5 && number.find_first_not_of("0123456789") == std::string::npos;
    if (text.substr(0, colon) != "cuda" || !isNumber)
        throw ModelError("A model cannot run on the device '" + text + "'; known are 'cpu' and 'cuda:N'.");
    return {true, std::stoi(number)};
}

std::string ModelDevice::getName() const {
    return isCuda ? "cuda:" + std::to_string(index) : "cpu";
}

std::string ModelDevice::describe() const {
    return isCuda ? getName() : "the CPU";
}

} // namespace openmmnnp
