#include "pack.h"
#include "model/Archive.h"
#include "require.h"
#include <zlib.h>

using openmmnnp::Archive;

namespace {

const std::string top = "m/";

/** A number, lowest byte first. */
std::string number(uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; i++, value >>= 8)
        text += static_cast<char>(value);
    return text;
}

/** Without zlib's header. */
std::string deflated(const std::string& content) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string packed(deflateBound(&stream, content.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
    stream.avail_in = content.size();
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = packed.size();
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
}

} // namespace

std::string pack(const Contents& contents, const std::function<Packing()>& packing) {
    std::string archive, directory;
    for (const auto& [entry, content] : contents) {
        const Packing how = packing();
        const std::string name = top + entry, packed = how.isDeflated ? deflated(content) : content;
        const uint32_t crc = crc32(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
        const std::string sums = number(crc, 4) + number(packed.size(), 4) + number(content.size(), 4);
        const std::string kind =
            number(20, 2) + number(how.hasDescriptor ? 8 : 0, 2) + number(how.isDeflated ? 8 : 0, 2) + number(0, 4);
        const std::string lengths = number(name.size(), 2) + number(0, 2);
        directory +=
            "PK\1\2" + number(20, 2) + kind + sums + lengths + number(0, 10) + number(archive.size(), 4) + name;
        archive += "PK\3\4" + kind + (how.hasDescriptor ? number(0, 12) : sums) + lengths + name + packed;
        if (how.hasDescriptor)
            archive += "PK\7\x08" + sums;
    }
    const std::string counts = number(contents.size(), 2) + number(contents.size(), 2);
    return archive + directory + "PK\5\6" + number(0, 4) + counts + number(directory.size(), 4) +
           number(archive.size(), 4) + number(0, 2);
}

Contents unpack(const std::string& bytes) {
    const Archive archive(bytes);
    Contents contents;
    for (const std::string& name : archive.getNames())
        contents.emplace_back(name, archive.read(name));
    return contents;
}
