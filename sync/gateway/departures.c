/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/departures.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/kit/clock.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

/* The file: magic, the machine's boot id, then places: 1 byte length (0: free) and the message's id in its
 * binary form. */
#define PLACE_BYTES 32u
#define HEADER_BYTES 32u
#define FILE_BYTES (HEADER_BYTES + DEPARTURES_MAX * PLACE_BYTES)

static const uint8_t magic[16] = "zajel released 1";

struct departures {
    char *path;
    int fd;       /* -1: notes cannot be kept; the file is gone, so that all is doubtful after a restart. */
    bool trusted; /* What was read is of this boot of the machine. */
    uint8_t read[DEPARTURES_MAX][PLACE_BYTES];
    bool used[DEPARTURES_MAX];
};

static void make_header(uint8_t header[HEADER_BYTES])
{
    memcpy(header, magic, sizeof magic);
    clock_boot_id(header + sizeof magic);
}

static bool boot_is_known(const uint8_t header[HEADER_BYTES])
{
    static const uint8_t none[CLOCK_BOOT_BYTES];

    return memcmp(header + sizeof magic, none, sizeof none) != 0;
}

static void read_file(struct departures *d)
{
    uint8_t expected[HEADER_BYTES], header[HEADER_BYTES];
    int fd = open(d->path, O_RDONLY | O_CLOEXEC);

    make_header(expected);
    d->trusted = fd >= 0 && boot_is_known(expected) &&
                 read(fd, header, sizeof header) == (ssize_t)sizeof header &&
                 memcmp(header, expected, sizeof header) == 0 &&
                 read(fd, d->read, sizeof d->read) == (ssize_t)sizeof d->read;
    if (fd >= 0)
        close(fd);
}

int departures_open(struct departures **out, const char *path)
{
    struct departures *d = calloc(1, sizeof *d);

    *out = NULL;
    if (!d || !(d->path = strdup(path))) {
        free(d);
        return STATUS_NO_MEMORY;
    }
    d->fd = -1;
    read_file(d);
    *out = d;
    return STATUS_OK;
}

void departures_close(struct departures *d)
{
    if (!d)
        return;
    if (d->fd >= 0)
        close(d->fd);
    free(d->path);
    free(d);
}

bool departures_doubt(const struct departures *d, const struct message_id *id)
{
    uint8_t binary[MESSAGE_ID_BINARY_MAX];
    size_t length = message_id_pack(id, binary);

    if (!d->trusted)
        return true;
    for (size_t i = 0; i < DEPARTURES_MAX; i++)
        if (d->read[i][0] == length && memcmp(d->read[i] + 1, binary, length) == 0)
            return true;
    return false;
}

static void give_up(struct departures *d)
{
    log_event(LOG_LEVEL_WARNING, "departures_lost", "note=\"a restart will leave attempts unknown\"");
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    unlink(d->path);
}

void departures_begin(struct departures *d)
{
    static const uint8_t empty[FILE_BYTES - HEADER_BYTES];
    uint8_t header[HEADER_BYTES];

    if (d->fd >= 0)
        return;
    make_header(header);
    unlink(d->path);
    d->fd = open(d->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* The header last: a file with one is whole. */
    if (d->fd < 0 || pwrite(d->fd, empty, sizeof empty, HEADER_BYTES) != (ssize_t)sizeof empty ||
        pwrite(d->fd, header, sizeof header, 0) != (ssize_t)sizeof header)
        give_up(d);
}

static void write_place(struct departures *d, unsigned place, const uint8_t bytes[PLACE_BYTES])
{
    if (d->fd >= 0 && pwrite(d->fd, bytes, PLACE_BYTES, (off_t)(HEADER_BYTES + place * PLACE_BYTES)) !=
                          (ssize_t)PLACE_BYTES)
        give_up(d);
}

unsigned departures_note(struct departures *d, const struct message_id *id)
{
    uint8_t bytes[PLACE_BYTES] = { 0 };
    unsigned place = 0;

    while (d->used[place])
        place++;
    assert(place < DEPARTURES_MAX);
    d->used[place] = true;
    bytes[0] = (uint8_t)message_id_pack(id, bytes + 1);
    write_place(d, place, bytes);
    return place;
}

void departures_clear(struct departures *d, unsigned place)
{
    static const uint8_t bytes[PLACE_BYTES];

    assert(place < DEPARTURES_MAX && d->used[place]);
    d->used[place] = false;
    write_place(d, place, bytes);
}
