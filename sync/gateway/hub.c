/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/hub.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sync/gateway/hub_link.h"
#include "sync/kit/clock.h"
#include "sync/kit/log.h"
#include "sync/protocol/status.h"

#define HUB_FRAMES_A_TURN 64u /* Some thousand rows: what one commit may hold without making others wait. */
#define HUB_LINKS_A_BRANCH 3u /* The one in use, one tried beside it, one not yet noticed as dead. */
#define HUB_RENEW_MS_MIN 3600000u /* A box that claims the impossible may not make us renumber all day. */
#define HUB_LINES_MAX 20u /* Said of one branch in the time below: a link that fails every six seconds. */
#define HUB_LINES_MS 60000u
/* A frame holds at most 32,768 rows (of a byte and its head): more actions than this are a session that never
 * ends by itself, a fault of ours. */
#define HUB_STEPS_A_PUMP 100000u

/* --- Lists --- */

static void make_dirty(struct hub_link *k)
{
    if (!k->dirty) {
        k->dirty = true;
        k->next_dirty = NULL;
        *k->hub->dirty_end = k;
        k->hub->dirty_end = &k->next_dirty;
    }
    loop_note(k->hub->loop);
}

static struct hub_link *take_dirty(struct hub *h)
{
    struct hub_link *k = h->dirty;

    if (!k)
        return NULL;
    h->dirty = k->next_dirty;
    if (!h->dirty)
        h->dirty_end = &h->dirty;
    k->dirty = false;
    return k;
}

static struct hub_branch *branch_of(struct hub *h, uint32_t number)
{
    if (number > h->branch_room) {
        uint32_t room = number + 64;
        struct hub_branch *grown = reallocarray(h->branches, room, sizeof *grown);

        if (!grown)
            return NULL;
        memset(grown + h->branch_room, 0, (room - h->branch_room) * sizeof *grown);
        h->branches = grown;
        h->branch_room = room;
    }
    return &h->branches[number - 1];
}

/* --- Saying --- */

static bool may_say(struct hub_voice *v, const char *branch)
{
    uint64_t now_ms = loop_now_ms();
    char quoted[96];

    if (now_ms - v->since_ms >= HUB_LINES_MS) {
        if (v->muted)
            log_event(LOG_LEVEL_WARNING, "log_muted", "branch=%s lines=%u",
                      log_quote(slice_text(branch), quoted, sizeof quoted), v->muted);
        *v = (struct hub_voice){ .since_ms = now_ms };
    }
    if (v->lines >= HUB_LINES_MAX) {
        v->muted++;
        return false;
    }
    v->lines++;
    return true;
}

static const char *branch_name(const struct hub_link *k)
{
    return ledger_branch(k->hub->ledger, k->branch)->id;
}

/* Whether a line about the branch of this link may be logged. */
static bool may_say_of(const struct hub_link *k)
{
    return may_say(&k->hub->branches[k->branch - 1].voice, branch_name(k));
}

static void say_closed(const struct hub_link *k, uint16_t code, const char *why)
{
    char quoted[96];

    if (may_say_of(k))
        log_event(LOG_LEVEL_WARNING, "link_closed", "branch=%s code=%u why=%s", branch_name(k), code,
                  log_quote(slice_text(why), quoted, sizeof quoted));
}

/* --- Links come and go --- */

static void *refuse_peer(struct hub *h, struct hub_branch *b, const char *peer, const char *why)
{
    char quoted[96];

    h->totals.refused_total++;
    if (may_say(b ? &b->voice : &h->unknown, peer))
        log_event(LOG_LEVEL_WARNING, "link_refused", "branch=%s why=%s",
                  log_quote(slice_text(peer), quoted, sizeof quoted), why);
    return NULL;
}

