#include "model/PrivateFolder.h"
#include "openmmnnp/ModelSpec.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <unistd.h>
#include <vector>

namespace openmmnnp {

namespace {

namespace fs = std::filesystem;

const std::string prefix = "openmmnnp-";

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), "" if there is no such process. */
std::string startTime(const std::string& pid) {
    std::ifstream file("/proc/" + pid + "/stat");
    std::string text;
    std::getline(file, text);
    const size_t end = text.rfind(')');
    if (end == std::string::npos)
        return "";
    std::istringstream fields(text.substr(end + 1));
    std::string field;
    for (int i = 3; i <= 22; i++)
        fields >> field;
    return field;
}

void sweep(const fs::path& parent) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(parent, ignored)) {
        const std::string name = entry.path().filename();
        if (name.compare(0, prefix.size(), prefix) != 0)
            continue;
        const size_t dash = name.find('-', prefix.size());
        const size_t dash2 = name.find('-', dash + 1);
        if (dash == std::string::npos || dash2 == std::string::npos)
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

PrivateFolder::PrivateFolder() {
    std::error_code error;
    fs::path parent = fs::temp_directory_path(error);
    if (error)
        parent = "/tmp";
    static std::once_flag swept;
    std::call_once(swept, [&] { sweep(parent); });
    const std::string pid = std::to_string(getpid());
    std::string pattern = (parent / (prefix + pid + "-" + startTime(pid) + "-XXXXXX")).string();
    if (mkdtemp(pattern.data()) == nullptr)
        fail("Cannot make the folder", pattern);
    path = pattern;
}

PrivateFolder::~PrivateFolder() {
    std::error_code ignored;
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

} // namespace openmmnnp
