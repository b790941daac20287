#include "serialization/XmlValues.h"
#include <algorithm>
#include <charconv>
#include <openmm/OpenMMException.h>
#include <string_view>
#include <system_error>

namespace openmmnnp {

using OpenMM::OpenMMException;
using OpenMM::SerializationNode;

namespace {

/** Where a property stands; OpenMM gives the root node no name. */
std::string describe(const SerializationNode& node, const std::string& property) {
    return "the property '" + property + "'" + (node.getName().empty() ? "" : " of <" + node.getName() + ">");
}

[[noreturn]] void refuse(const SerializationNode& node, const std::string& property, std::string_view text,
                         const std::string& needed) {
    throw OpenMMException(describe(node, property) + " is '" + std::string(text.substr(0, 40)) + "' but must be " +
                          needed);
}

template <class T>
T parse(const SerializationNode& node, const std::string& property, std::string_view text, const std::string& needed) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
        refuse(node, property, text, needed);
    return value;
}

template <class T>
std::vector<T> parseList(const SerializationNode& node, const std::string& property, const std::string& needed) {
    const std::string text = readString(node, property);
    const std::string_view view = text;
    std::vector<T> values;
    for (size_t begin = 0; begin < view.size();) {
        const size_t end = std::min(view.find(' ', begin), view.size());
        values.push_back(parse<T>(node, property, view.substr(begin, end - begin), needed));
        begin = end + 1;
    }
    return values;
}

} // namespace

std::string readString(const SerializationNode& node, const std::string& property) {
    if (!node.hasProperty(property))
        throw OpenMMException(describe(node, property) + " is missing");
    return node.getStringProperty(property);
}

int readInt(const SerializationNode& node, const std::string& property) {
    return parse<int>(node, property, readString(node, property), "an integer");
}

int readInt(const SerializationNode& node, const std::string& property, int defaultValue) {
    return node.hasProperty(property) ? readInt(node, property) : defaultValue;
}

bool readBool(const SerializationNode& node, const std::string& property, bool defaultValue) {
    if (!node.hasProperty(property))
        return defaultValue;
    const std::string text = readString(node, property);
    if (text != "0" && text != "1")
        refuse(node, property, text, "0 or 1");
    return text == "1";
}

double readDouble(const SerializationNode& node, const std::string& property) {
    return parse<double>(node, property, readString(node, property), "a number");
}

std::vector<int> readInts(const SerializationNode& node, const std::string& property) {
    return parseList<int>(node, property, "integers separated by single spaces");
}

std::vector<double> readDoubles(const SerializationNode& node, const std::string& property) {
    return parseList<double>(node, property, "numbers separated by single spaces");
}

void writeInts(SerializationNode& node, const std::string& property, const std::vector<int>& values) {
    std::string text;
    for (const int value : values)
        text += (text.empty() ? "" : " ") + std::to_string(value);
    node.setStringProperty(property, text);
}

void writeDoubles(SerializationNode& node, const std::string& property, const std::vector<double>& values) {
    std::string text;
    char number[32];
    for (const double value : values)
        text.append(text.empty() ? "" : " ").append(number, std::to_chars(number, number + sizeof(number), value).ptr);
    node.setStringProperty(property, text);
}

const SerializationNode* findChild(const SerializationNode& node, const std::string& name) {
    for (const SerializationNode& child : node.getChildren())
        if (child.getName() == name)
            return &child;
    return nullptr;
}

int readVersion(const SerializationNode& node, const std::string& type, int newest) {
    const int version = readInt(node, "version");
    if (version < 1 || version > newest) {
        const std::string readable = newest == 1 ? "version 1" : "versions 1 to " + std::to_string(newest);
        const std::string given = "version " + std::to_string(version) + " of " + type +
                                  "'s XML cannot be read: this openmm-nnp reads " + readable;
        throw OpenMMException(given + (version > newest ? "; install a newer one" : ""));
    }
    return version;
}

} // namespace openmmnnp
