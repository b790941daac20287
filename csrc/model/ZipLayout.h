#ifndef OPENMMNNP_ZIP_LAYOUT_H_
#define OPENMMNNP_ZIP_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace openmmnnp {

/** What the directory of a zip archive says of an entry, and where the entry's bytes are. */
struct ZipRecord {
    std::string name;
    uint64_t directoryRecord = 0; // where it begins in the file
    uint64_t begin = 0;           // of the packed bytes in the file
    uint64_t packedSize = 0, size = 0;
    uint32_t crc = 0, mode = 0; // mode: of Unix, 0 if not said
    bool isPacked = false;      // deflated, not stored
};

/**
 * The entries of a zip archive that can be read in one way only.
 *
 * Zip readers find the directory and the entries by different rules, so that one file can be two archives.  Here the
 * records must fill the file without gap or overlap: entries from the first byte on, the directory, its end record
 * (and zip64's), nothing behind.  Local headers must repeat what the directory says.  So torch sees what was checked.
 * Throws ModelError.
 */
std::vector<ZipRecord> readZipLayout(const std::string& bytes);

/** Throws ModelError that an entry is refused, and why. */
[[noreturn]] void refuseEntry(const std::string& entry, const std::string& reason);

} // namespace openmmnnp

#endif // OPENMMNNP_ZIP_LAYOUT_H_
