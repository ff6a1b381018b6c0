/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that fails when it is told to: LD_PRELOAD this, and name a control file in ZAJEL_EIO. While that
 * file holds words, calls on files whose path has "/state/" or "/gateway/" in it fail with EIO: "write" lets
 * pwrite and write fail, "sync" fsync and fdatasync, "read" pread. An empty or missing file: the disk is well
 * again.
 *
 * It also answers adjtimex as a machine without NTP would: the tests of clocks must not depend on this one's.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

/* ISO C has no cast from an object pointer to a function pointer; POSIX asks for this form. */
#define REAL(function, name) *(void **)&(function) = dlsym(RTLD_NEXT, name)

static int fails(int fd, const char *what)
{
    const char *control = getenv("ZAJEL_EIO");
    char words[64] = "", link[32], path[512];
    int told = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n;

    if (told < 0)
        return 0;
    n = read(told, words, sizeof words - 1);
    close(told);
    if (n <= 0 || !strstr(words, what))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return 0;
    path[n] = '\0';
    if (!strstr(path, "/state") && !strstr(path, "/gateway"))
        return 0;
    errno = EIO;
    return 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at)
{
    ssize_t (*real)(int, const void *, size_t, off64_t);

    REAL(real, "pwrite64");
    return fails(fd, "write") ? -1 : real(fd, bytes, length, at);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at)
{
    ssize_t (*real)(int, void *, size_t, off64_t);

    REAL(real, "pread64");
    return fails(fd, "read") ? -1 : real(fd, bytes, length, at);
}

int fsync(int fd)
{
    int (*real)(int);

    REAL(real, "fsync");
    return fails(fd, "sync") ? -1 : real(fd);
}

int fdatasync(int fd)
{
    int (*real)(int);

    REAL(real, "fdatasync");
    return fails(fd, "sync") ? -1 : real(fd);
}

int adjtimex(struct timex *state)
{
    memset(state, 0, sizeof *state);
    state->status = STA_UNSYNC;
    return TIME_ERROR;
}
