#include "model/ZipLayout.h"
#include "openmmnnp/ModelSpec.h"
#include <algorithm>

namespace openmmnnp {

namespace {

constexpr uint64_t endSize = 22, locatorSize = 20, end64Size = 56, directorySize = 46, localSize = 30;
constexpr uint16_t encrypted = 1 | 1 << 6 | 1 << 13, hasDescriptor = 1 << 3;
constexpr uint16_t ofZip64 = 1, ofUnicodeName = 0x7075; // kinds of extra fields
constexpr uint32_t elsewhere = 0xFFFFFFFF;              // the value stands in the extra field of zip64

struct Directory {
    uint64_t entries, begin, size;
};

struct Entry {
    ZipRecord record;
    uint16_t flags, method;
    uint64_t header, end; // from the local header to what follows the packed bytes
};

[[noreturn]] void refuseArchive(const std::string& reason) {
    throw ModelError("The file is not a complete zip archive (" + reason + "); copy or export it again.");
}

/** Numbers in the order in which they stand in the file, lowest byte first. */
class Cursor {
public:
    Cursor(const std::string& bytes, uint64_t position, uint64_t size) : bytes(bytes), position(position) {
        if (position > bytes.size() || size > bytes.size() - position)
            refuseArchive("a record lies outside of it");
        end = position + size;
    }
    template <class T>
    T next() {
        T value = 0;
        for (size_t i = 0; i < sizeof(T); i++)
            value |= static_cast<T>(static_cast<T>(static_cast<uint8_t>(bytes[position + i])) << 8 * i);
        position += sizeof(T);
        return value;
    }
    std::string text(uint64_t size) {
        if (size > end - position)
            refuseArchive("a record lies outside of its directory");
        position += size;
        return bytes.substr(position - size, size);
    }
    bool has(uint64_t size) const {
        return size <= end - position;
    }
    bool atSignature(const char* signature) const {
        return has(4) && bytes.compare(position, 4, signature, 4) == 0;
    }
    uint64_t getPosition() const {
        return position;
    }

private:
    const std::string& bytes;
    uint64_t position, end;
};

Directory readEnd64(const std::string& bytes, uint64_t locatorAt) {
    Cursor locator(bytes, locatorAt, locatorSize);
    locator.text(4);
    const auto disk = locator.next<uint32_t>();
    const auto end64At = locator.next<uint64_t>();
    const auto disks = locator.next<uint32_t>();
    if (disk != 0 || disks > 1 || end64At != locatorAt - end64Size)
        refuseArchive("its end record for zip64 is not where it must be");
    Cursor end64(bytes, end64At, end64Size);
    if (!end64.atSignature("PK\6\6"))
        refuseArchive("its end record for zip64 is damaged");
    end64.text(4);
    const auto length = end64.next<uint64_t>();
    end64.next<uint32_t>(); // versions
    const auto disksHere = end64.next<uint64_t>();
    const auto entriesHere = end64.next<uint64_t>(), entries = end64.next<uint64_t>();
    const auto size = end64.next<uint64_t>(), begin = end64.next<uint64_t>();
    if (length != end64Size - 12 || disksHere != 0 || entriesHere != entries || size > end64At ||
        begin != end64At - size)
        refuseArchive("its end record for zip64 is damaged");
    return {entries, begin, size};
}

Directory findDirectory(const std::string& bytes) {
    if (bytes.size() < endSize || bytes.rfind("PK\5\6") != bytes.size() - endSize)
        refuseArchive("its directory is missing or damaged, or something follows it");
    const uint64_t endAt = bytes.size() - endSize;
    Cursor record(bytes, endAt, endSize);
    record.text(4);
    const auto disks = record.next<uint32_t>();
    const auto entriesHere = record.next<uint16_t>(), entries = record.next<uint16_t>();
    const auto size = record.next<uint32_t>(), begin = record.next<uint32_t>();
    const auto comment = record.next<uint16_t>();
    if (disks != 0 || entriesHere != entries || comment != 0)
        refuseArchive("its end record is damaged");
    const uint64_t locatorAt = endAt - locatorSize;
    if (endAt >= locatorSize + end64Size && bytes.compare(locatorAt, 4, "PK\6\7", 4) == 0) {
        const Directory directory = readEnd64(bytes, locatorAt);
        if ((entries != 0xFFFF && entries != directory.entries) || (size != elsewhere && size != directory.size) ||
            (begin != elsewhere && begin != directory.begin))
            refuseArchive("its two end records disagree");
        return directory;
    }
    if (uint64_t(begin) + size != endAt)
        refuseArchive("its directory is missing or damaged");
    return {entries, begin, size};
}

/** Replaces values that stand in the extra field of zip64. */
void readExtra(const std::string& name, const std::string& extra, const std::vector<uint64_t*>& values) {
    Cursor fields(extra, 0, extra.size());
    bool found = false;
    while (fields.has(4)) {
        const auto kind = fields.next<uint16_t>();
        const auto length = fields.next<uint16_t>();
        if (!fields.has(length) || kind == ofUnicodeName || (kind == ofZip64 && found))
            refuseEntry(name, "has a damaged extra field");
        const std::string content = fields.text(length);
        if (kind != ofZip64)
            continue;
        found = true;
        Cursor numbers(content, 0, content.size());
        for (uint64_t* value : values)
            if (*value == elsewhere && numbers.has(8))
                *value = numbers.next<uint64_t>();
    }
    if (!found && std::any_of(values.begin(), values.end(), [](const uint64_t* v) { return *v == elsewhere; }))
        refuseEntry(name, "lacks its sizes");
}

Entry readDirectoryRecord(Cursor& directory) {
    if (!directory.atSignature("PK\1\2") || !directory.has(directorySize))
        refuseArchive("its directory is damaged");
    Entry entry{};
    ZipRecord& record = entry.record;
    record.directoryRecord = directory.getPosition();
    directory.text(4);
    const auto madeBy = directory.next<uint16_t>();
    directory.next<uint16_t>(); // version needed
    entry.flags = directory.next<uint16_t>();
    entry.method = directory.next<uint16_t>();
    directory.next<uint32_t>(); // time
    record.crc = directory.next<uint32_t>();
    record.packedSize = directory.next<uint32_t>();
    record.size = directory.next<uint32_t>();
    const auto nameLength = directory.next<uint16_t>(), extraLength = directory.next<uint16_t>();
    const auto commentLength = directory.next<uint16_t>(), disk = directory.next<uint16_t>();
    directory.next<uint16_t>(); // internal attributes
    const auto attributes = directory.next<uint32_t>();
    entry.header = directory.next<uint32_t>();
    record.name = directory.text(nameLength);
    readExtra(record.name, directory.text(extraLength), {&record.size, &record.packedSize, &entry.header});
    if (commentLength != 0 || disk != 0)
        refuseEntry(record.name, "has a damaged directory record");
    record.mode = madeBy >> 8 == 3 ? attributes >> 16 : 0;
    record.isPacked = entry.method == 8;
    if (entry.flags & encrypted)
        refuseEntry(record.name, "is encrypted");
    if (entry.method != 0 && entry.method != 8)
        refuseEntry(record.name, "is packed by a method other than deflate");
    return entry;
}

/** Where the numbers behind the packed bytes end that repeat checksum and sizes, in any of their four forms. */
uint64_t skipDescriptor(const std::string& bytes, const ZipRecord& record) {
    const uint64_t at = record.begin + record.packedSize;
    for (const uint64_t width : {4, 8})
        for (const uint64_t signature : {4, 0}) {
            const uint64_t size = signature + 4 + 2 * width;
            if (size > bytes.size() - at)
                continue;
            Cursor numbers(bytes, at, size);
            if (signature && numbers.text(4) != "PK\7\x08")
                continue;
            const auto number = [&] { return width == 8 ? numbers.next<uint64_t>() : numbers.next<uint32_t>(); };
            if (numbers.next<uint32_t>() == record.crc && number() == record.packedSize && number() == record.size)
                return at + size;
        }
    refuseEntry(record.name, "lacks the checksum behind it");
}

void readLocalHeader(const std::string& bytes, Entry& entry) {
    ZipRecord& record = entry.record;
    const auto differs = [&]() { refuseEntry(record.name, "has a header that differs from the directory"); };
    if (entry.header > bytes.size() || localSize > bytes.size() - entry.header)
        differs();
    Cursor header(bytes, entry.header, bytes.size() - entry.header);
    if (!header.atSignature("PK\3\4"))
        differs();
    header.text(4);
    header.next<uint16_t>(); // version needed
    const auto flags = header.next<uint16_t>(), method = header.next<uint16_t>();
    header.next<uint32_t>(); // time
    const auto crc = header.next<uint32_t>();
    uint64_t packedSize = header.next<uint32_t>(), size = header.next<uint32_t>();
    const auto nameLength = header.next<uint16_t>(), extraLength = header.next<uint16_t>();
    if (!header.has(uint64_t(nameLength) + extraLength) || header.text(nameLength) != record.name)
        differs();
    readExtra(record.name, header.text(extraLength), {&size, &packedSize});
    const bool follow = flags & hasDescriptor && crc == 0 && packedSize == 0 && size == 0;
    if (flags != entry.flags || method != entry.method ||
        (!follow && (crc != record.crc || packedSize != record.packedSize || size != record.size)))
        differs();
    record.begin = header.getPosition();
    if (!header.has(record.packedSize))
        refuseEntry(record.name, "claims more bytes than the file has");
    entry.end = flags & hasDescriptor ? skipDescriptor(bytes, record) : record.begin + record.packedSize;
}

} // namespace

void refuseEntry(const std::string& entry, const std::string& reason) {
    throw ModelError("The archive's entry '" + entry.substr(0, 200) + "' " + reason +
                     "; the file is damaged or not a model. Copy or export it again.");
}

std::vector<ZipRecord> readZipLayout(const std::string& bytes) {
    const Directory directory = findDirectory(bytes);
    Cursor cursor(bytes, directory.begin, directory.size);
    std::vector<Entry> entries;
    while (cursor.has(1)) {
        entries.push_back(readDirectoryRecord(cursor));
        readLocalHeader(bytes, entries.back());
    }
    if (entries.size() != directory.entries)
        refuseArchive("its directory has " + std::to_string(entries.size()) + " entries, but says " +
                      std::to_string(directory.entries));
    std::vector<const Entry*> ordered;
    for (const Entry& entry : entries)
        ordered.push_back(&entry);
    std::sort(ordered.begin(), ordered.end(), [](const Entry* a, const Entry* b) { return a->header < b->header; });
    uint64_t end = 0;
    for (const Entry* entry : ordered) {
        if (entry->header != end)
            refuseEntry(entry->record.name, "does not begin where the one before it ends");
        end = entry->end;
    }
    if (end != directory.begin)
        refuseArchive("there is something between its entries and its directory");
    std::vector<ZipRecord> records;
    for (Entry& entry : entries)
        records.push_back(std::move(entry.record));
    return records;
}

} // namespace openmmnnp
