// Changes what an archive holds and packs it with right checksums, so that what is behind them is fuzzed as well.

#include "openmmnnp/ModelSpec.h"
#include "pack.h"
#include <cstring>
#include <random>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t maxSize);

namespace {

using Random = std::minstd_rand;

constexpr size_t mostMore = 256; // bytes that an entry grows by, at most
const char* const names[] = {"extra/openmmnnp.json",
                             "constants.pkl",
                             "data.pkl",
                             "model.json",
                             "code/__torch__.py",
                             "data/0",
                             "data/aotinductor/model/a.so",
                             "data/aotinductor/model/a_metadata.json",
                             "data/aotinductor/model/a.json",
                             "data/aotinductor/model/a.cubin",
                             "data/aotinductor/energy/a.so",
                             "data/aotinductor/energy/a_metadata.json",
                             "data/weights/weight_0"};

void mutate(std::string& text) {
    const size_t size = text.size();
    text.resize(size + mostMore);
    text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), size, text.size()));
}

void change(Contents& contents, Random& draw) {
    auto& [name, content] = contents[draw() % contents.size()];
    auto& other = contents[draw() % contents.size()];
    switch (draw() % 12) {
    case 0:
        mutate(name);
        break;
    case 1:
        name = names[draw() % std::size(names)];
        break;
    case 2:
        contents.emplace_back(names[draw() % std::size(names)], content);
        break;
    case 3:
        std::swap(name, other.first);
        break;
    case 4:
        contents.erase(contents.begin() + static_cast<std::ptrdiff_t>(draw() % contents.size()));
        break;
    default:
        mutate(content);
    }
}

size_t give(const std::string& bytes, uint8_t* data, size_t maxSize) {
    if (bytes.size() > maxSize)
        return 0;
    std::memcpy(data, bytes.data(), bytes.size());
    return bytes.size();
}

std::string packed(const Contents& contents, Random& draw) {
    return pack(contents, [&] { return Packing{draw() % 8 == 0, draw() % 8 == 0}; });
}

Contents contentsOf(const uint8_t* data, size_t size) {
    try {
        return unpack(std::string(reinterpret_cast<const char*>(data), size));
    } catch (const openmmnnp::ModelError&) {
        return {};
    }
}

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t maxSize, unsigned seed) {
    Random draw(seed);
    Contents contents = contentsOf(data, size);
    if (contents.empty() || draw() % 4 == 0)
        return LLVMFuzzerMutate(data, size, maxSize);
    change(contents, draw);
    return give(packed(contents, draw), data, maxSize);
}

/** One archive with an entry of another. */
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data, size_t size, const uint8_t* more, size_t moreSize,
                                            uint8_t* out, size_t maxSize, unsigned seed) {
    Random draw(seed);
    Contents contents = contentsOf(data, size), others = contentsOf(more, moreSize);
    if (contents.empty() || others.empty())
        return 0;
    const auto& added = others[draw() % others.size()];
    for (auto& entry : contents)
        if (entry.first == added.first) {
            entry = added;
            return give(packed(contents, draw), out, maxSize);
        }
    contents.push_back(added);
    return give(packed(contents, draw), out, maxSize);
}
