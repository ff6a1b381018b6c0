/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/uplink.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "relay/inbox.h"
#include "sync/kit/link.h"
#include "sync/kit/log.h"
#include "sync/kit/seal.h"
#include "sync/protocol/backoff.h"
#include "sync/protocol/session.h"
#include "sync/protocol/status.h"

#define FRAMES_MAX 64u    /* Frames of a turn: the link is paused at ... */
#define FRAMES_PAUSE 16u  /* ... so many, and what was under way then still fits. */
#define CONNECT_MS 30000u /* TCP, TLS and upgrade: the round trips of a bad 2G link take ten. */
#define ROOM_BYTES \
    1048576u /* What may come down unasked: an hour of a busy branch, a thousandth of its store. */
/* Above this share of the quota the gateway keeps what it has for us (percent), but for control. */
#define ROOM_PERCENT 90u
/* A row larger than a few of the smallest frames goes in parts: it may have begun to leave though it was not
 * taken whole (session.h). */
#define PART_BYTES 4096u

/* One link and its session. It outlives the session: a link that is being closed still has its `down` to
 * come. */
struct carrier {
    struct uplink *uplink; /* NULL: nobody is interested any more. */
    struct link *link;
    struct session *session;
    struct text frames[FRAMES_MAX];
    size_t frame_count;
    bool is_up, is_down, is_paused;
    bool received; /* Frames came in this turn: the session waits for the commit. */
    bool was_welcomed;
    epoch_id announced[SESSION_EPOCHS_MAX]; /* In our hello, in its order. */
    size_t announced_count;
    struct carrier *next; /* Among those that are leaving. */
};

struct uplink {
    struct box *box;
    struct link_client *client;
    struct session_room *room;
    struct carrier *carrier; /* NULL: none, the timer says when to try. */
    struct carrier *leaving;
    struct backoff backoff;
    struct loop_timer timer;               /* When to connect, or when the session is due. */
    uint64_t connect_ms;                   /* When to try next; UINT64_MAX: a carrier is there. */
    uint64_t sent_before, received_before; /* Of sessions that are over. */
    uint64_t goodput;                      /* The last one known. */
    uint64_t connects;
    enum uplink_state state;
    uint64_t since_ms;
};

const char *uplink_state_name(enum uplink_state state)
{
    switch (state) {
    case UPLINK_OFF: return "off";
    case UPLINK_DOWN: return "down";
    case UPLINK_CONNECTING: return "connecting";
    case UPLINK_UP: return "up";
    }
    return "off";
}

static void uplink_set_state(struct uplink *u, enum uplink_state state)
{
    if (state == u->state)
        return;
    u->state = state;
    u->since_ms = clock_elapsed_ms();
    if (u->box->branch)
        branch_set_link(u->box->branch, state == UPLINK_UP);
}

/* --- Links --- */

static void carrier_free(struct carrier *c)
{
    if (!c)
        return;
    session_close(c->session);
    for (size_t i = 0; i < FRAMES_MAX; i++)
        text_free(&c->frames[i]);
    free(c);
}

static void carrier_up(void *owner, struct link *link)
{
    struct carrier *c = owner;

    (void)link;
    c->is_up = true;
    if (c->uplink)
        loop_note(c->uplink->box->loop);
}

static void carrier_message(void *owner, struct link *link, struct slice bytes)
{
    struct carrier *c = owner;

    if (!c->uplink)
        return;
    if (c->frame_count == FRAMES_MAX) {
        link_close(link, session_close_code(SESSION_REASON_LIMIT), session_reason_name(SESSION_REASON_LIMIT));
        return;
    }
    text_add(&c->frames[c->frame_count++], bytes);
    if (c->frame_count >= FRAMES_PAUSE && !c->is_paused) {
        c->is_paused = true;
        link_pause(link, true);
    }
    loop_note(c->uplink->box->loop);
}

static void uplink_forget(struct uplink *u, struct carrier *gone)
{
    for (struct carrier **at = &u->leaving; *at; at = &(*at)->next) {
        if (*at != gone)
            continue;
        *at = gone->next;
        carrier_free(gone);
        return;
    }
}

