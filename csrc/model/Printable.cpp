#include "model/Printable.h"
#include <cstdint>
#include <cstdio>

namespace openmmnnp {

namespace {

/** Bytes of the character of UTF-8 that begins here, 0 if none does. */
size_t lengthAt(const std::string& text, size_t at) {
    const auto first = static_cast<uint8_t>(text[at]);
    const size_t length = first < 0x80                    ? 1
                          : first >= 0xC2 && first < 0xE0 ? 2
                          : first >= 0xE0 && first < 0xF0 ? 3
                          : first >= 0xF0 && first < 0xF5 ? 4
                                                          : 0;
    if (length == 0 || at + length > text.size())
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((static_cast<uint8_t>(text[at + i]) & 0xC0) != 0x80)
            return 0;
    const auto second = length > 1 ? static_cast<uint8_t>(text[at + 1]) : uint8_t(0);
    const bool isOverlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool isNoCharacter = (first == 0xED && second >= 0xA0) || (first == 0xF4 && second >= 0x90);
    return isOverlong || isNoCharacter ? 0 : length;
}

} // namespace

ModelError::ModelError(const std::string& message) : std::runtime_error(printable(message)) {}

std::string printable(const std::string& message) {
    std::string text;
    for (size_t i = 0; i < message.size();) {
        const size_t length = lengthAt(message, i);
        const bool isControl = length == 1 && (message[i] == 127 || (message[i] < ' ' && message[i] != '\n'));
        text += length == 0 ? "\xEF\xBF\xBD" : isControl ? "?" : message.substr(i, length);
        i += length == 0 ? 1 : length;
    }
    return text;
}

std::string printNumber(double value) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.6g", value);
    return text;
}

} // namespace openmmnnp
