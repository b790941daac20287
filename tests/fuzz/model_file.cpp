// The bytes of a model file: archive, spec, and what a TorchScript program or a package says of itself.

#include "model/AotiPackage.h"
#include "model/ModelFile.h"
#include "pack.h"
#include "require.h"

using namespace openmmnnp;

namespace {

/** An archive that the reader takes holds the same when it is packed in other ways, one after the other here. */
void checkArchive(const std::string& bytes) {
    const Contents contents = unpack(bytes);
    unsigned count = 0;
    const std::string packed = pack(contents, [&] { return Packing{(++count & 1) != 0, (count & 2) != 0}; });
    REQUIRE(contents.empty() || unpack(packed) == contents);
}

void readPackage(const ModelFile& file, const std::string& device) {
    try {
        const AotiPackage package = AotiPackage::read(file, ModelDevice{device == "cuda", 0}, 90);
        for (const AotiPackage::Entry& entry : {package.full, package.energy})
            if (!entry.library.empty())
                REQUIRE(file.getArchive().contains(entry.library) && file.getArchive().contains(entry.metadata));
    } catch (const ModelError&) {
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    try {
        checkArchive(bytes);
        const auto file = ModelFile::fromBytes(bytes, "fuzzed");
        REQUIRE(file->getBytes() == bytes);
        if (file->getFormat() == ModelFile::Format::AotInductor) {
            readPackage(*file, "cpu");
            readPackage(*file, "cuda");
        }
    } catch (const ModelError&) {
    }
    return 0;
}
