/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "sync/protocol/status.h"

static int status_of_errno(void)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return STATUS_NO_SPACE;
    return errno == ENOMEM ? STATUS_NO_MEMORY : STATUS_IO;
}

static int file_open_to_read(const char *path, int *fd)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd >= 0)
        return STATUS_OK;
    return errno == ENOENT ? STATUS_END : status_of_errno();
}

static ssize_t read_some(int fd, void *room, size_t length)
{
    ssize_t got;

    do
        got = read(fd, room, length);
    while (got < 0 && errno == EINTR);
    return got;
}

int file_read(const char *path, size_t max, struct text *out)
{
    char block[4096];
    size_t total = 0;
    ssize_t got;
    int fd, status = file_open_to_read(path, &fd);

    if (status != STATUS_OK)
        return status;
    while ((got = read_some(fd, block, sizeof block)) > 0) {
        if ((size_t)got > max - total) {
            status = STATUS_TOO_LARGE;
            break;
        }
        total += (size_t)got;
        text_add(out, slice_of(block, (size_t)got));
    }
    if (got < 0)
        status = status_of_errno();
    else if (status == STATUS_OK && out->failed)
        status = STATUS_NO_MEMORY;
    close(fd);
    return status;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int file_read_secret(const char *path, struct text *out)
{
    char room[FILE_SECRET_BYTES_MAX +
              1]; /* On the stack, so that it can be wiped and no growing leaves copies. */
    size_t length = 0;
    ssize_t got;
    int fd, status = file_open_to_read(path, &fd);

    if (status != STATUS_OK)
        return status;
    while (length < sizeof room && (got = read_some(fd, room + length, sizeof room - length)) != 0) {
        if (got < 0) {
            status = status_of_errno();
            break;
        }
        length += (size_t)got;
    }
    close(fd);
    if (status == STATUS_OK && length == sizeof room)
        status = STATUS_TOO_LARGE;
    while (length > 0 && is_space(room[length - 1]))
        length--;
    if (status == STATUS_OK && length == 0)
        status = STATUS_INVALID;
    if (status == STATUS_OK) {
        text_add(out, slice_of(room, length));
        status = out->failed ? STATUS_NO_MEMORY : STATUS_OK;
    }
    explicit_bzero(room, sizeof room);
    return status;
}

static int write_all(int fd, struct slice bytes)
{
    while (bytes.length > 0) {
        ssize_t put = write(fd, bytes.at, bytes.length);

        if (put < 0 && errno != EINTR)
            return status_of_errno();
        if (put > 0)
            bytes = slice_of(bytes.at + put, bytes.length - (size_t)put);
    }
    return STATUS_OK;
}

/* The file at path made anew: whatever an earlier start left there, with whatever mode, is no longer it. */
static int file_make(const char *path, struct slice bytes, mode_t mode)
{
    int fd, status;

    if (unlink(path) != 0 && errno != ENOENT)
        return status_of_errno();
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0600);
    if (fd < 0)
        return status_of_errno();
    status = write_all(fd, bytes);
    /* The mode is the caller's and not the umask's. */
    if (status == STATUS_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        status = status_of_errno();
    if (close(fd) != 0 && status == STATUS_OK)
        status = status_of_errno();
    return status;
}

/* The folder that holds path. Caller frees. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static int sync_folder_of(const char *path)
{
    char *folder = folder_of(path);
    int status = folder ? file_sync_folder(folder) : STATUS_NO_MEMORY;

    free(folder);
    return status;
}

int file_write(const char *path, struct slice bytes, mode_t mode)
{
    char *fresh = NULL;
    int status;

    if (asprintf(&fresh, "%s.new", path) < 0)
        return STATUS_NO_MEMORY;
    status = file_make(fresh, bytes, mode);
    if (status == STATUS_OK && rename(fresh, path) != 0)
        status = status_of_errno();
    if (status != STATUS_OK)
        unlink(fresh);
    free(fresh);
    return status == STATUS_OK ? sync_folder_of(path) : status;
}

int file_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status = STATUS_OK;

    if (fd < 0)
        return status_of_errno();
    if (fsync(fd) != 0)
        status = status_of_errno();
    close(fd);
    return status;
}

static int make_one_folder(const char *path, mode_t mode)
{
    struct stat is;

    if (mkdir(path, mode) == 0)
        return sync_folder_of(path);
    /* What is there may also answer EROFS or EACCES before EEXIST. */
    if (stat(path, &is) == 0)
        return S_ISDIR(is.st_mode) ? STATUS_OK : STATUS_IO;
    return status_of_errno();
}

int file_make_folder(const char *path, mode_t mode)
{
    char *part = strdup(path);
    size_t length = strlen(path);
    int status = STATUS_OK;

    if (!part)
        return STATUS_NO_MEMORY;
    while (length > 1 && part[length - 1] == '/')
        part[--length] = '\0';
    for (size_t i = 1; i < length && status == STATUS_OK; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        status = make_one_folder(part, mode);
        part[i] = '/';
    }
    if (status == STATUS_OK)
        status = make_one_folder(part, mode);
    free(part);
    return status;
}

int file_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? STATUS_OK : status_of_errno();
}

char *file_join(const char *folder, const char *name)
{
    size_t length = strlen(folder);
    char *path = NULL;

    if (name[0] == '/' || length == 0)
        return strdup(name);
    if (asprintf(&path, "%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name) < 0)
        return NULL;
    return path;
}

int file_probe(const char *folder)
{
    return access(folder, W_OK) == 0 ? file_sync_folder(folder) : STATUS_IO;
}

uint64_t file_free_bytes(const char *path)
{
    struct statvfs is;

    return statvfs(path, &is) == 0 ? (uint64_t)is.f_bavail * is.f_frsize : 0;
}
