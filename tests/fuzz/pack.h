#ifndef OPENMMNNP_FUZZ_PACK_H_
#define OPENMMNNP_FUZZ_PACK_H_

#include <functional>
#include <string>
#include <vector>

/** Entries of a model archive: names without the common top folder, and what they hold. */
using Contents = std::vector<std::pair<std::string, std::string>>;

/** How an entry is written: deflated, and with its checksum and sizes behind it instead of in its header. */
struct Packing {
    bool isDeflated = false, hasDescriptor = false;
};

/** A zip archive with right checksums; `packing` is asked once an entry. */
std::string pack(const Contents& contents, const std::function<Packing()>& packing);

/** The entries of an archive that our reader takes; throws ModelError for another one. */
Contents unpack(const std::string& bytes);

#endif // OPENMMNNP_FUZZ_PACK_H_
