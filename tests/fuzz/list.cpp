// Prints what the reader finds in the model files that are its arguments, a line of JSON for each: the error, or the
// SHA-256 of each entry, and the error with which the file is refused though the archive is sound.

#include "model/ModelFile.h"
#include "model/Printable.h"
#include "pack.h"
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

using namespace openmmnnp;
using Json = nlohmann::json;

namespace {

Json describe(const std::string& bytes) {
    Json json = {{"entries", nullptr}, {"error", nullptr}};
    try {
        Json entries = Json::array();
        for (const auto& [name, content] : unpack(bytes))
            entries.push_back({printable(name), sha256(content)});
        json["entries"] = entries;
        ModelFile::fromBytes(bytes, "");
    } catch (const ModelError& error) {
        json["error"] = error.what();
    }
    return json;
}

} // namespace

int main(int count, char** paths) {
    for (int i = 1; i < count; i++) {
        std::ifstream stream(paths[i], std::ios::binary);
        std::cout << describe({std::istreambuf_iterator<char>(stream), {}}) << "\n";
    }
}
