/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/box.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "relay/calls.h"
#include "relay/herald.h"
#include "relay/intake.h"
#include "relay/report.h"
#include "relay/uplink.h"
#include "sync/kit/certificate.h"
#include "sync/kit/file.h"
#include "sync/kit/log.h"
#include "sync/kit/notify.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define TICK_MS 1000u
#define HANDSHAKE_S 60u /* TLS on 2G with 30 % loss (loop.h). */
#define DESCRIPTORS 64u /* The link, and one more while it is replaced; lws counts its own besides. */

void box_now(struct branch_time *now)
{
    time_t seconds;
    struct tm local = { 0 };

    now->elapsed_ms = clock_elapsed_ms();
    now->wall_ms = clock_wall_ms();
    now->synchronised = clock_synchronised();
    seconds = (time_t)(now->wall_ms / 1000);
    localtime_r(&seconds, &local);
    now->minute = local.tm_hour * 60 + local.tm_min;
}

uint64_t box_turns(const struct box *b)
{
    return b->turns;
}

uint64_t box_syncs(const struct box *b)
{
    return b->syncs + (b->outbox ? outbox_syncs(b->outbox) : 0);
}

uint64_t box_commits(const struct box *b)
{
    return b->commits + (b->outbox ? outbox_commits(b->outbox) : 0);
}

/* --- The store --- */

static int box_open_store(struct box *b)
{
    const struct options *o = b->options;
    struct outbox_options options = { .folder = o->state,
                                      .branch = o->rules.number,
                                      .bytes_max = o->rules.store_bytes_max,
                                      .reserve_bytes = o->reserve_bytes,
                                      .elapsed_ms = clock_elapsed_ms(),
                                      .wall_ms = clock_wall_ms(),
                                      .salvage = b->store_damaged };
    int status;

    clock_boot_id(options.boot);
    notify_busy(b->notify, true);
    status = outbox_open(&b->outbox, &options);
    notify_busy(b->notify, false);
    if (status != STATUS_OK)
        return status;
    b->store_damaged = false;
    if ((status = branch_open(&b->branch, &o->rules, b->outbox)) != STATUS_OK) {
        outbox_close(b->outbox);
        b->outbox = NULL;
    }
    return status;
}

static void box_close_store(struct box *b)
{
    b->syncs = box_syncs(b);
    b->commits = box_commits(b);
    branch_close(b->branch);
    b->branch = NULL;
    outbox_close(b->outbox);
    b->outbox = NULL;
}

/* The turn failed and its outcome is unknown: nothing is assumed, everything is read again. */
static void box_lose_turn(struct box *b, int why)
{
    int status;

    log_event(LOG_LEVEL_ERROR, "turn_lost", "status=%s", status_name(why));
    b->store_damaged = why == STATUS_CORRUPT;
    if (why == STATUS_NO_SPACE)
        outbox_release_reserve(b->outbox);
    uplink_drop(b->uplink);
    box_close_store(b);
    b->reopened++;
    if ((status = box_open_store(b)) != STATUS_OK)
        log_event(LOG_LEVEL_ERROR, "store_closed", "status=%s", status_name(status));
}

/* --- The turn --- */

static int box_act(struct box *b, const struct branch_time *now)
{
    bool slice = b->tick_due, more = false;
    int status;

    b->tick_due = false;
    if ((status = intake_turn(b->intake, now)) != STATUS_OK ||
        (status = calls_turn(b->calls, now)) != STATUS_OK ||
        (status = uplink_turn(b->uplink, now)) != STATUS_OK ||
        (status = herald_turn(b->herald, now)) != STATUS_OK ||
        (status = branch_sweep(b->branch, slice, now, &more)) != STATUS_OK)
        return status;
    if (outbox_is_writing(b->outbox))
        b->turns++;
    if (more)
        loop_note(b->loop);
    return outbox_commit(b->outbox, now->elapsed_ms);
}

static void box_turn(void *owner)
{
    struct box *b = owner;
    struct branch_time now;
    int status = STATUS_UNAVAILABLE;

    box_now(&now);
    if (b->outbox) {
        status = box_act(b, &now);
        if (status != STATUS_OK)
            box_lose_turn(b, status);
    }
    /* Only now may anything be promised, acked or sent. */
    intake_answer(b->intake, status);
    calls_answer(b->calls, status);
    if (!b->outbox)
        return;
    if (status == STATUS_OK && (status = uplink_pump(b->uplink, &now)) != STATUS_OK)
        box_lose_turn(b, status);
    if (!b->outbox)
        return;
    herald_pump(b->herald, &now);
    /* What the link made necessary (a damaged row put aside) is committed by the next turn. */
    if (outbox_is_writing(b->outbox))
        loop_note(b->loop);
    else
        outbox_tidy(b->outbox);
}

