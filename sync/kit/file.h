/* SPDX-License-Identifier: Apache-2.0 */
/* Small files: read whole, written so that a power cut leaves the old one or the new one. */
#ifndef ZAJEL_KIT_FILE_H
#define ZAJEL_KIT_FILE_H

#include <sys/types.h>

#include "sync/kit/text.h"

/* The whole file added to out. STATUS_END: no such file. STATUS_TOO_LARGE: more than max bytes. STATUS_IO */
int file_read(const char *path, size_t max, struct text *out);
/* A private key with its certificate chain is a fifth of this. */
#define FILE_SECRET_BYTES_MAX 16384u

/* As file_read, at most FILE_SECRET_BYTES_MAX; trailing white space is cut: for *_file secrets.
 * STATUS_INVALID when nothing is left. */
int file_read_secret(const char *path, struct text *out);
/* Writes to path.new, syncs, renames over path, syncs the folder. The file has exactly this mode, whatever
 * the umask. A path.new left by a power cut is replaced. STATUS_NO_SPACE or STATUS_IO: path is as it was,
 * unless only the last sync failed. */
int file_write(const char *path, struct slice bytes, mode_t mode);
/* Syncs a folder, so that names made or removed in it stay so. */
int file_sync_folder(const char *path);
/* Makes the folder (parents too) with mode less the umask, unless it is there. STATUS_IO also when something
 * else has that name. */
int file_make_folder(const char *path, mode_t mode);
int file_remove(const char *path); /* STATUS_OK also when it was not there. */
/* "folder/name" when name is relative, else name. Caller frees; NULL when out of memory. */
char *file_join(const char *folder, const char *name);
/* Whether things can be written in the folder, and its disk answers a sync. Writes nothing: a card is asked
 * to flush what it holds, and is worn by no byte. STATUS_IO */
int file_probe(const char *folder);
/* Free bytes of the file system that holds path, for an ordinary user; 0 when unknown. */
uint64_t file_free_bytes(const char *path);

#endif
