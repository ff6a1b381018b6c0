/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sync/kit/certificate.h"
#include "sync/kit/checkup.h"
#include "sync/kit/clock.h"
#include "sync/kit/file.h"
#include "sync/protocol/status.h"

#define DAY_S 86400
#define FIRST_S 1704067200 /* 2024-01-01: no box ran this program earlier. */
#define LAST_S 2208988800  /* 2040-01-01: nor will this version still run then. */

static void look_at_folder(struct checkup *c, const char *folder)
{
    struct stat there;

    if (stat(folder, &there) != 0)
        checkup_add(c, CHECKUP_FAIL, "state", "Make it (the gateway: init), or correct `state`.", "%s: %s",
                    folder, strerror(errno));
    else if (file_probe(folder) != STATUS_OK)
        checkup_add(c, CHECKUP_FAIL, "state",
                    "See whether its file system is mounted read-only or its disk is failing (dmesg), and "
                    "whether the folder belongs to the daemon's user.",
                    "%s cannot be written", folder);
    else if ((there.st_mode & 077) != 0)
        checkup_add(c, CHECKUP_WARN, "state", "chmod 700 it: it holds keys.", "%s has mode %04o", folder,
                    (unsigned)there.st_mode & 07777);
    else
        checkup_add(c, CHECKUP_OK, "state", NULL, "%s can be written", folder);
}

static void look_at_space(struct checkup *c, const char *folder, uint64_t room_bytes)
{
    uint64_t free_bytes = file_free_bytes(folder);
    enum checkup_grade grade = free_bytes >= room_bytes     ? CHECKUP_OK
                               : free_bytes >= 4 * 1048576u ? CHECKUP_WARN
                                                            : CHECKUP_FAIL;

    checkup_add(c, grade, "space",
                "Free some of its file system: old logs, packages (apt clean), files put aside as damaged.",
                "%" PRIu64 " MB free for the store, %" PRIu64 " MB wanted", free_bytes >> 20,
                room_bytes >> 20);
}

/* Files that a salvage left for people to look at. */
static unsigned count_aside(const char *folder, const char *database)
{
    DIR *d = opendir(folder);
    char prefix[128];
    unsigned count = 0;

    snprintf(prefix, sizeof prefix, "%s.damaged-", database);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        count += strncmp(e->d_name, prefix, strlen(prefix)) == 0 && !strstr(e->d_name, "-wal");
    if (d)
        closedir(d);
    return count;
}

static bool is_database(const char *path)
{
    static const char magic[] = "SQLite format 3";
    char head[sizeof magic] = "";
    FILE *f = fopen(path, "rbe");
    size_t length = f ? fread(head, 1, sizeof head, f) : 0;

    if (f)
        fclose(f);
    return length == sizeof head && memcmp(head, magic, sizeof magic) == 0;
}

static uint64_t size_of(const char *path, const char *suffix)
{
    struct text name = { 0 };
    struct stat there;
    uint64_t bytes = 0;

    text_printf(&name, "%s%s", path, suffix);
    if (!name.failed && stat(name.at, &there) == 0)
        bytes = (uint64_t)there.st_size;
    text_free(&name);
    return bytes;
}

static void look_at_database(struct checkup *c, const char *folder, const char *database)
{
    char *path = file_join(folder, database);
    unsigned aside = count_aside(folder, database);

    if (!path)
        return;
    if (access(path, F_OK) != 0)
        checkup_add(c, CHECKUP_WARN, "store", "The first start of the daemon (the gateway: init) makes it.",
                    "there is no %s yet", path);
    /* Before its first checkpoint all of a database may be in its log. */
    else if (size_of(path, "") > 0 && !is_database(path))
        checkup_add(
            c, CHECKUP_FAIL, "store",
            "Copy it away for inspection. The relay salvages what it can at its next start; a gateway's "
            "ledger is restored from its backup.",
            "%s is no database", path);
    else
        checkup_add(c, CHECKUP_OK, "store", NULL, "%s: %" PRIu64 " KB, its log %" PRIu64 " KB", path,
                    size_of(path, "") >> 10, size_of(path, "-wal") >> 10);
    if (aside)
        checkup_add(c, CHECKUP_WARN, "damaged files",
                    "Check the disk (dmesg, badblocks) and replace a card that fails; then delete them.",
                    "%u damaged databases were put aside in %s", aside, folder);
    free(path);
}

void checkup_store(struct checkup *c, const char *folder, const char *database, uint64_t room_bytes)
{
    struct stat there;

    look_at_folder(c, folder);
    if (stat(folder, &there) != 0)
        return;
    look_at_space(c, folder, room_bytes);
    look_at_database(c, folder, database);
}

static int read_pair(const char *certificate_file, const char *key_file, struct certificate_facts *facts)
{
    struct text certificate = { 0 }, key = { 0 };
    int status;

    if ((status = file_read(certificate_file, FILE_SECRET_BYTES_MAX, &certificate)) == STATUS_OK &&
        (status = file_read(key_file, FILE_SECRET_BYTES_MAX, &key)) == STATUS_OK &&
        (status = certificate_read(certificate.at, facts)) == STATUS_OK)
        status = certificate_check_key(certificate.at, key.at);
    text_free(&certificate);
    text_wipe(&key);
    return status;
}

void checkup_certificate(struct checkup *c, const char *check, const char *certificate_file,
                         const char *key_file, int days_warn, char name[128])
{
    struct certificate_facts facts = { .common_name = "" };
    int64_t now_s = clock_wall_ms() / 1000, days;
    int status = read_pair(certificate_file, key_file, &facts);

    snprintf(name, 128, "%s", status == STATUS_OK ? facts.common_name : "");
    if (status != STATUS_OK) {
        checkup_add(
            c, CHECKUP_FAIL, check,
            "Both must be readable by the daemon, PEM, and of one pair; make them anew if they are not.",
            "%s and %s: %s", certificate_file, key_file, status_name(status));
        return;
    }
    days = (facts.until_s - now_s) / DAY_S;
    if (now_s >= facts.until_s)
        checkup_add(c, CHECKUP_FAIL, check, "Replace it, or set the clock if that is what is wrong.",
                    "of %s, over since %" PRId64 " days", facts.common_name, -days);
    else if (now_s < facts.from_s)
        checkup_add(c, CHECKUP_FAIL, check, "Set the clock: it is before the certificate's begin.",
                    "of %s, not good before %" PRId64 " days from now", facts.common_name,
                    (facts.from_s - now_s + DAY_S - 1) / DAY_S);
    else
        checkup_add(c, days >= days_warn ? CHECKUP_OK : CHECKUP_WARN, check, "Replace it before it is over.",
                    "of %s, %" PRId64 " days left", facts.common_name, days);
}

void checkup_clock(struct checkup *c)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    char words[32] = "";
    struct tm day;

    if (gmtime_r(&now, &day))
        strftime(words, sizeof words, "%Y-%m-%d %H:%M UTC", &day);
    if (now < FIRST_S || now >= LAST_S)
        checkup_add(c, CHECKUP_FAIL, "clock",
                    "Set it (timedatectl), or see why NTP does not. Messages are taken meanwhile.",
                    "it says %s, which cannot be", words);
    else if (!clock_synchronised())
        checkup_add(c, CHECKUP_WARN, "clock",
                    "See that NTP runs (timedatectl). A relay goes by the gateway's clock once linked.",
                    "%s, not synchronised by NTP", words);
    else
        checkup_add(c, CHECKUP_OK, "clock", NULL, "%s, synchronised", words);
}
