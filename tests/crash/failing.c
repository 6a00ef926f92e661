/* Preloaded into the process at work: one of its calls that change files below a folder fails.
 *
 * fail_at(folder, k, error, full): the k-th such call fails with this error; 0 only counts. `full`: a disk that is
 * full from then on. The k-th call, where it writes, still writes half, and every later one that needs room fails.
 * A sync that fails has lost what was added to the file since it was opened or synced, as Linux does with it sooner or
 * later; not so for files of SQLite, which would see it while it still has them open.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS, FAIL, HALF };

static char root[4096];
static size_t root_length;
static long number, wanted;
static int error_code, full;

void fail_at(const char *folder, long k, int error, int is_full)
{
    root_length = *folder ? snprintf(root, sizeof root, "%s/", folder) : 0;
    wanted = k;
    error_code = error;
    full = is_full;
    number = 0;
}

long calls_counted(void) { return number; }

static int below(const char *path) { return root_length && strncmp(path, root, root_length) == 0; }

static int below_fd(int fd)
{
    char link[32], path[4096];
    if (!root_length)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return below(path) || (strncmp(path, root, root_length - 1) == 0 && path[root_length - 1] == 0);
}

static int turn(int needs_room)
{
    long mine = __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST);
    if (!wanted || mine < wanted || (mine > wanted && !(full && needs_room)))
        return PASS;
    errno = error_code;
    return mine == wanted && full ? HALF : FAIL;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define WRITES(name, parameters, whole, half, size)  \
    ssize_t name parameters                          \
    {                                                \
        REAL(name);                                  \
        int how = below_fd(fd) ? turn(1) : PASS;     \
        if (how == HALF && (size) > 1)               \
            return real half;                        \
        return how == PASS ? real whole : -1;        \
    }

WRITES(write, (int fd, const void *data, size_t n), (fd, data, n), (fd, data, n / 2), n)
WRITES(pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at), (fd, data, n / 2, at), n)
WRITES(pwrite64, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at), (fd, data, n / 2, at), n)
WRITES(writev, (int fd, const struct iovec *v, int n), (fd, v, n), (fd, v, 1), n)
WRITES(sendfile, (int fd, int in, off_t *at, size_t n), (fd, in, at, n), (fd, in, at, n / 2), n)
WRITES(sendfile64, (int fd, int in, off64_t *at, size_t n), (fd, in, at, n), (fd, in, at, n / 2), n)

#define FAILS(name, parameters, arguments, where, needs_room)      \
    int name parameters                                            \
    {                                                              \
        REAL(name);                                                \
        return (where) && turn(needs_room) != PASS ? -1 : real arguments; \
    }

static off64_t synced[4096];

static off64_t size_of(int fd)
{
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISREG(found.st_mode) ? found.st_size : -1;
}

static void lose(int fd)
{
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (fd < 4096 && size_of(fd) > synced[fd] && !strstr(path, ".sqlite"))
        if (syscall(SYS_ftruncate, fd, synced[fd]) != 0)
            abort();
    errno = error_code;
}

#define SYNCS(name)                                 \
    int name(int fd)                                \
    {                                               \
        REAL(name);                                 \
        if (below_fd(fd) && turn(0) != PASS) {      \
            lose(fd);                               \
            return -1;                              \
        }                                           \
        if (fd >= 0 && fd < 4096)                   \
            synced[fd] = size_of(fd);               \
        return real(fd);                            \
    }

SYNCS(fsync)
SYNCS(fdatasync)
FAILS(ftruncate, (int fd, off_t size), (fd, size), below_fd(fd), 0)
FAILS(ftruncate64, (int fd, off64_t size), (fd, size), below_fd(fd), 0)
FAILS(rename, (const char *from, const char *to), (from, to), below(to), 0)
FAILS(mkdir, (const char *path, mode_t mode), (path, mode), below(path), 1)

/* What a full disk says of its room. */
#define ROOM(name, type)                                                   \
    int name(const char *path, struct type *found)                         \
    {                                                                      \
        REAL(name);                                                        \
        int result = real(path, found);                                    \
        if (result == 0 && full && wanted && number >= wanted)             \
            found->f_bavail = found->f_bfree = 0;                          \
        return result;                                                     \
    }

ROOM(statvfs, statvfs)
ROOM(statvfs64, statvfs64)

/* Opening fails where it would make the file. */
#define OPENS(name)                                                                        \
    int name(const char *path, int flags, ...)                                             \
    {                                                                                      \
        REAL(name);                                                                        \
        va_list rest;                                                                      \
        va_start(rest, flags);                                                             \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;                          \
        va_end(rest);                                                                      \
        int makes = flags & O_CREAT && below(path) && access(path, F_OK) != 0;             \
        if (makes && turn(1) != PASS) {                                                    \
            errno = error_code;                                                            \
            return -1;                                                                     \
        }                                                                                  \
        int fd = real(path, flags, mode);                                                  \
        if (fd >= 0 && fd < 4096)                                                          \
            synced[fd] = size_of(fd);                                                      \
        return fd;                                                                         \
    }

OPENS(open)
OPENS(open64)
