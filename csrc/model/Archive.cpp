#include "model/Archive.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>
#include <cstring>
#include <memory>
#include <minizip/unzip.h>
#include <set>
#include <sys/stat.h>

namespace openmmnnp {

namespace {

constexpr uint64_t maxEntries = 100000;
constexpr uint64_t maxTotalSize = uint64_t(16) << 30;
constexpr uint64_t maxRatio = 1032; // of deflate, by construction

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
            throw ModelError("The file is not a complete zip archive (its directory is missing or damaged); copy or "
                             "export it again.");
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

[[noreturn]] void refuse(const std::string& entry, const std::string& reason) {
    throw ModelError("The archive's entry '" + entry.substr(0, 200) + "' " + reason +
                     "; the file is damaged or not a model. Copy or export it again.");
}

void checkName(const std::string& name) {
    if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos ||
        name.find('\0') != std::string::npos || name.find(':') != std::string::npos)
        refuse(name, "has a name that is not a relative path");
    for (size_t begin = 0; begin <= name.size();) {
        const size_t end = std::min(name.find('/', begin), name.size());
        if (name.substr(begin, end - begin) == "..")
            refuse(name, "has a name that leaves its folder");
        begin = end + 1;
    }
}

void checkInfo(const std::string& name, const unz_file_info64& info) {
    const uint32_t mode = info.external_fa >> 16;
    if ((info.version >> 8) == 3 && (mode & S_IFMT) != 0 && !S_ISREG(mode) && !S_ISDIR(mode))
        refuse(name, "is not a regular file");
    if (info.flag & 1)
        refuse(name, "is encrypted");
    if (info.uncompressed_size / maxRatio > info.compressed_size)
        refuse(name, "claims an impossible size");
}

/** Read the current entry; a null buffer only checks it. */
void readCurrent(const Unzip& zip, const std::string& name, uint64_t size, char* buffer) {
    if (unzOpenCurrentFile(zip) != UNZ_OK)
        refuse(name, "has a damaged header");
    char scratch[1 << 16];
    uint64_t total = 0;
    int count = 0;
    do {
        const unsigned room =
            static_cast<unsigned>(std::min<uint64_t>(sizeof(scratch), buffer ? size - total : sizeof(scratch)));
        count = unzReadCurrentFile(zip, buffer ? buffer + total : scratch, room);
        total += std::max(count, 0);
    } while (count > 0 && total <= size);
    const int closed = unzCloseCurrentFile(zip);
    if (count < 0 || total != size)
        refuse(name, "cannot be unpacked");
    if (closed == UNZ_CRCERROR)
        refuse(name, "does not match its checksum (CRC-32)");
}

unz_file_info64 currentInfo(const Unzip& zip, std::string& name) {
    unz_file_info64 info;
    if (unzGetCurrentFileInfo64(zip, &info, nullptr, 0, nullptr, 0, nullptr, 0) != UNZ_OK)
        refuse("?", "has a damaged directory record");
    std::vector<char> buffer(info.size_filename + 1);
    unzGetCurrentFileInfo64(zip, nullptr, buffer.data(), buffer.size(), nullptr, 0, nullptr, 0);
    name.assign(buffer.data(), info.size_filename);
    return info;
}

} // namespace

bool Archive::isZip(const std::string& bytes) {
    return bytes.compare(0, 4, "PK\x03\x04", 4) == 0;
}

Archive::Archive(const std::string& bytes) : bytes(bytes) {
    const Unzip zip(bytes);
    uint64_t total = 0;
    std::set<std::string> seen;
    for (int status = unzGoToFirstFile(zip); status != UNZ_END_OF_LIST_OF_FILE; status = unzGoToNextFile(zip)) {
        if (status != UNZ_OK)
            refuse("?", "has a damaged directory record");
        std::string name;
        const unz_file_info64 info = currentInfo(zip, name);
        checkName(name);
        checkInfo(name, info);
        if (!seen.insert(name).second)
            refuse(name, "is there twice");
        total += info.uncompressed_size;
        if (total > maxTotalSize || seen.size() > maxEntries)
            refuse(name, "makes the archive larger than 16 GiB or 100,000 entries");
        if (name.back() == '/')
            continue;
        readCurrent(zip, name, info.uncompressed_size, nullptr);
        storedNames.push_back(name);
        sizes.push_back(info.uncompressed_size);
    }
    if (storedNames.empty())
        throw ModelError("The file is a zip archive without entries, not a model.");
    const std::string top = storedNames[0].substr(0, storedNames[0].find('/') + 1);
    const bool common = std::all_of(storedNames.begin(), storedNames.end(),
                                    [&](const std::string& name) { return name.compare(0, top.size(), top) == 0; });
    for (const std::string& name : storedNames)
        names.push_back(common ? name.substr(top.size()) : name);
}

bool Archive::contains(const std::string& name) const {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Archive::read(const std::string& name) const {
    const size_t index = std::find(names.begin(), names.end(), name) - names.begin();
    if (index == names.size())
        throw ModelError("The archive has no entry '" + name + "'.");
    const Unzip zip(bytes);
    if (unzLocateFile(zip, storedNames[index].c_str(), 1) != UNZ_OK)
        refuse(storedNames[index], "cannot be found");
    std::string content(sizes[index], '\0');
    readCurrent(zip, storedNames[index], sizes[index], content.data());
    return content;
}

} // namespace openmmnnp