static void carrier_down(void *owner, struct link *link, uint16_t close_code, const char *why)
{
    struct carrier *c = owner;
    struct uplink *u = c->uplink;
    char quoted[128];

    (void)link;
    c->link = NULL;
    if (c != u->carrier) {
        uplink_forget(u, c);
        return;
    }
    log_event(LOG_LEVEL_INFO, "link_down", "code=%u why=%s", close_code,
              log_quote(slice_text(why), quoted, sizeof quoted));
    c->is_down = true;
    loop_note(u->box->loop);
}

static const struct link_events events = { .up = carrier_up,
                                           .message = carrier_message,
                                           .down = carrier_down };

/* The session is over; the link may still have to close. */
static void uplink_let_go(struct uplink *u, uint16_t code, const char *reason)
{
    struct carrier *c = u->carrier;
    struct session_stats stats;
    uint64_t now_ms = clock_elapsed_ms();

    if (!c)
        return;
    if (c->session) {
        session_stats(c->session, &stats);
        u->sent_before += stats.sent_bytes;
        u->received_before += stats.received_bytes;
        if (stats.useful)
            backoff_reset(&u->backoff);
        session_close(c->session);
        c->session = NULL;
    }
    u->carrier = NULL;
    if (c->link) {
        c->next = u->leaving;
        u->leaving = c;
        link_close(c->link, code, reason);
    } else {
        carrier_free(c);
    }
    u->connect_ms = now_ms + backoff_next(&u->backoff, now_ms);
    uplink_set_state(u, UPLINK_DOWN);
}

static void uplink_connect(struct uplink *u)
{
    struct carrier *c = calloc(1, sizeof *c);
    uint64_t now_ms = clock_elapsed_ms();

    u->connect_ms = now_ms + backoff_next(&u->backoff, now_ms);
    if (!c)
        return;
    c->uplink = u;
    if (link_connect(u->client, &c->link) != STATUS_OK) {
        carrier_free(c);
        return;
    }
    link_set_owner(c->link, c);
    u->carrier = c;
    u->connect_ms = UINT64_MAX;
    uplink_set_state(u, UPLINK_CONNECTING);
}

/* --- The session --- */

static uint64_t uplink_room_bytes(const struct uplink *u)
{
    struct outbox *o = u->box->outbox;

    if (outbox_drains_only(o) ||
        outbox_used_bytes(o) >= u->box->options->rules.store_bytes_max / 100 * ROOM_PERCENT)
        return 0;
    return ROOM_BYTES;
}

/* All epochs that wait, the oldest first, at most as many as a hello holds; the current one is always there.
 */
static size_t uplink_epochs(const struct outbox *o, struct session_marks epochs[SESSION_EPOCHS_MAX])
{
    size_t count = 0;
    epoch_id epoch;

    while (count < SESSION_EPOCHS_MAX && outbox_epoch(o, count, &epoch) == STATUS_OK)
        epochs[count++] = (struct session_marks){ .epoch = epoch };
    epochs[count - 1].epoch = outbox_current_epoch(o);
    return count;
}

static int uplink_greet(struct uplink *u, const struct branch_time *now)
{
    struct outbox *o = u->box->outbox;
    struct session_marks epochs[SESSION_EPOCHS_MAX];
    struct session_marks taken = { .epoch = 0 };
    struct session_options options = { .role = SESSION_RELAY };
    struct session_hello hello = { .store_id = outbox_store_id(o),
                                   .boot_counter = outbox_boot_counter(o),
                                   .clock_ms = outbox_is_trusted(o) ? outbox_now_ms(o, now->elapsed_ms) : 0,
                                   .room_bytes = uplink_room_bytes(u),
                                   .epochs = epochs,
                                   .taken = &taken };
    int status;

    hello.epoch_count = uplink_epochs(o, epochs);
    u->carrier->announced_count = hello.epoch_count;
    for (size_t i = 0; i < hello.epoch_count; i++)
        u->carrier->announced[i] = epochs[i].epoch;
    if ((status = inbox_ledger(o, &taken.epoch, taken.mark)) != STATUS_OK)
        return status;
    hello.taken_count = taken.epoch ? 1 : 0;
    if ((status = session_open(&u->carrier->session, &options, u->room)) == STATUS_OK)
        status = session_start(u->carrier->session, &hello, now->elapsed_ms);
    return status;
}