static void *hub_admit(void *owner, const char *peer, const uint8_t fingerprint[32],
                       int64_t certificate_until_s)
{
    struct hub *h = owner;
    const struct ledger_branch *b = ledger_branch_find(h->ledger, peer);
    struct hub_branch *state = b ? branch_of(h, b->number) : NULL;
    struct hub_link *k;

    if (!b)
        return refuse_peer(h, NULL, peer, "unknown_branch");
    if (b->revoked)
        return refuse_peer(h, state, peer, "revoked");
    if (!b->certified || memcmp(b->fingerprint, fingerprint, sizeof b->fingerprint) != 0)
        return refuse_peer(h, state, peer, "other_certificate");
    if (certificate_until_s < clock_wall_ms() / 1000)
        return refuse_peer(h, state, peer, "certificate_expired");
    if (!state || state->links >= HUB_LINKS_A_BRANCH)
        return refuse_peer(h, state, peer, "too_many_links");
    if (!(k = hub_link_open(h, b->number)))
        return refuse_peer(h, state, peer, "no_memory");
    k->options = settings_branch(h->settings, b->id);
    k->next = h->links;
    k->place = &h->links;
    if (k->next)
        k->next->place = &k->next;
    h->links = k;
    state->links++;
    return k;
}

static void hub_up(void *owner, struct link *link)
{
    struct hub_link *k = owner;

    k->link = link;
    k->opened_ms = loop_now_ms();
    k->hub->totals.links++;
    k->hub->totals.links_total++;
    if (session_start(k->session, NULL, k->opened_ms) != STATUS_OK)
        k->broken = true;
    make_dirty(k);
}

static void hub_message(void *owner, struct link *link, struct slice bytes)
{
    struct hub_link *k = owner;

    (void)link;
    if (k->closing)
        return;
    if (hub_link_queue(k, bytes) != STATUS_OK)
        k->broken = true;
    make_dirty(k);
}

static void hub_down(void *owner, struct link *link, uint16_t close_code, const char *why)
{
    struct hub_link *k = owner;
    struct hub *h = k->hub;
    struct hub_branch *b = &h->branches[k->branch - 1];
    char quoted[96];

    (void)link;
    if (k->link)
        h->totals.links--;
    if (b->link == k) {
        b->link = NULL;
        if (may_say_of(k))
            log_event(LOG_LEVEL_INFO, "link_down", "branch=%s code=%u why=%s", branch_name(k), close_code,
                      log_quote(slice_text(why), quoted, sizeof quoted));
    } else if (!k->closing) {
        say_closed(k, close_code, why); /* It never said who it is; or lws found its frames no WebSocket's. */
    }
    b->links--;
    k->link = NULL;
    k->closing = k->gone = true;
    /* What it had sent already was received whole; the turn still takes it, and then buries the link. */
    make_dirty(k);
}

static const struct link_events hub_events = {
    .admit = hub_admit, .up = hub_up, .message = hub_message, .down = hub_down
};

static void hub_bury(struct hub_link *k)
{
    struct hub *h = k->hub;

    heap_remove(&h->due, &k->due);
    *k->place = k->next;
    if (k->next)
        k->next->place = k->place;
    hub_link_free(k);
}

static void hang_up(struct hub_link *k, uint16_t code, const char *why)
{
    k->closing = k->broken = true;
    if (k->link)
        link_close(k->link, code, why);
}

/* --- Hello --- */

static void raise_clone_alarm(struct hub_link *k, struct hub_branch *b, const char *why)
{
    if (!b->clone_alarm)
        log_event(LOG_LEVEL_ERROR, "clone_alarm", "branch=%s why=%s",
                  ledger_branch(k->hub->ledger, k->branch)->id, why);
    b->clone_alarm = true;
}

/* A second link with the branch's identity. The same start of the same box may replace its own link: it tries
 * a second one after an outage. A later start of the same store is the box after a power cut, unless the
 * first still talks. Any other is another box, and is refused while the first shows life. */
static bool may_replace(struct hub_link *k, struct hub_branch *b, const struct session_hello *hello,
                        uint64_t now_ms)
{
    struct hub_link *old = b->link;
    struct session_stats stats;
    uint64_t quiet_ms = now_ms - old->heard_ms;

    if (!old->session || (hello->store_id == old->store_id && hello->boot_counter == old->boot))
        return true;
    session_stats(old->session, &stats);
    if (hello->store_id == old->store_id && hello->boot_counter > old->boot)
        return quiet_ms > HUB_TALKING_MS;
    raise_clone_alarm(k, b, "second_box");
    return quiet_ms > 2 * stats.idle_ms + HUB_TALKING_MS;
}

