#include "model/PrivateFolder.h"
#include "model/ModelFile.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <sys/statvfs.h>
#include <unistd.h>
#include <vector>

namespace openmmnnp {

namespace {

namespace fs = std::filesystem;

const std::string prefix = "openmmnnp-";

std::string readLine(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), "" if there is no such process. */
std::string startTime(const std::string& pid) {
    const std::string text = readLine("/proc/" + pid + "/stat");
    const size_t end = text.rfind(')');
    if (end == std::string::npos)
        return "";
    std::istringstream fields(text.substr(end + 1));
    std::string field;
    for (int i = 3; i <= 22; i++)
        fields >> field;
    return field;
}

/** Process ids mean something on one machine, since it was started, and within one namespace of ids only. */
std::string idOfMachine() {
    std::error_code ignored;
    const std::string space = fs::read_symlink("/proc/self/ns/pid", ignored).string();
    return sha256(readLine("/proc/sys/kernel/random/boot_id") + space).substr(0, 8);
}

/** The beginning of the names of a process's folders. */
std::string nameOfOwner(const std::string& pid, const std::string& start) {
    return prefix + pid + "-" + start + "-" + idOfMachine() + "-";
}

/** Folders of this machine whose process is gone.  Those of others, which share the folder by network, are left. */
void sweep(const fs::path& parent) {
    std::error_code ignored;
    const std::string machine = "-" + idOfMachine() + "-";
    for (const fs::directory_entry& entry : fs::directory_iterator(parent, ignored)) {
        const std::string name = entry.path().filename();
        if (name.compare(0, prefix.size(), prefix) != 0)
            continue;
        const size_t dash = name.find('-', prefix.size());
        const size_t dash2 = name.find('-', dash + 1);
        if (dash == std::string::npos || dash2 == std::string::npos ||
            name.compare(dash2, machine.size(), machine) != 0)
            continue;
        const std::string pid = name.substr(prefix.size(), dash - prefix.size());
        if (startTime(pid) != name.substr(dash + 1, dash2 - dash - 1))
            fs::remove_all(entry.path(), ignored);
    }
}

[[noreturn]] void fail(const std::string& what, const std::string& path) {
    throw ModelError(what + " '" + path + "': " + std::strerror(errno) +
                     ". Set TMPDIR to a folder with space that allows execution.");
}

} // namespace

PrivateFolder::PrivateFolder() : owner(getpid()) {
    std::error_code error;
    fs::path parent = fs::temp_directory_path(error);
    if (error)
        parent = "/tmp";
    static std::once_flag swept;
    std::call_once(swept, [&] { sweep(parent); });
    const std::string pid = std::to_string(owner);
    std::string pattern = (parent / (nameOfOwner(pid, startTime(pid)) + "XXXXXX")).string();
    if (mkdtemp(pattern.data()) == nullptr)
        fail("Cannot make the folder", pattern);
    path = pattern;
}

PrivateFolder::~PrivateFolder() {
    std::error_code ignored;
    if (getpid() == owner) // a forked process has a copy of this object, but not the folder
        fs::remove_all(path, ignored);
}

std::string PrivateFolder::write(const std::string& fileName, const std::string& content) const {
    const std::string target = path + "/" + fileName;
    const int file = ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    if (file < 0)
        fail("Cannot write", target);
    size_t done = 0;
    while (done < content.size()) {
        const ssize_t count = ::write(file, content.data() + done, content.size() - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            const int reason = errno;
            ::close(file);
            errno = reason;
            fail("Cannot write", target);
        }
        done += static_cast<size_t>(count);
    }
    if (::close(file) != 0)
        fail("Cannot write", target);
    return target;
}

void PrivateFolder::requireExecution() const {
    struct statvfs status;
    if (statvfs(path.c_str(), &status) == 0 && status.f_flag & ST_NOEXEC)
        throw ModelError("The package's library cannot be run from '" + path +
                         "', since its file system is mounted noexec. Set TMPDIR to a folder with space that allows "
                         "execution.");
}

} // namespace openmmnnp