static int act_hello(struct uplink *u, const struct session_hello *hello, const struct branch_time *now)
{
    struct outbox *o = u->box->outbox;
    size_t count = u->carrier->announced_count;
    int status = STATUS_OK;

    if (hello->clock_ms)
        status = outbox_trust(o, hello->clock_ms, now->elapsed_ms, now->wall_ms);
    if (status == STATUS_OK && hello->epoch_count)
        status = inbox_set_ledger(o, hello->epochs[0].epoch);
    if (status != STATUS_OK)
        return status;
    /* Its marks, in our order, are settled by the actions that follow: what is above them never arrived. */
    for (size_t i = 0; i < count && i < hello->taken_count; i++)
        outbox_clear(o, u->carrier->announced[i]);
    if (!u->carrier->was_welcomed) {
        u->carrier->was_welcomed = true;
        u->connects++;
        log_event(LOG_LEVEL_INFO, "link_up", "epochs=%zu", count);
    }
    uplink_set_state(u, UPLINK_UP);
    return outbox_link(o);
}

/* Offers rows until the session has enough or the lane ends. */
static int act_want(struct uplink *u, const struct session_action *want, const struct branch_time *now)
{
    struct outbox_place at = { .lane = want->lane, .epoch = want->epoch, .seq = want->seq };
    struct session *session = u->carrier->session;
    struct slice item;
    bool at_end = false;
    int status, offered;

    for (;;) {
        if ((status = branch_next(u->box->branch, want->lane, &at, now, &at, &item)) != STATUS_OK) {
            at_end = status == STATUS_END;
            break;
        }
        offered = session_offer(session, at.epoch, at.seq, item);
        if (offered == STATUS_OK || item.length > PART_BYTES)
            outbox_row_offered(u->box->outbox, &at);
        at_end = offered == STATUS_UNAVAILABLE;
        if (offered != STATUS_OK)
            break;
    }
    session_offer_end(session, at_end);
    return status == STATUS_END ? STATUS_OK : status;
}

/* *open turns false when the link was let go. */
static int uplink_act(struct uplink *u, const struct session_action *a, const struct branch_time *now,
                      bool *open)
{
    struct outbox_place upto = { .lane = a->lane, .epoch = a->epoch, .seq = a->seq };

    switch (a->kind) {
    case ACTION_SEND:
        *open = link_send(u->carrier->link, a->bytes) == STATUS_OK;
        if (!*open)
            uplink_let_go(u, session_close_code(SESSION_REASON_LIMIT), "send");
        return STATUS_OK;
    case ACTION_WANT: return act_want(u, a, now);
    case ACTION_STORE:
        u->carrier->received = true;
        return branch_take(u->box->branch, a->epoch, a->lane, a->seq, a->bytes, now);
    case ACTION_SETTLE:
        outbox_row_settled(u->box->outbox, &upto);
        loop_note(u->box->loop);
        return STATUS_OK;
    case ACTION_HELLO: return act_hello(u, &a->hello, now);
    case ACTION_REPORT: return STATUS_OK; /* Only relays report. */
    case ACTION_SILENT:
        log_event(LOG_LEVEL_INFO, "link_silent", "%s", "");
        uplink_set_state(u, UPLINK_DOWN);
        return STATUS_OK;
    case ACTION_ALIVE:
        log_event(LOG_LEVEL_INFO, "link_alive", "%s", "");
        uplink_set_state(u, u->carrier->was_welcomed ? UPLINK_UP : UPLINK_CONNECTING);
        return STATUS_OK;
    case ACTION_CLOSE:
        log_event(LOG_LEVEL_WARNING, "link_closed", "reason=%s", session_reason_name(a->reason));
        uplink_let_go(u, session_close_code(a->reason), session_reason_name(a->reason));
        *open = false;
        return STATUS_OK;
    }
    return STATUS_OK;
}

