#include "model/FreedMemory.h"
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <mutex>

namespace openmmnnp {

namespace {

constexpr int largestBlock = 256 << 20, largestOfOldGlibc = 32 << 20, freeEnd = 512 << 20;

bool isSetInEnvironment() {
    for (const char* name : {"MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"})
        if (std::getenv(name))
            return true;
    const char* tunables = std::getenv("GLIBC_TUNABLES");
    return tunables && std::strstr(tunables, "glibc.malloc.");
}

} // namespace

void keepFreedMemory() {
    static std::once_flag once;
    std::call_once(once, [] {
        if (isSetInEnvironment())
            return;
        if (mallopt(M_MMAP_THRESHOLD, largestBlock) || mallopt(M_MMAP_THRESHOLD, largestOfOldGlibc))
            mallopt(M_TRIM_THRESHOLD, freeEnd);
    });
}

} // namespace openmmnnp