static void box_tick(void *owner)
{
    struct box *b = owner;

    if (!b->outbox && box_open_store(b) == STATUS_OK)
        log_event(LOG_LEVEL_INFO, "store_opened", "%s", "");
    b->tick_due = true;
    loop_timer_set(&b->tick, clock_elapsed_ms() + TICK_MS);
    loop_note(b->loop);
}

/* A store that fails the probe is opened anew, before a message meets the trouble. One that is closed is no
 * reason to end the process: it answers, says why, and tries again. */
static int box_look(void *owner, bool probe, struct text *words)
{
    struct box *b = owner;
    struct branch_time now;
    int status = STATUS_OK;

    box_now(&now);
    if (probe && b->outbox) {
        status = outbox_used_bytes(b->outbox) ? file_probe(b->options->state) : STATUS_IO;
        if (status != STATUS_OK)
            box_lose_turn(b, status);
    }
    report_words(b, &now, words);
    return status;
}

static void box_stop(void *owner)
{
    struct box *b = owner;

    notify_stopping(b->notify);
    loop_stop(b->loop);
}

static void box_reload(void *owner)
{
    (void)owner;
    log_event(LOG_LEVEL_WARNING, "reload_ignored",
              "reason=\"every key of relay.conf takes effect at a start\"");
}

/* --- Running --- */

static void box_read_certificate(struct box *b)
{
    struct certificate_facts facts;
    struct text pem = { 0 };

    if (b->options->uplink_certificate_file &&
        file_read(b->options->uplink_certificate_file, FILE_SECRET_BYTES_MAX, &pem) == STATUS_OK &&
        certificate_read(pem.at, &facts) == STATUS_OK)
        b->certificate_until_s = facts.until_s;
    text_free(&pem);
}

static void box_complain(const char *what, int status)
{
    log_event(LOG_LEVEL_ERROR, "start_failed", "part=%s status=%s", what, status_name(status));
}

static int box_open(struct box *b)
{
    struct notify_options told = { .look = box_look, .owner = b };
    struct loop_options loop = { .turn = box_turn,
                                 .stop = box_stop,
                                 .reload = box_reload,
                                 .owner = b,
                                 .descriptors_max = DESCRIPTORS,
                                 .handshake_s_max = HANDSHAKE_S };
    const char *what = "seal";
    int status;

    if ((status = seal_start()) != STATUS_OK)
        goto fail;
    what = "loop";
    if ((status = loop_open(&b->loop, &loop)) != STATUS_OK ||
        (status = loop_timer_open(&b->tick, b->loop, box_tick, b)) != STATUS_OK ||
        (status = notify_open(&b->notify, b->loop, &told)) != STATUS_OK)
        goto fail;
    what = "store";
    if ((status = box_open_store(b)) != STATUS_OK)
        goto fail;
    what = "control";
    if ((status = calls_open(&b->calls, b)) != STATUS_OK)
        goto fail;
    what = "herald";
    if ((status = herald_open(&b->herald, b)) != STATUS_OK)
        goto fail;
    what = "uplink";
    if ((status = uplink_open(&b->uplink, b)) != STATUS_OK)
        goto fail;
    what = "api";
    if ((status = intake_open(&b->intake, b)) != STATUS_OK)
        goto fail;
    return STATUS_OK;
fail:
    box_complain(what, status);
    return status;
}

static void box_close(struct box *b)
{
    intake_close(b->intake);
    calls_close(b->calls);
    herald_close(b->herald);
    uplink_close(b->uplink);
    notify_close(b->notify);
    loop_timer_close(&b->tick);
    branch_close(b->branch);
    outbox_close(b->outbox);
    loop_close(b->loop);
}

int box_run(struct options *options)
{
    struct box b = { .options = options, .started_ms = clock_elapsed_ms() };
    int status = box_open(&b);

    if (status == STATUS_OK) {
        box_read_certificate(&b);
        log_event(LOG_LEVEL_INFO, "started", "branch=%s epoch=%016llx", options->branch,
                  (unsigned long long)outbox_current_epoch(b.outbox));
        loop_timer_set(&b.tick, clock_elapsed_ms() + TICK_MS);
        notify_ready(b.notify);
        status = loop_run(b.loop);
        log_event(LOG_LEVEL_INFO, "stopped", "status=%s", status_name(status));
    }
    box_close(&b);
    return status == STATUS_OK ? 0 : 1;
}
