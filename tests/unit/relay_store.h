/* SPDX-License-Identifier: Apache-2.0 */
/* A relay's store in a folder of its own, for tests: opened, killed (never closed), opened again, at times of
 * one's choice. */
#ifndef ZAJEL_TESTS_RELAY_STORE_H
#define ZAJEL_TESTS_RELAY_STORE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "relay/branch.h"
#include "relay/inbox.h"
#include "relay/outbox_history.h"
#include "relay/outbox_idempotency.h"
#include "relay/outbox_tokens.h"
#include "sync/kit/json.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/item.h"
#include "sync/protocol/status.h"

#define BRANCH 7u
#define NUMBER "106540352242922"
#define WALL_MS INT64_C(1800000000000)

struct store {
    char folder[64];
    struct outbox_options options;
    struct branch_options rules;
    struct branch_number number;
    struct branch_template otp;
    struct outbox *outbox;
    struct branch *branch;
    struct branch_time now;
};

static inline void store_open(struct store *s)
{
    s->options.folder = s->folder;
    s->options.elapsed_ms = s->now.elapsed_ms;
    s->options.wall_ms = s->now.wall_ms;
    assert_int_equal(outbox_open(&s->outbox, &s->options), STATUS_OK);
    assert_int_equal(branch_open(&s->branch, &s->rules, s->outbox), STATUS_OK);
}

static inline void store_start(struct store *s)
{
    *s = (struct store){ .options = { .branch = BRANCH, .bytes_max = 64u << 20 },
                         .now = { .elapsed_ms = 1000000, .wall_ms = WALL_MS, .minute = 720 } };
    snprintf(s->folder, sizeof s->folder, "%s", "/var/tmp/zajel-test-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    assert_int_equal(seal_start(), STATUS_OK);
    log_set_level(LOG_LEVEL_ERROR);
    memset(s->options.boot, 1, sizeof s->options.boot);
    s->number = (struct branch_number){ .id = NUMBER, .display = "254700000001", .waba = "102310231023" };
    s->otp = (struct branch_template){ .name = "otp_login", .lane = LANE_URGENT, .expires_in_s = 300 };
    s->rules = (struct branch_options){ .number = BRANCH,
                                        .numbers = &s->number,
                                        .number_count = 1,
                                        .templates = &s->otp,
                                        .template_count = 1,
                                        .store_bytes_max = s->options.bytes_max,
                                        .delivers = true };
    for (int lane = 0; lane < LANE_COUNT; lane++)
        s->rules.lanes[lane].from_minute = -1;
    store_open(s);
}

static inline void store_commit(struct store *s)
{
    assert_int_equal(outbox_commit(s->outbox, s->now.elapsed_ms), STATUS_OK);
    outbox_tidy(s->outbox);
}

static inline void store_close(struct store *s)
{
    branch_close(s->branch);
    outbox_close(s->outbox);
    s->branch = NULL;
    s->outbox = NULL;
}

static inline int store_remove_one(const char *path, const struct stat *found, int type, struct FTW *at)
{
    (void)found;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void store_remove(const char *folder)
{
    assert_int_equal(nftw(folder, store_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Ends as a kill does: whatever is not in the files at this moment is gone, and nobody closed anything. */
static inline void store_kill(struct store *s)
{
    char copy[80], command[256];

    snprintf(copy, sizeof copy, "%s.killed", s->folder);
    snprintf(command, sizeof command, "cp -a '%s' '%s'", s->folder, copy);
    assert_int_equal(system(command), 0);
    store_close(s);
    store_remove(s->folder);
    assert_int_equal(rename(copy, s->folder), 0);
}

static inline void store_restart(struct store *s)
{
    store_kill(s);
    store_open(s);
}

static inline void store_end(struct store *s)
{
    store_close(s);
    store_remove(s->folder);
}

/* --- What a test says of messages --- */

static inline struct outbox_place store_put(struct store *s, enum lane lane, const char *body,
                                            const char *opaque)
{
    struct item item = { .kind = ITEM_SEND,
                         .form = ITEM_FORM_TEXT,
                         .number = 106540352242922u,
                         .at_s = (uint64_t)WALL_MS / 1000,
                         .body = slice_text(body) };
    uint8_t room[1024];
    struct outbox_message message = { .opaque = slice_text(opaque), .ttl_s = 3600 };
    struct outbox_place place;

    assert_int_equal(item_write(&item, room, sizeof room, &message.item), STATUS_OK);
    assert_int_equal(outbox_row_put(s->outbox, lane, &message, s->now.elapsed_ms, &place), STATUS_OK);
    return place;
}

/* The body of the first row of the lane after a place; at moves to it. NULL: none. */
static inline const char *store_next(struct store *s, struct outbox_place *at)
{
    static char text[1024];
    struct outbox_row row;
    struct item item;
    int status = outbox_row_next(s->outbox, at->lane, at, s->now.elapsed_ms, &row);

    if (status == STATUS_END)
        return NULL;
    assert_int_equal(status, STATUS_OK);
    *at = row.place;
    assert_int_equal(item_read(row.item, &item), STATUS_OK);
    snprintf(text, sizeof text, "%.*s", (int)item.body.length, (const char *)item.body.at);
    return text;
}

static inline uint64_t store_waiting(const struct store *s, enum lane lane)
{
    return outbox_waiting(s->outbox, lane).messages;
}

static inline void store_later(struct store *s, uint64_t ms)
{
    s->now.elapsed_ms += ms;
    s->now.wall_ms += (int64_t)ms;
}

static inline void store_sweep(struct store *s)
{
    bool more = true;

    while (more)
        assert_int_equal(branch_sweep(s->branch, true, &s->now, &more), STATUS_OK);
    store_commit(s);
}

#endif
