#ifndef OPENMMNNP_MODEL_FILE_H_
#define OPENMMNNP_MODEL_FILE_H_

#include "model/Archive.h"
#include "openmmnnp/ModelSpec.h"
#include <memory>
#include <optional>
#include <string>

namespace openmmnnp {

/** The bytes of a model file, checked, with what they say of themselves.  Nothing in it is executed. */
class OPENMMNNP_EXPORT ModelFile {
public:
    enum class Format { TorchScript, AotInductor };

    /** Read a regular file.  Throws ModelError. */
    static std::shared_ptr<const ModelFile> open(const std::string& path);
    /** Take the bytes of a file; `path` is kept for messages.  Throws ModelError. */
    static std::shared_ptr<const ModelFile> fromBytes(std::string bytes, const std::string& path);

    const std::string& getBytes() const {
        return bytes;
    }
    const std::string& getPath() const {
        return path;
    }
    /** SHA-256 in hexadecimal. */
    const std::string& getHash() const {
        return hash;
    }
    const Archive& getArchive() const {
        return archive;
    }
    Format getFormat() const {
        return format;
    }
    const std::optional<ModelSpec>& getSpec() const {
        return spec;
    }
    const std::string& getSpecText() const {
        return specText;
    }
    /** How messages call it: the path, or the hash if it came as bytes. */
    std::string describe() const;

    ModelFile(const ModelFile&) = delete;
    ModelFile& operator=(const ModelFile&) = delete;

private:
    ModelFile(std::string bytes, const std::string& path);
    std::string bytes, path, hash;
    Archive archive;
    Format format;
    std::string specText;
    std::optional<ModelSpec> spec;
};

/** SHA-256 of some bytes in hexadecimal (FIPS 180-4). */
OPENMMNNP_EXPORT std::string sha256(const std::string& bytes);

} // namespace openmmnnp

#endif // OPENMMNNP_MODEL_FILE_H_
