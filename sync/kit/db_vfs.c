/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/db_vfs.h"

#include <sqlite3.h>
#include <string.h>

/* What is noted of one database. */
struct notes {
    uint64_t syncs;
    bool was_full;
};

/* The default VFS's own file follows in the same block. */
struct vfs_file {
    sqlite3_file base;
    struct sqlite3_io_methods methods; /* Ours, at the version of the file beneath. */
    struct notes own;                  /* Used when this is a main database. */
    struct notes *notes;               /* Own, or those of the WAL's main database; NULL: not noted. */
    uint64_t beneath[];                /* SQLite aligns files to 8. */
};

static sqlite3_vfs *beneath_vfs(sqlite3_vfs *vfs)
{
    return vfs->pAppData;
}

static sqlite3_file *beneath(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((struct vfs_file *)(void *)file)->beneath;
}

static int file_noted(sqlite3_file *file, int code)
{
    struct notes *notes = ((struct vfs_file *)(void *)file)->notes;

    /* The quota wall (max_page_count) never comes down here: SQLITE_FULL is the file system's own word. */
    if (notes && (code & 0xff) == SQLITE_FULL)
        notes->was_full = true;
    return code;
}

/* --- Files --- */

static int file_close(sqlite3_file *file)
{
    return beneath(file)->pMethods->xClose(beneath(file));
}

static int file_read(sqlite3_file *file, void *out, int amount, sqlite3_int64 offset)
{
    return beneath(file)->pMethods->xRead(beneath(file), out, amount, offset);
}

static int file_write(sqlite3_file *file, const void *bytes, int amount, sqlite3_int64 offset)
{
    return file_noted(file, beneath(file)->pMethods->xWrite(beneath(file), bytes, amount, offset));
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return file_noted(file, beneath(file)->pMethods->xTruncate(beneath(file), size));
}

static int file_sync(sqlite3_file *file, int flags)
{
    struct notes *notes = ((struct vfs_file *)(void *)file)->notes;

    if (notes)
        notes->syncs++;
    return file_noted(file, beneath(file)->pMethods->xSync(beneath(file), flags));
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return beneath(file)->pMethods->xFileSize(beneath(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return beneath(file)->pMethods->xLock(beneath(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return beneath(file)->pMethods->xUnlock(beneath(file), level);
}

static int file_check_reserved_lock(sqlite3_file *file, int *out)
{
    return beneath(file)->pMethods->xCheckReservedLock(beneath(file), out);
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
    return file_noted(file, beneath(file)->pMethods->xFileControl(beneath(file), operation, argument));
}

static int file_sector_size(sqlite3_file *file)
{
    return beneath(file)->pMethods->xSectorSize(beneath(file));
}

static int file_device_characteristics(sqlite3_file *file)
{
    return beneath(file)->pMethods->xDeviceCharacteristics(beneath(file));
}

static int file_shm_map(sqlite3_file *file, int page, int page_size, int extend, void volatile **out)
{
    return beneath(file)->pMethods->xShmMap(beneath(file), page, page_size, extend, out);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return beneath(file)->pMethods->xShmLock(beneath(file), offset, count, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    beneath(file)->pMethods->xShmBarrier(beneath(file));
}

static int file_shm_unmap(sqlite3_file *file, int delete_it)
{
    return beneath(file)->pMethods->xShmUnmap(beneath(file), delete_it);
}

static int file_fetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **out)
{
    return beneath(file)->pMethods->xFetch(beneath(file), offset, amount, out);
}

static int file_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page)
{
    return beneath(file)->pMethods->xUnfetch(beneath(file), offset, page);
}

static const struct sqlite3_io_methods file_methods = {
    .iVersion = 3,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_device_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
    .xFetch = file_fetch,
    .xUnfetch = file_unfetch,
};

/* --- The VFS --- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct vfs_file *f = (struct vfs_file *)(void *)file;
    sqlite3_file *main_file;
    int code;

    memset(f, 0, sizeof *f);
    code = beneath_vfs(vfs)->xOpen(beneath_vfs(vfs), name, beneath(file), flags, out_flags);
    if (flags & SQLITE_OPEN_MAIN_DB) {
        f->notes = &f->own;
    } else if (flags & SQLITE_OPEN_WAL) {
        main_file = sqlite3_database_file_object(name);
        f->notes = &((struct vfs_file *)(void *)main_file)->own; /* A database outlives its WAL. */
    }
    /* SQLite closes what has methods, even when opening it failed. */
    if (beneath(file)->pMethods) {
        f->methods = file_methods;
        if (beneath(file)->pMethods->iVersion < f->methods.iVersion)
            f->methods.iVersion = beneath(file)->pMethods->iVersion;
        f->base.pMethods = &f->methods;
    }
    return file_noted(file, code);
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    return beneath_vfs(vfs)->xDelete(beneath_vfs(vfs), name, sync_folder);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    return beneath_vfs(vfs)->xAccess(beneath_vfs(vfs), name, flags, out);
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int room, char *out)
{
    return beneath_vfs(vfs)->xFullPathname(beneath_vfs(vfs), name, room, out);
}

static void *vfs_dl_open(sqlite3_vfs *vfs, const char *name)
{
    return beneath_vfs(vfs)->xDlOpen(beneath_vfs(vfs), name);
}

static void vfs_dl_error(sqlite3_vfs *vfs, int room, char *out)
{
    beneath_vfs(vfs)->xDlError(beneath_vfs(vfs), room, out);
}

static void (*vfs_dl_sym(sqlite3_vfs *vfs, void *library, const char *name))(void)
{
    return beneath_vfs(vfs)->xDlSym(beneath_vfs(vfs), library, name);
}

static void vfs_dl_close(sqlite3_vfs *vfs, void *library)
{
    beneath_vfs(vfs)->xDlClose(beneath_vfs(vfs), library);
}

static int vfs_randomness(sqlite3_vfs *vfs, int room, char *out)
{
    return beneath_vfs(vfs)->xRandomness(beneath_vfs(vfs), room, out);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    return beneath_vfs(vfs)->xSleep(beneath_vfs(vfs), microseconds);
}

static int vfs_current_time(sqlite3_vfs *vfs, double *out)
{
    return beneath_vfs(vfs)->xCurrentTime(beneath_vfs(vfs), out);
}

static int vfs_last_error(sqlite3_vfs *vfs, int room, char *out)
{
    return beneath_vfs(vfs)->xGetLastError(beneath_vfs(vfs), room, out);
}

static int vfs_current_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    return beneath_vfs(vfs)->xCurrentTimeInt64(beneath_vfs(vfs), out);
}

