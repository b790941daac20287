#include "model/Archive.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>
#include <minizip/unzip.h>
#include <set>
#include <sys/stat.h>

namespace openmmnnp {

namespace {

constexpr uint64_t unpackedFloor = uint64_t(64) << 20, unpackedFactor = 20; // bytes unpacked, at most, for the file's
constexpr uint64_t maxRatio = 1032;                                         // of deflate, by construction

struct MemoryStream {
    const std::string* bytes;
    uint64_t position;
};

MemoryStream& stream(voidpf handle) {
    return *static_cast<MemoryStream*>(handle);
}

voidpf openMemory(voidpf opaque, const void*, int) {
    return opaque;
}

uLong readMemory(voidpf, voidpf handle, void* buffer, uLong size) {
    MemoryStream& s = stream(handle);
    const uint64_t count = std::min<uint64_t>(size, s.bytes->size() - s.position);
    std::memcpy(buffer, s.bytes->data() + s.position, count);
    s.position += count;
    return count;
}

uLong writeMemory(voidpf, voidpf, const void*, uLong) {
    return 0;
}

ZPOS64_T tellMemory(voidpf, voidpf handle) {
    return stream(handle).position;
}

long seekMemory(voidpf, voidpf handle, ZPOS64_T offset, int origin) {
    MemoryStream& s = stream(handle);
    const uint64_t base = origin == ZLIB_FILEFUNC_SEEK_CUR   ? s.position
                          : origin == ZLIB_FILEFUNC_SEEK_END ? s.bytes->size()
                                                             : 0;
    if (offset > s.bytes->size() - base)
        return -1;
    s.position = base + offset;
    return 0;
}

int closeMemory(voidpf, voidpf) {
    return 0;
}

/** An open archive over bytes in memory. */
class Unzip {
public:
    explicit Unzip(const std::string& bytes) : memory{&bytes, 0} {
        zlib_filefunc64_def functions{openMemory, readMemory,  writeMemory, tellMemory,
                                      seekMemory, closeMemory, closeMemory, &memory};
        file = unzOpen2_64(nullptr, &functions);
        if (file == nullptr)
            throw ModelError(
                "The file is not a complete zip archive (its directory is damaged); copy or export it again.");
    }
    Unzip(const Unzip&) = delete;
    Unzip& operator=(const Unzip&) = delete;
    ~Unzip() {
        unzClose(file);
    }
    operator unzFile() const {
        return file;
    }

private:
    MemoryStream memory;
    unzFile file;
};

void checkName(const std::string& name) {
    if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos ||
        name.find('\0') != std::string::npos || name.find(':') != std::string::npos)
        refuseEntry(name, "has a name that is not a relative path");
    for (size_t begin = 0; begin <= name.size();) {
        const size_t end = std::min(name.find('/', begin), name.size());
        if (name.substr(begin, end - begin) == "..")
            refuseEntry(name, "has a name that leaves its folder");
        begin = end + 1;
    }
}

void checkKind(const ZipRecord& record) {
    const bool isFolder = record.name.back() == '/';
    if ((record.mode & S_IFMT) != 0 && !S_ISREG(record.mode) && !(isFolder && S_ISDIR(record.mode)))
        refuseEntry(record.name, "is not a regular file");
    if ((record.isPacked ? record.size / maxRatio > record.packedSize : record.size != record.packedSize) ||
        (isFolder && record.size != 0))
        refuseEntry(record.name, "claims an impossible size");
}

/** Read the current entry; a null buffer only checks it. */
void readCurrent(const Unzip& zip, const ZipRecord& record, char* buffer) {
    if (unzOpenCurrentFile(zip) != UNZ_OK || unzGetCurrentFileZStreamPos64(zip) != record.begin)
        refuseEntry(record.name, "has a damaged header");
    char scratch[1 << 16];
    uint64_t total = 0;
    int count = 0;
    do {
        const uint64_t room = buffer ? record.size - total : sizeof(scratch);
        const auto most = static_cast<unsigned>(std::min<uint64_t>(sizeof(scratch), room));
        count = unzReadCurrentFile(zip, buffer ? buffer + total : scratch, most);
        total += std::max(count, 0);
    } while (count > 0 && total <= record.size);
    const int closed = unzCloseCurrentFile(zip);
    if (count < 0 || total != record.size)
        refuseEntry(record.name, "cannot be unpacked");
    if (closed == UNZ_CRCERROR)
        refuseEntry(record.name, "does not match its checksum (CRC-32)");
}

/** minizip must stand at the very bytes that the layout names. */
void checkCurrent(const Unzip& zip, const ZipRecord& record) {
    unz_file_info64 info;
    std::string name(record.name.size() + 1, '\0');
    if (unzGetCurrentFileInfo64(zip, &info, name.data(), name.size(), nullptr, 0, nullptr, 0) != UNZ_OK ||
        info.size_filename != record.name.size() || name.compare(0, record.name.size(), record.name) != 0 ||
        info.uncompressed_size != record.size || info.compressed_size != record.packedSize || info.crc != record.crc)
        refuseEntry(record.name, "has a damaged directory record");
}

std::string lowerCase(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

} // namespace

bool Archive::isZip(const std::string& bytes) {
    return bytes.compare(0, 4, "PK\x03\x04", 4) == 0;
}

Archive::Archive(const std::string& bytes) : bytes(bytes), records(readZipLayout(bytes)) {
    if (records.empty())
        throw ModelError("The file is a zip archive without entries, not a model.");
    const uint64_t maxTotal = unpackedFloor + unpackedFactor * bytes.size();
    uint64_t total = 0;
    std::set<std::string> seen;
    for (const ZipRecord& record : records) {
        checkName(record.name);
        checkKind(record);
        if (!seen.insert(lowerCase(record.name)).second) // torch finds entries without regard to case
            refuseEntry(record.name, "is there twice");
        total += std::min(record.size, maxTotal + 1);
        if (total > maxTotal)
            refuseEntry(record.name,
                        "makes the archive " + std::to_string(unpackedFactor) + " times as large as the file, or more");
    }
    const std::string& first = records[0].name;
    top = first.substr(0, first.find('/') + 1);
    const Unzip zip(bytes);
    int status = unzGoToFirstFile(zip);
    for (const ZipRecord& record : records) {
        if (top.empty() || record.name.compare(0, top.size(), top) != 0)
            refuseEntry(record.name, "is not in the one folder that torch puts all entries into");
        if (status != UNZ_OK)
            refuseEntry(record.name, "has a damaged directory record");
        checkCurrent(zip, record);
        if (record.name.back() != '/') {
            readCurrent(zip, record, nullptr);
            numbers.emplace(record.name.substr(top.size()), &record - records.data());
            names.push_back(record.name.substr(top.size()));
        }
        status = unzGoToNextFile(zip);
    }
}

bool Archive::contains(const std::string& name) const {
    return numbers.count(name) != 0;
}

std::multiset<uint64_t> Archive::getSizes(const std::string& folder) const {
    std::multiset<uint64_t> sizes;
    for (const ZipRecord& record : records)
        if (record.name.compare(0, top.size() + folder.size(), top + folder) == 0)
            sizes.insert(record.size);
    return sizes;
}

std::string Archive::read(const std::string& name) const {
    const auto found = numbers.find(name);
    if (found == numbers.end())
        throw ModelError("The archive has no entry '" + name + "'; the file is not a model. Export it again.");
    const ZipRecord& record = records[found->second];
    const Unzip zip(bytes);
    const unz64_file_pos place = {record.directoryRecord, found->second};
    if (unzGoToFilePos64(zip, &place) != UNZ_OK)
        refuseEntry(record.name, "has a damaged directory record");
    std::string content(record.size, '\0');
    readCurrent(zip, record, content.data());
    return content;
}

} // namespace openmmnnp
