// Texts in XML that hold bytes, names of devices, and messages.

#include "model/ModelDevice.h"
#include "model/Printable.h"
#include "require.h"
#include "serialization/Base64.h"
#include <openmm/OpenMMException.h>

using namespace openmmnnp;

namespace {

/** What is decoded, if it is, has one text. */
template <class F>
void checkDecoder(const std::string& text, F decode) {
    try {
        const std::string bytes = decode(text);
        REQUIRE(decodeBase64(encodeBase64(bytes)) == bytes);
    } catch (const OpenMM::OpenMMException&) {
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    REQUIRE(decodeBase64(encodeBase64(text)) == text);
    checkDecoder(text, decodeBase64);
    checkDecoder(text, decodeHex);
    try {
        const ModelDevice device = ModelDevice::parse(text);
        REQUIRE(ModelDevice::parse(device.getName()) == device);
    } catch (const ModelError&) {
    }
    const std::string message = printable(text);
    REQUIRE(printable(message) == message);
    return 0;
}