static void check_store(struct hub_link *k, struct hub_branch *b, const struct session_hello *hello)
{
    const struct ledger_branch *known = ledger_branch(k->hub->ledger, k->branch);

    if (known->store_id == hello->store_id && known->boot > hello->boot_counter)
        raise_clone_alarm(k, b, "boot_counter_behind");
}

/* A box that knows numbers we never gave: this ledger is a backup of the one that gave them. */
static bool forgot_numbers(struct hub_link *k, const struct session_hello *hello)
{
    struct hub *h = k->hub;

    if (hello->taken_count == 0 || hello->taken[0].epoch != ledger_epoch(h->ledger))
        return false;
    for (int lane = 0; lane < LANE_COUNT; lane++)
        if (hello->taken[0].mark[lane] > ledger_down_last(h->ledger, k->branch, (enum lane)lane))
            return true;
    return false;
}

static int welcome(struct hub_link *k, const struct session_hello *hello, uint64_t now_ms)
{
    struct hub *h = k->hub;
    struct session_marks own = { .epoch = ledger_epoch(h->ledger) };
    struct session_marks *taken = calloc(hello->epoch_count ? hello->epoch_count : 1, sizeof *taken);
    struct session_hello answer = {
        .store_id = ledger_store_id(h->ledger),
        .boot_counter = ledger_boot(h->ledger),
        .clock_ms = (uint64_t)clock_wall_ms(),
        .room_bytes = h->room_bytes,
        .epochs = &own,
        .epoch_count = 1,
        .taken = taken,
        .taken_count = hello->epoch_count,
    };
    int status = taken ? STATUS_OK : STATUS_NO_MEMORY;

    for (size_t i = 0; i < hello->epoch_count && status == STATUS_OK; i++) {
        taken[i].epoch = hello->epochs[i].epoch;
        status = ledger_marks(h->ledger, k->branch, taken[i].epoch, taken[i].mark);
    }
    if (status == STATUS_OK)
        status = session_welcome(k->session, &answer, now_ms);
    free(taken);
    return status;
}

static int greet(struct hub_link *k, const struct session_hello *hello, uint64_t now_ms, int64_t now_s)
{
    struct hub *h = k->hub;
    struct hub_branch *b = &h->branches[k->branch - 1];
    int status;

    check_store(k, b, hello);
    if (!k->link)
        return STATUS_BUSY; /* It is gone again. */
    /* Marks that are not committed yet may not be told: the box comes again in seconds. */
    if (b->took_in_turn == h->turn)
        return STATUS_BUSY;
    if (b->link && !b->link->closing && !may_replace(k, b, hello, now_ms)) {
        h->totals.refused_total++;
        return STATUS_BUSY;
    }
    if (forgot_numbers(k, hello)) {
        log_event(LOG_LEVEL_ERROR, "ledger_behind", "branch=%s", ledger_branch(h->ledger, k->branch)->id);
        h->renew_wanted = true;
        return STATUS_BUSY;
    }
    if (b->link)
        hang_up(b->link, HUB_CLOSE_REPLACED, "replaced");
    b->link = k;
    k->store_id = hello->store_id;
    k->boot = hello->boot_counter;
    k->clock_behind_s = hello->clock_ms ? now_s - (int64_t)(hello->clock_ms / 1000) : 0;
    status = ledger_branch_hello(h->ledger, k->branch, hello->store_id, hello->boot_counter, now_s);
    if (status == STATUS_OK)
        status = welcome(k, hello, now_ms);
    if (status == STATUS_OK && may_say_of(k))
        log_event(LOG_LEVEL_INFO, "link_up", "branch=%s", branch_name(k));
    return status;
}

/* --- Actions --- */

