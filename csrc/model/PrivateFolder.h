#ifndef OPENMMNNP_PRIVATE_FOLDER_H_
#define OPENMMNNP_PRIVATE_FOLDER_H_

#include <string>

namespace openmmnnp {

/**
 * A folder of our own (mode 0700) in the temporary folder, for what must be a file while a model is loaded.
 *
 * It is removed with the object.  Its name holds the process id, the process's start time and what tells machines and
 * containers apart; the first folder of a process also removes folders of this machine whose owner is gone.
 */
class PrivateFolder {
public:
    /** Throws ModelError if it cannot be made. */
    PrivateFolder();
    ~PrivateFolder();
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;

    const std::string& getPath() const {
        return path;
    }
    /** Write a file (mode 0700) and return its path.  Throws ModelError, e.g. on a full disk. */
    std::string write(const std::string& fileName, const std::string& content) const;
    /** Throws ModelError if the file system allows no execution. */
    void requireExecution() const;

private:
    int owner; // process id
    std::string path;
};

} // namespace openmmnnp

#endif // OPENMMNNP_PRIVATE_FOLDER_H_
