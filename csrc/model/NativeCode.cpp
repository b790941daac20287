#include "model/NativeCode.h"
#include "openmmnnp/TrustModel.h"
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>

namespace openmmnnp {

namespace {

struct Registry {
    std::mutex mutex;
    std::set<std::string> trusted, announced;
};

Registry& registry() {
    static Registry instance;
    return instance;
}

bool namedInEnvironment(const std::string& hash) {
    const char* hashes = std::getenv("OPENMMNNP_TRUST");
    return hashes != nullptr && std::string(hashes).find(hash) != std::string::npos;
}

} // namespace

void trustModel(const std::string& sha256) {
    std::string hash = sha256;
    std::transform(hash.begin(), hash.end(), hash.begin(), [](unsigned char c) { return std::tolower(c); });
    if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
        throw ModelError("A model is trusted by its SHA-256, 64 hexadecimal digits, but '" + sha256.substr(0, 80) +
                         "' was given; take it from whoever made the model, or from sha256sum.");
    const std::lock_guard<std::mutex> lock(registry().mutex);
    registry().trusted.insert(hash);
}

void admitNativeCode(const ModelFile& file) {
    const std::string& hash = file.getHash();
    const std::lock_guard<std::mutex> lock(registry().mutex);
    if (!registry().trusted.count(hash) && !namedInEnvironment(hash))
        throw ModelError("A package (.pt2) is native code, which can do all that you can, and this one came as bytes, "
                         "not from a file that you named. If you trust its origin, call openmmnnp.trust('" +
                         hash + "') before, set OPENMMNNP_TRUST to this SHA-256, or give its path to NNPForce.");
    if (registry().announced.insert(hash).second)
        std::fprintf(stderr,
                     "openmm-nnp: %s is native code that runs with your rights; use only what you trust (SHA-256 %s)\n",
                     file.describe().c_str(), hash.c_str());
}

} // namespace openmmnnp