static int vfs_set_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call)
{
    return beneath_vfs(vfs)->xSetSystemCall(beneath_vfs(vfs), name, call);
}

static sqlite3_syscall_ptr vfs_call(sqlite3_vfs *vfs, const char *name)
{
    return beneath_vfs(vfs)->xGetSystemCall(beneath_vfs(vfs), name);
}

static const char *vfs_next_call(sqlite3_vfs *vfs, const char *name)
{
    return beneath_vfs(vfs)->xNextSystemCall(beneath_vfs(vfs), name);
}

int db_vfs_register(void)
{
    static sqlite3_vfs ours = {
        .iVersion = 3,
        .zName = DB_VFS_NAME,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_pathname,
        .xDlOpen = vfs_dl_open,
        .xDlError = vfs_dl_error,
        .xDlSym = vfs_dl_sym,
        .xDlClose = vfs_dl_close,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_current_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_current_time_ms,
        .xSetSystemCall = vfs_set_call,
        .xGetSystemCall = vfs_call,
        .xNextSystemCall = vfs_next_call,
    };
    sqlite3_vfs *found;

    if (ours.pAppData)
        return SQLITE_OK;
    if (!(found = sqlite3_vfs_find(NULL)))
        return SQLITE_ERROR;
    if (found->iVersion < ours.iVersion)
        ours.iVersion = found->iVersion;
    ours.szOsFile = (int)sizeof(struct vfs_file) + found->szOsFile;
    ours.mxPathname = found->mxPathname;
    ours.pAppData = found;
    return sqlite3_vfs_register(&ours, 0);
}

uint64_t db_vfs_syncs(struct sqlite3_file *file)
{
    return ((struct vfs_file *)(void *)file)->own.syncs;
}

bool db_vfs_was_full(struct sqlite3_file *file)
{
    struct notes *notes = &((struct vfs_file *)(void *)file)->own;
    bool was_full = notes->was_full;

    notes->was_full = false;
    return was_full;
}