static int uplink_take_actions(struct uplink *u, const struct branch_time *now, bool *open)
{
    struct session_action action;
    int status = STATUS_OK;

    while (status == STATUS_OK && *open && session_next(u->carrier->session, now->elapsed_ms, &action))
        status = uplink_act(u, &action, now, open);
    return status;
}

static int uplink_receive(struct uplink *u, const struct branch_time *now)
{
    struct carrier *c = u->carrier;
    bool open = true;
    int status = STATUS_OK;

    for (size_t i = 0; i < c->frame_count && open && status == STATUS_OK; i++) {
        if (c->frames[i].failed)
            return STATUS_NO_MEMORY;
        c->received = true;
        /* A frame that breaks the rules is told by ACTION_CLOSE. */
        (void)session_receive(c->session, text_slice(&c->frames[i]), now->elapsed_ms);
        status = uplink_take_actions(u, now, &open);
    }
    if (!open)
        return status;
    /* Frames may be large, and most relays have little to hear. */
    for (size_t i = 0; i < c->frame_count; i++)
        text_free(&c->frames[i]);
    c->frame_count = 0;
    if (c->is_paused && c->link) {
        c->is_paused = false;
        link_pause(c->link, false);
    }
    return status;
}

int uplink_turn(struct uplink *u, const struct branch_time *now)
{
    int status = STATUS_OK;

    if (!u->client)
        return STATUS_OK;
    if (u->carrier && u->carrier->is_up && !u->carrier->session && !u->carrier->is_down)
        status = uplink_greet(u, now);
    /* What came before the link went down counts. */
    if (status == STATUS_OK && u->carrier && u->carrier->session)
        status = uplink_receive(u, now);
    if (u->carrier && u->carrier->is_down)
        uplink_let_go(u, 0, "");
    if (status == STATUS_OK && !u->carrier && now->elapsed_ms >= u->connect_ms)
        uplink_connect(u);
    return status;
}

/* --- After the commit --- */

static void uplink_tell(struct uplink *u, const struct branch_time *now)
{
    static const struct outbox_place start;
    struct session *session = u->carrier->session;
    struct session_report report = { 0 };
    struct outbox_row head;

    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct outbox_waiting may_go = branch_waiting(u->box->branch, (enum lane)lane, now);
        struct outbox_waiting waits = outbox_waiting(u->box->outbox, (enum lane)lane);
        uint64_t age_s;

        session_waiting(session, (enum lane)lane, may_go.messages, may_go.bytes);
        report.messages += waits.messages;
        report.bytes += waits.bytes;
        if (waits.messages == 0 ||
            outbox_row_peek(u->box->outbox, (enum lane)lane, &start, now->elapsed_ms, &head) != STATUS_OK)
            continue;
        age_s = head.age_ms / 1000;
        report.oldest_age_s = age_s > report.oldest_age_s ? age_s : report.oldest_age_s;
    }
    session_set_report(session, &report, now->elapsed_ms);
    session_set_room(session, uplink_room_bytes(u));
}

/* More epochs wait than one hello could announce, and of those it did none waits any more but the current
 * one: the next hello has the others. */
static bool uplink_is_through(const struct uplink *u)
{
    const struct carrier *c = u->carrier;
    epoch_id oldest = 0;

    if (c->announced_count < SESSION_EPOCHS_MAX || outbox_epoch(u->box->outbox, 0, &oldest) != STATUS_OK)
        return false;
    for (size_t i = 0; i < c->announced_count; i++)
        if (c->announced[i] == oldest)
            return false;
    return true;
}

static int uplink_drive(struct uplink *u, const struct branch_time *now)
{
    struct session_stats stats;
    bool open = true;
    int status;

    if (u->carrier->received) {
        u->carrier->received = false;
        session_committed(u->carrier->session, now->elapsed_ms);
    }
    uplink_tell(u, now);
    status = uplink_take_actions(u, now, &open);
    if (!open)
        return status;
    session_stats(u->carrier->session, &stats);
    if (stats.goodput_bytes_per_s)
        u->goodput = stats.goodput_bytes_per_s;
    if (stats.useful)
        backoff_reset(&u->backoff);
    if (uplink_is_through(u))
        uplink_let_go(u, 1000, "epochs");
    return status;
}