static int offer(struct hub_link *k, const struct session_action *action)
{
    struct hub *h = k->hub;
    uint64_t seq = action->epoch ? action->seq : 0;
    int status;

    for (;;) {
        status = ledger_down_next(h->ledger, k->branch, action->lane, seq, &seq, &h->row);
        if (status == STATUS_CORRUPT) {
            log_event(LOG_LEVEL_ERROR, "row_damaged", "branch=%s lane=%s",
                      ledger_branch(h->ledger, k->branch)->id, lane_name(action->lane));
            h->damaged++;
            continue; /* Quarantined: it stays until the rows around it are settled. */
        }
        if (status != STATUS_OK)
            break;
        if ((status = session_offer(k->session, ledger_epoch(h->ledger), seq, text_slice(&h->row))) !=
            STATUS_OK)
            break;
    }
    session_offer_end(k->session, status == STATUS_END);
    return status == STATUS_END || status == STATUS_FULL ? STATUS_OK : status;
}

static int store(struct hub_link *k, const struct session_action *action, int64_t now_s)
{
    struct hub *h = k->hub;
    struct arrival arrival = {
        .id = { .branch = k->branch, .epoch = action->epoch, .lane = action->lane, .seq = action->seq },
        .options = k->options,
        .clock_behind_s = k->clock_behind_s,
        .item = action->bytes,
    };
    int status = arrivals_take(h->arrivals, h->ledger, h->settings, &arrival, now_s);

    h->branches[k->branch - 1].took_in_turn = h->turn;
    /* The session never hands out what is below the mark it was told; only a second link of the branch can.
     */
    return status == STATUS_CONFLICT ? STATUS_OK : status;
}

static int act(struct hub_link *k, const struct session_action *action, uint64_t now_ms, int64_t now_s)
{
    struct hub *h = k->hub;

    switch (action->kind) {
    case ACTION_SEND:
        h->totals.sent_bytes += action->bytes.length;
        return k->link ? link_send(k->link, action->bytes) : STATUS_OK;
    case ACTION_WANT: return offer(k, action);
    case ACTION_STORE: return store(k, action, now_s);
    case ACTION_SETTLE:
        if (action->epoch != ledger_epoch(h->ledger))
            return STATUS_OK;
        return ledger_down_settle(h->ledger, k->branch, action->lane, action->seq);
    case ACTION_HELLO: return greet(k, &action->hello, now_ms, now_s);
    case ACTION_REPORT:
        return ledger_branch_report(h->ledger, k->branch, action->report.messages, action->report.bytes,
                                    action->report.oldest_age_s, now_s);
    case ACTION_SILENT: k->silent = true; return STATUS_OK;
    case ACTION_ALIVE: k->silent = false; return STATUS_OK;
    case ACTION_CLOSE:
        if (action->reason != SESSION_REASON_SILENT)
            say_closed(k, session_close_code(action->reason), session_reason_name(action->reason));
        hang_up(k, session_close_code(action->reason), session_reason_name(action->reason));
        return STATUS_OK;
    }
    return STATUS_OK;
}

/* Takes all actions of a session: it shares its working room with the others, and must be through with it. */
static int act_all(struct hub_link *k, uint64_t now_ms, int64_t now_s)
{
    struct session_action action;

    for (unsigned steps = 0; session_next(k->session, now_ms, &action); steps++) {
        int done = act(k, &action, now_ms, now_s);

        assert(steps < HUB_STEPS_A_PUMP);
        if (done == STATUS_OK)
            continue;
        /* It lets go of the shared room, and is not asked again. */
        session_close(k->session);
        k->session = NULL;
        k->broken = true;
        return done;
    }
    return STATUS_OK;
}

/* --- The turn --- */

