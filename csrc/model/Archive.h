#ifndef OPENMMNNP_ARCHIVE_H_
#define OPENMMNNP_ARCHIVE_H_

#include "model/ZipLayout.h"
#include "openmmnnp/ModelSpec.h"
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace openmmnnp {

/**
 * A zip archive in memory, read with minizip (zlib's own zip reader).
 *
 * The constructor looks at every entry before anything else may: the file must be readable in one way only
 * (ZipLayout), names relative and unique, entries regular files of a sane size, and every CRC-32 must match.  Throws
 * ModelError that says which entry is wrong.
 */
class OPENMMNNP_EXPORT Archive {
public:
    /** `bytes` must outlive the archive. */
    explicit Archive(const std::string& bytes);
    /** Names of the entries without the common top folder that torch writes, e.g. "extra/openmmnnp.json". */
    const std::vector<std::string>& getNames() const {
        return names;
    }
    bool contains(const std::string& name) const;
    /** In a time that does not depend on the number of entries. */
    std::string read(const std::string& name) const;
    /** Unpacked sizes in bytes of the entries in a folder, which is named with its slash. */
    std::multiset<uint64_t> getSizes(const std::string& folder) const;
    /** Does a text begin with the magic of a zip file? */
    static bool isZip(const std::string& bytes);

private:
    const std::string& bytes;
    std::vector<ZipRecord> records;
    std::string top; // the folder of all entries
    std::vector<std::string> names;
    std::unordered_map<std::string, size_t> numbers; // of the records, by name
};

} // namespace openmmnnp

#endif // OPENMMNNP_ARCHIVE_H_
