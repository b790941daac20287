#include "model/StrictJson.h"
#include "openmmnnp/ModelSpec.h"
#include <set>
#include <vector>

namespace openmmnnp {

namespace {

using Json = nlohmann::json;

constexpr int maxDepth = 64;

/** nlohmann's message without its number, e.g. "parse error at line 1, column 2: ...". */
std::string causeOf(const Json::exception& error) {
    const std::string text = error.what();
    return text.substr(text.find("] ") + 2, 200);
}

} // namespace

Json parseJsonObject(const std::string& text, const std::string& what) {
    const auto refuse = [&what](const std::string& reason) {
        throw ModelError(what + " is not a valid JSON object (" + reason + "); export the model again.");
    };
    std::vector<std::set<std::string>> keys;
    const auto look = [&](int depth, Json::parse_event_t event, Json& parsed) {
        if (depth > maxDepth)
            refuse("it is nested more than " + std::to_string(maxDepth) + " levels deep");
        if (event == Json::parse_event_t::object_start)
            keys.emplace_back();
        else if (event == Json::parse_event_t::object_end)
            keys.pop_back();
        else if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
            refuse("the key \"" + parsed.get<std::string>().substr(0, 80) + "\" is there twice");
        return true;
    };
    Json json;
    try {
        json = Json::parse(text, look);
    } catch (const Json::exception& error) {
        refuse(causeOf(error));
    }
    if (!json.is_object())
        refuse("it is of type " + std::string(json.type_name()));
    return json;
}

} // namespace openmmnnp
