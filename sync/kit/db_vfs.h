/* SPDX-License-Identifier: Apache-2.0 */
/* The VFS "zajel": SQLite's default VFS passed through whole, with two things noted of a database and its
 * WAL: how often they were synced, and whether the file system had no room. Only db.c includes this. */
#ifndef ZAJEL_KIT_DB_VFS_H
#define ZAJEL_KIT_DB_VFS_H

#include <stdbool.h>
#include <stdint.h>

#define DB_VFS_NAME "zajel"

struct sqlite3_file;

/* Registers it over what is the default VFS now; later calls do nothing. Returns SQLite's code. */
int db_vfs_register(void);

/* file: of a main database opened through this VFS (SQLITE_FCNTL_FILE_POINTER). Its WAL's syncs are counted
 * in. */
uint64_t db_vfs_syncs(struct sqlite3_file *file);
/* A write or truncation failed because the file system was full, since this was asked last. */
bool db_vfs_was_full(struct sqlite3_file *file);

#endif
