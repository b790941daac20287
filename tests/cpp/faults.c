/*
 * A library to preload: from the moment it is armed, one call on a file within a folder goes wrong.
 *
 * faults_arm(folder, calls, number, fault, stays): the call of this number (from 1) among those named in `calls`
 * (" write fsync ") fails with the errno `fault`; SHORTENED moves half of the bytes, KILLED ends the process.  With
 * `stays` all later ones fail as well, as on a disk that is full.  faults_arm("", ...) is the end of it.
 * faults_count() is how many such calls were made; faults_last() names the one that went wrong.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SHORTENED = -1, KILLED = -2 };

static char folder[4096], calls[1024], last[8192];
static int number, fault, stays, count;

void faults_arm(const char* where, const char* which, int at, int what, int forever) {
    snprintf(folder, sizeof folder, "%s", where);
    snprintf(calls, sizeof calls, "%s", which);
    number = at;
    fault = what;
    stays = forever;
    count = 0;
    last[0] = 0;
}

int faults_count(void) {
    return count;
}

const char* faults_last(void) {
    return last;
}

/* Whether this call is to go wrong; sets errno. */
static int fails(const char* call, const char* path) {
    char word[64];
    if (!folder[0] || !path || strncmp(path, folder, strlen(folder)) != 0)
        return 0;
    snprintf(word, sizeof word, " %s ", call);
    if (!strstr(calls, word))
        return 0;
    count++;
    if (count < number || number == 0 || (count > number && !stays))
        return 0;
    if (!last[0])
        snprintf(last, sizeof last, "%s %s", call, path);
    if (fault == KILLED)
        kill(getpid(), SIGKILL);
    errno = fault;
    return 1;
}

static int failsOn(const char* call, int file) {
    char link[64], path[4096];
    const int before = errno;
    if (!folder[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    const ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    path[size > 0 ? size : 0] = 0;
    return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Moving bytes: a fault is an error, or fewer bytes. */
#define MOVES(call, name, file, size, ...)                                                                             \
    if (failsOn(call, file)) {                                                                                         \
        if (fault != SHORTENED)                                                                                        \
            return -1;                                                                                                 \
        size = (size + 1) / 2;                                                                                         \
    }                                                                                                                  \
    return REAL(name)(__VA_ARGS__)

ssize_t read(int file, void* buffer, size_t size) {
    MOVES("read", read, file, size, file, buffer, size);
}

ssize_t write(int file, const void* buffer, size_t size) {
    MOVES("write", write, file, size, file, buffer, size);
}

ssize_t writev(int file, const struct iovec* parts, int size) {
    MOVES("write", writev, file, size, file, parts, size);
}

ssize_t sendfile64(int file, int from, off64_t* offset, size_t size) {
    ssize_t (*real)(int, int, off64_t*, size_t) = (ssize_t(*)(int, int, off64_t*, size_t))dlsym(RTLD_NEXT, "sendfile64");
    if (failsOn("write", file)) {
        if (fault != SHORTENED)
            return -1;
        size = (size + 1) / 2;
    }
    return real(file, from, offset, size);
}

size_t fwrite(const void* buffer, size_t size, size_t items, FILE* file) {
    if (failsOn("write", fileno(file))) {
        if (fault != SHORTENED)
            return 0;
        return REAL(fwrite)(buffer, size, (items + 1) / 2, file);
    }
    return REAL(fwrite)(buffer, size, items, file);
}

/* Names of files. */
#define CREATES(flags) (((flags)&O_ACCMODE) != O_RDONLY || ((flags)&O_CREAT) ? "create" : "open")
#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

#define OPENS(name)                                                                                                    \
    int name(const char* path, int flags, ...) {                                                                       \
        MODE(flags)                                                                                                    \
        return fault != SHORTENED && fails(CREATES(flags), path) ? -1 : REAL(name)(path, flags, mode);                 \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                                                 \
    int name(int at, const char* path, int flags, ...) {                                                               \
        MODE(flags)                                                                                                    \
        return fault != SHORTENED && fails(CREATES(flags), path) ? -1 : REAL(name)(at, path, flags, mode);             \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define OPENS_STREAM(name)                                                                                             \
    FILE* name(const char* path, const char* mode) {                                                                   \
        const char* call = strcmp(mode, "r") == 0 || strcmp(mode, "rb") == 0 ? "open" : "create";                      \
        return fault != SHORTENED && fails(call, path) ? NULL : REAL(name)(path, mode);                                \
    }
OPENS_STREAM(fopen)
OPENS_STREAM(fopen64)

#define ON_PATH(call, name, type, other, value)                                                                        \
    int name(const char* path, type other) {                                                                           \
        return fault != SHORTENED && fails(call, path) ? -1 : REAL(name)(path, value);                                 \
    }
ON_PATH("mkdir", mkdir, mode_t, mode, mode)
ON_PATH("rename", rename, const char*, to, to)
ON_PATH("link", link, const char*, to, to)
ON_PATH("truncate", truncate, off_t, size, size)
ON_PATH("truncate", truncate64, off64_t, size, size)

int unlink(const char* path) {
    return fault != SHORTENED && fails("unlink", path) ? -1 : REAL(unlink)(path);
}

char* mkdtemp(char* pattern) {
    return fault != SHORTENED && fails("mkdir", pattern) ? NULL : REAL(mkdtemp)(pattern);
}

int fsync(int file) {
    return fault != SHORTENED && failsOn("fsync", file) ? -1 : REAL(fsync)(file);
}

int ftruncate(int file, off_t size) {
    return fault != SHORTENED && failsOn("truncate", file) ? -1 : REAL(ftruncate)(file, size);
}

int ftruncate64(int file, off64_t size) {
    return fault != SHORTENED && failsOn("truncate", file) ? -1 : REAL(ftruncate64)(file, size);
}

#define MAPS(name, offset_type)                                                                                        \
    void* name(void* at, size_t size, int protection, int flags, int file, offset_type offset) {                       \
        if (file >= 0 && fault != SHORTENED && failsOn("mmap", file))                                                  \
            return MAP_FAILED;                                                                                         \
        return REAL(name)(at, size, protection, flags, file, offset);                                                  \
    }
MAPS(mmap64, off64_t)

/* A folder that is mounted noexec: it says so, and nothing in it can be loaded. */
#define SAYS(name, type)                                                                                               \
    int name(const char* path, struct type* status) {                                                                  \
        const int result = REAL(name)(path, status);                                                                   \
        if (result == 0 && fault == EPERM && fails("statvfs", path))                                                   \
            status->f_flag |= ST_NOEXEC;                                                                               \
        return result;                                                                                                 \
    }
SAYS(statvfs, statvfs)
SAYS(statvfs64, statvfs64)

void* dlopen(const char* path, int flags) {
    if (fault != SHORTENED && fails("dlopen", path))
        path = "/dev/null/model.so"; /* so that dlerror() has something to say */
    return REAL(dlopen)(path, flags);
}