static void uplink_ready(void *owner)
{
    struct uplink *u = owner;

    loop_note(u->box->loop);
}

int uplink_pump(struct uplink *u, const struct branch_time *now)
{
    uint64_t due_ms;
    int status = STATUS_OK;

    if (!u->client)
        return STATUS_OK;
    if (u->carrier && u->carrier->session)
        status = uplink_drive(u, now);
    if (u->carrier)
        due_ms = u->carrier->session ? session_due_ms(u->carrier->session) : UINT64_MAX;
    else
        due_ms = u->connect_ms;
    loop_timer_set(&u->timer, due_ms);
    return status;
}

/* --- Opening --- */

/* While its clock is untrusted the box judges by its clock's floor, which is nothing while it
 * guesses. */
static int64_t uplink_time_s(void *owner, bool *is_sure)
{
    const struct uplink *u = owner;
    const struct outbox *o = u->box->outbox;

    *is_sure = o && outbox_is_trusted(o);
    return !o || outbox_is_guessing(o) ? 0 : (int64_t)(outbox_now_ms(o, clock_elapsed_ms()) / 1000);
}

static int uplink_open_client(struct uplink *u)
{
    const struct options *o = u->box->options;
    struct link_client_options options = { .url = o->uplink_url,
                                           .ca_file = o->uplink_ca_file,
                                           .certificate_file = o->uplink_certificate_file,
                                           .key_file = o->uplink_key_file,
                                           .message_bytes_max = SESSION_FRAME_BYTES_MAX,
                                           .connect_ms_max = CONNECT_MS,
                                           .time_s = uplink_time_s,
                                           .events = &events,
                                           .owner = u };
    int status = link_client_open(&u->client, u->box->loop, &options);

    if (status != STATUS_OK)
        log_event(LOG_LEVEL_ERROR, "uplink_refused", "status=%s", status_name(status));
    return status;
}

int uplink_open(struct uplink **out, struct box *box)
{
    struct uplink *u = calloc(1, sizeof *u);
    uint64_t seed = 0;
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!u)
        return status;
    u->box = box;
    u->since_ms = clock_elapsed_ms();
    if ((status = loop_timer_open(&u->timer, box->loop, uplink_ready, u)) != STATUS_OK ||
        (status = seal_random(&seed, sizeof seed)) != STATUS_OK ||
        (status = session_room_open(&u->room, PACK_HIGH)) != STATUS_OK)
        goto fail;
    backoff_init(&u->backoff, seed | 1);
    if (box->options->uplink_url) {
        if ((status = uplink_open_client(u)) != STATUS_OK)
            goto fail;
        uplink_set_state(u, UPLINK_DOWN);
        loop_timer_set(&u->timer, clock_elapsed_ms());
    }
    *out = u;
    return STATUS_OK;
fail:
    uplink_close(u);
    return status;
}

void uplink_drop(struct uplink *u)
{
    uplink_let_go(u, 1001, "store");
}

void uplink_close(struct uplink *u)
{
    if (!u)
        return;
    uplink_let_go(u, 1001, "stopped");
    link_client_close(u->client);
    session_room_close(u->room);
    loop_timer_close(&u->timer);
    free(u);
}

void uplink_facts(const struct uplink *u, struct uplink_facts *out)
{
    struct session_stats stats = { 0 };

    if (u->carrier && u->carrier->session)
        session_stats(u->carrier->session, &stats);
    *out = (struct uplink_facts){ .state = u->state,
                                  .since_ms = u->since_ms,
                                  .rtt_ms = stats.rtt_ms,
                                  .goodput_bytes_per_s = u->goodput,
                                  .sent_bytes = u->sent_before + stats.sent_bytes,
                                  .received_bytes = u->received_before + stats.received_bytes,
                                  .connects = u->connects };
}

uint64_t uplink_goodput(const struct uplink *u)
{
    return u->goodput;
}
