#include "serialization/Base64.h"
#include <array>
#include <cstdint>
#include <openmm/OpenMMException.h>

namespace openmmnnp {

namespace {

constexpr std::string_view base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t invalid = 0xFF;

using Table = std::array<uint8_t, 256>;

/** Value of each character; digits past `radix` repeat the values from `repeatAt` on (the capital letters of hex). */
Table makeTable(std::string_view digits, size_t radix, size_t repeatAt = 0) {
    Table table;
    table.fill(invalid);
    for (size_t i = 0; i < digits.size(); i++)
        table[static_cast<uint8_t>(digits[i])] = static_cast<uint8_t>(i < radix ? i : i - radix + repeatAt);
    return table;
}

/** Decode whole groups of `digits` characters; an invalid one sets the high bits of what is returned. */
template <int digits, int bits>
uint8_t decodeGroups(const Table& table, std::string_view text, char* out) {
    constexpr int bytes = digits * bits / 8;
    uint8_t seen = 0;
    for (size_t i = 0; i + digits <= text.size(); i += digits, out += bytes) {
        uint32_t word = 0;
        for (int k = 0; k < digits; k++) {
            const uint8_t value = table[static_cast<uint8_t>(text[i + k])];
            seen |= value;
            word = word << bits | value;
        }
        for (int k = 0; k < bytes; k++)
            out[k] = static_cast<char>(word >> 8 * (bytes - 1 - k));
    }
    return seen;
}

[[noreturn]] void refuse(const std::string& kind, const Table& table, std::string_view text) {
    size_t i = 0;
    while (i < text.size() && table[static_cast<uint8_t>(text[i])] != invalid)
        i++;
    const std::string where = "character " + std::to_string(i + 1) + " of " + std::to_string(text.size());
    throw OpenMM::OpenMMException("the " + kind + " text of the model is damaged: " + where + " does not belong there");
}

} // namespace

std::string encodeBase64(std::string_view bytes) {
    std::string text((bytes.size() + 2) / 3 * 4, '=');
    const auto byte = [&](size_t i) { return i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0u; };
    char* out = text.data();
    for (size_t i = 0; i < bytes.size(); i += 3, out += 4) {
        const uint32_t word = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
        for (size_t k = 0; k < 4 && i + k <= bytes.size(); k++)
            out[k] = base64Digits[word >> (18 - 6 * k) & 63];
    }
    return text;
}

std::string decodeBase64(std::string_view text) {
    static const Table table = makeTable(base64Digits, 64);
    if (text.size() % 4 != 0)
        throw OpenMM::OpenMMException("the base64 text of the model is cut off: its length, " +
                                      std::to_string(text.size()) + ", is not a multiple of 4");
    const size_t padding = text.empty() || text.back() != '=' ? 0 : text[text.size() - 2] == '=' ? 2 : 1;
    std::string bytes(text.size() / 4 * 3, '\0');
    const std::string_view digits = text.substr(0, text.size() - padding);
    uint8_t seen = decodeGroups<4, 6>(table, digits, bytes.data());
    if (padding > 0) {
        const std::string last = std::string(digits.substr(digits.size() / 4 * 4)) + std::string(padding, 'A');
        seen |= decodeGroups<4, 6>(table, last, bytes.data() + bytes.size() - 3);
    }
    if (seen > 63)
        refuse("base64", table, digits);
    bytes.resize(bytes.size() - padding);
    return bytes;
}

std::string decodeHex(std::string_view text) {
    static const Table table = makeTable("0123456789abcdefABCDEF", 16, 10);
    if (text.size() % 2 != 0)
        throw OpenMM::OpenMMException("the hexadecimal text of the model is cut off: its length, " +
                                      std::to_string(text.size()) + ", is odd");
    std::string bytes(text.size() / 2, '\0');
    if (decodeGroups<2, 4>(table, text, bytes.data()) > 15)
        refuse("hexadecimal", table, text);
    return bytes;
}

} // namespace openmmnnp