static void take_frames(struct hub_link *k, uint64_t now_ms, int64_t now_s)
{
    struct hub *h = k->hub;
    size_t before = h->arrivals->count;
    int status = ledger_mark(h->ledger);
    struct slice frame;

    while (status == STATUS_OK && !k->broken && hub_link_next(k, &frame)) {
        h->frames_left = h->frames_left ? h->frames_left - 1 : 0;
        h->totals.frames_total++;
        h->totals.received_bytes += frame.length;
        k->heard_ms = now_ms;
        h->branches[k->branch - 1].heard_ms = now_ms;
        (void)session_receive(k->session, frame, now_ms); /* An error comes as ACTION_CLOSE, too. */
        status = act_all(k, now_ms, now_s);
    }
    if (status == STATUS_OK)
        status = ledger_keep(h->ledger);
    else
        ledger_undo(h->ledger);
    if (status == STATUS_OK)
        return;
    h->arrivals->count = before;
    k->broken = true;
    if (may_say_of(k))
        log_event(status == STATUS_BUSY ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "link_dropped",
                  "branch=%s why=%s", branch_name(k), status_name(status));
}

void hub_take(struct hub *h, struct arrivals *arrivals, uint64_t now_ms, int64_t now_s)
{
    struct hub_link *taken = NULL, **end = &taken, *k;

    h->turn++;
    h->arrivals = arrivals;
    h->frames_left = HUB_FRAMES_A_TURN;
    while (h->frames_left && (k = take_dirty(h)) != NULL) {
        if (hub_link_has_frames(k))
            take_frames(k, now_ms, now_s);
        k->pumping = true;
        k->next_pump = NULL;
        *end = k;
        end = &k->next_pump;
    }
    h->pump = taken;
    if (h->dirty)
        loop_note(h->loop);
}

static void set_due(struct hub_link *k)
{
    struct hub *h = k->hub;
    uint64_t due = session_due_ms(k->session);

    if (h->branches[k->branch - 1].link != k && k->opened_ms + HUB_HELLO_MS_MAX < due)
        due = k->opened_ms + HUB_HELLO_MS_MAX;
    if (due == UINT64_MAX)
        heap_remove(&h->due, &k->due);
    else if (heap_put(&h->due, &k->due, due) != STATUS_OK)
        k->broken = true;
}

static void pump_link(struct hub_link *k, uint64_t now_ms, int64_t now_s)
{
    struct hub *h = k->hub;
    const struct ledger_branch *b = ledger_branch(h->ledger, k->branch);
    bool greeted = h->branches[k->branch - 1].link == k;
    int status = STATUS_OK;

    if (!k->broken && !greeted && now_ms >= k->opened_ms + HUB_HELLO_MS_MAX)
        k->broken = true;
    if (!k->broken) {
        session_committed(k->session, now_ms);
        session_set_room(k->session, h->room_bytes);
        for (int lane = 0; greeted && lane < LANE_COUNT; lane++)
            session_waiting(k->session, (enum lane)lane, b->down_messages[lane], b->down_bytes[lane]);
        status = act_all(k, now_ms, now_s);
    }
    if (k->broken || status != STATUS_OK) {
        hang_up(k, HUB_CLOSE_TRY_AGAIN, "try again");
        return;
    }
    hub_link_resume(k);
    set_due(k);
}

static void note_touched(struct hub *h)
{
    uint32_t branch;

    while (ledger_down_touched(h->ledger, &branch)) {
        struct hub_branch *b = branch <= h->branch_room ? &h->branches[branch - 1] : NULL;

        if (b && b->link && !b->link->pumping) {
            b->link->pumping = true;
            b->link->next_pump = h->pump;
            h->pump = b->link;
        }
    }
}

static void renew(struct hub *h, uint64_t now_ms)
{
    h->renew_wanted = false;
    if (h->renewed_ms && now_ms - h->renewed_ms < HUB_RENEW_MS_MIN)
        return;
    h->renewed_ms = now_ms;
    if (ledger_renew(h->ledger) == STATUS_OK)
        hub_drop(h, "renewed");
}

/* What is due now, and the timer for what is due next. */
static void look_at_due(struct hub *h, uint64_t now_ms)
{
    struct hub_link *k;
    uint64_t at;

    while ((k = heap_first(&h->due, &at)) != NULL && at <= now_ms) {
        heap_remove(&h->due, &k->due);
        if (!k->pumping) {
            k->pumping = true;
            k->next_pump = h->pump;
            h->pump = k;
        }
    }
}

