#ifndef OPENMMNNP_ARCHIVE_H_
#define OPENMMNNP_ARCHIVE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace openmmnnp {

/**
 * A zip archive in memory, read with minizip (zlib's own zip reader).
 *
 * The constructor looks at every entry before anything else may: names must be relative and unique, entries regular
 * files of a sane size, and every CRC-32 must match.  Throws ModelError that says which entry is wrong.
 */
class Archive {
public:
    /** `bytes` must outlive the archive. */
    explicit Archive(const std::string& bytes);
    /** Names of the entries without the common top folder that torch writes, e.g. "extra/openmmnnp.json". */
    const std::vector<std::string>& getNames() const {
        return names;
    }
    bool contains(const std::string& name) const;
    std::string read(const std::string& name) const;
    /** Does a text begin with the magic of a zip file? */
    static bool isZip(const std::string& bytes);

private:
    const std::string& bytes;
    std::vector<std::string> names, storedNames;
    std::vector<uint64_t> sizes;
};

} // namespace openmmnnp

#endif // OPENMMNNP_ARCHIVE_H_