void hub_committed(struct hub *h, uint64_t now_ms, int64_t now_s)
{
    struct hub_link *k;
    uint64_t at;

    note_touched(h);
    look_at_due(h, now_ms);
    while ((k = h->pump) != NULL) {
        h->pump = k->next_pump;
        k->pumping = false;
        if (k->link && !k->closing)
            pump_link(k, now_ms, now_s);
        if (k->gone && !k->dirty)
            hub_bury(k);
    }
    if (h->renew_wanted)
        renew(h, now_ms);
    loop_timer_set(&h->timer, heap_first(&h->due, &at) ? at : UINT64_MAX);
}

static void hub_due(void *owner)
{
    struct hub *h = owner;

    loop_note(h->loop);
}

void hub_drop(struct hub *h, const char *why)
{
    struct hub_link *k;

    while ((k = h->pump) != NULL) {
        h->pump = k->next_pump;
        k->pumping = false;
        if (k->gone && !k->dirty)
            hub_bury(k);
    }
    for (k = h->links; k; k = k->next)
        if (!k->closing)
            hang_up(k, HUB_CLOSE_TRY_AGAIN, why);
    for (uint32_t i = 0; i < h->branch_room; i++)
        h->branches[i].link = NULL;
}

void hub_drop_branch(struct hub *h, uint32_t branch)
{
    for (struct hub_link *k = h->links; k; k = k->next)
        if (k->branch == branch && !k->closing)
            hang_up(k, HUB_CLOSE_REVOKED, "revoked");
}

void hub_set_room(struct hub *h, bool has_room)
{
    h->room_bytes = has_room ? HUB_ROOM_BYTES : 0;
}

/* --- Opening --- */

int hub_open(struct hub **out, const struct hub_options *options, struct ledger *ledger)
{
    struct hub *h = calloc(1, sizeof *h);
    struct link_server_options server = {
        .host = options->settings->sync.host,
        .port = options->settings->sync.port,
        .certificate_file = options->certificate_file,
        .key_file = options->key_file,
        .client_ca_file = options->client_ca_file,
        .message_bytes_max = SESSION_FRAME_BYTES_MAX,
        .links_max = options->settings->links_max,
        .strangers_per_address_max = options->settings->strangers_per_address_max,
        .events = &hub_events,
        .owner = h,
    };
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (!h)
        goto fail;
    *h = (struct hub){
        .loop = options->loop, .settings = options->settings, .ledger = ledger, .room_bytes = HUB_ROOM_BYTES
    };
    h->dirty_end = &h->dirty;
    if ((status = session_room_open(&h->room, PACK_FAST)) != STATUS_OK ||
        (status = loop_timer_open(&h->timer, h->loop, hub_due, h)) != STATUS_OK ||
        (status = link_server_open(&h->server, h->loop, &server)) != STATUS_OK)
        goto fail;
    *out = h;
    return STATUS_OK;
fail:
    hub_close(h);
    return status;
}

void hub_close(struct hub *h)
{
    if (!h)
        return;
    if (h->server)
        link_server_close(h->server);
    while (h->links)
        hub_bury(h->links);
    loop_timer_close(&h->timer);
    session_room_close(h->room);
    heap_free(&h->due);
    text_free(&h->row);
    free(h->branches);
    free(h);
}

void hub_use_ledger(struct hub *h, struct ledger *ledger)
{
    h->ledger = ledger;
}

uint16_t hub_port(const struct hub *h)
{
    return link_server_port(h->server);
}

int hub_reload(struct hub *h)
{
    return link_server_reload(h->server);
}

/* --- What is shown --- */

void hub_branch_state(const struct hub *h, uint32_t branch, struct hub_state *out)
{
    const struct hub_branch *b = branch <= h->branch_room ? &h->branches[branch - 1] : NULL;

    *out = (struct hub_state){ 0 };
    if (!b)
        return;
    *out = (struct hub_state){ .connected = b->link != NULL,
                               .silent = b->link && b->link->silent,
                               .clone_alarm = b->clone_alarm,
                               .heard_ms = b->heard_ms };
}

void hub_totals(const struct hub *h, struct hub_totals *out)
{
    *out = h->totals;
}
