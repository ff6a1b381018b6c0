/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/calls.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "relay/branch_parts.h"
#include "relay/outbox_tokens.h"
#include "relay/report.h"
#include "relay/uplink.h"
#include "sync/kit/control.h"
#include "sync/kit/file.h"
#include "sync/protocol/status.h"

#define CALLS_MAX 16u /* Of a turn; people type slowly. */
#define ARGUMENTS_MAX 16
#define LIST_MAX 200u /* Rows that `queue list` shows of a lane. */

struct call {
    struct control_call *control;
    int argc;
    char *argv[ARGUMENTS_MAX];
    struct text input;
    int exit_code;
    struct text out;
};

struct calls {
    struct box *box;
    struct control_server *server;
    struct call noted[CALLS_MAX];
    size_t count, handled;
};

char *calls_path(const struct options *options)
{
    return file_join(options->state, "control.sock");
}

static int say(struct text *out, int exit_code, const char *text)
{
    text_puts(out, text);
    return exit_code;
}

/* --- Tokens --- */

static int token_list(struct outbox *o, struct text *out)
{
    struct slice name;
    uint64_t created_ms;

    for (size_t i = 0; outbox_token_at(o, i, &name, &created_ms) == STATUS_OK; i++)
        text_printf(out, "%.*s %" PRIu64 "\n", (int)name.length, (const char *)name.at, created_ms / 1000);
    return 0;
}

int calls_token(struct outbox *o, int argc, const char *const *argv, uint64_t now_ms, struct text *out,
                int *status)
{
    char token[TOKEN_TEXT_BYTES];
    bool is_add = argc == 3 && strcmp(argv[1], "add") == 0;
    int found;

    *status = STATUS_OK;
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return token_list(o, out);
    if (!is_add && !(argc == 3 && strcmp(argv[1], "revoke") == 0))
        return say(out, 2, "usage: token add NAME | token list | token revoke NAME\n");
    found = is_add ? outbox_token_add(o, slice_text(argv[2]), now_ms, token)
                   : outbox_token_revoke(o, slice_text(argv[2]));
    if (found == STATUS_OK && is_add)
        text_printf(out, "%s\n", token);
    explicit_bzero(token, sizeof token);
    switch ((enum status)found) {
    case STATUS_OK: return 0;
    case STATUS_END: return say(out, 1, "there is no token of that name\n");
    case STATUS_INVALID:
        return say(out, 1, "a name has 1 to 64 printable characters, without spaces, \" and \\\n");
    case STATUS_CONFLICT:
        return say(out, 1, "there is a token of that name; revoke it first, or choose another name\n");
    case STATUS_FULL: return say(out, 1, "there are as many tokens as the relay keeps; revoke one first\n");
    case STATUS_NO_MEMORY:
    case STATUS_TOO_LARGE:
    case STATUS_NO_SPACE:
    case STATUS_IO:
    case STATUS_CORRUPT:
    case STATUS_BUSY:
    case STATUS_DENIED:
    case STATUS_UNAVAILABLE:
    case STATUS_PEER_MALFORMED:
    case STATUS_PEER_VERSION:
    case STATUS_PEER_LIMIT:
    case STATUS_COUNT: break;
    }
    *status = found;
    return 1;
}

/* --- The queue --- */

static void list_row(struct box *box, const struct outbox_row *row, struct text *out)
{
    struct message_id id = { .branch = box->options->rules.number,
                             .epoch = row->place.epoch,
                             .lane = row->place.lane,
                             .seq = row->place.seq };
    char text[MESSAGE_ID_TEXT_MAX + 1];

    message_id_format(&id, text);
    text_printf(out, "%s %s %s %" PRIu64 " s %zu B\n", text, lane_name(row->place.lane),
                outbox_is_held(box->outbox, &row->place) ? "held" : "queued", row->age_ms / 1000, row->bytes);
}

static int queue_list(struct box *box, const char *only, const struct branch_time *now, struct text *out)
{
    enum lane chosen = LANE_URGENT;
    struct outbox_row row;

    if (only && lane_parse(slice_text(only), &chosen) != STATUS_OK)
        return say(out, 2, "a lane is urgent, alert, chat, document or bulk\n");
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct outbox_place at = { .lane = (enum lane)lane };
        unsigned shown = 0;

        if (only && lane != (int)chosen)
            continue;
        while (shown < LIST_MAX &&
               outbox_row_peek(box->outbox, (enum lane)lane, &at, now->elapsed_ms, &row) == STATUS_OK) {
            at = row.place;
            list_row(box, &row, out);
            shown++;
        }
        if (shown == LIST_MAX)
            text_printf(out, "... %" PRIu64 " wait in %s\n",
                        outbox_waiting(box->outbox, (enum lane)lane).messages, lane_name((enum lane)lane));
    }
    return 0;
}

static int queue_shape(struct box *box, const struct branch_time *now, struct text *out)
{
    static const struct outbox_place start;

    text_puts(out, "lane      messages      bytes  oldest_s state\n");
    for (int lane = 0; lane < LANE_COUNT; lane++) {
        struct outbox_waiting waiting = outbox_waiting(box->outbox, (enum lane)lane);
        struct outbox_row head = { 0 };

        if (waiting.messages)
            (void)outbox_row_peek(box->outbox, (enum lane)lane, &start, now->elapsed_ms, &head);
        text_printf(out, "%-9s %8" PRIu64 " %10" PRIu64 " %9" PRIu64 " %s\n", lane_name((enum lane)lane),
                    waiting.messages, waiting.bytes, head.age_ms / 1000,
                    outbox_is_holding(box->outbox, (enum lane)lane) ? "held"
                    : waiting.messages && !branch_waiting(box->branch, (enum lane)lane, now).messages
                        ? "outside its hours"
                        : "open");
    }
    return 0;
}

/* hold|release of a lane, or of a message: of its lane from it on. */
static int queue_hold(struct box *box, bool hold, const char *what, const struct branch_time *now,
                      struct text *out, int *status)
{
    struct outbox_place start = { .epoch = 0, .seq = 0 };
    struct message_id id;
    enum lane lane = LANE_URGENT;
    bool is_lane = lane_parse(slice_text(what), &lane) == STATUS_OK;
    int found;

    if (!is_lane && message_id_parse(slice_text(what), &id) != STATUS_OK)
        return say(out, 2, "give a lane (urgent, alert, chat, document, bulk) or a message's id\n");
    start.lane = lane;
    if (!hold)
        found = outbox_release(box->outbox, is_lane ? lane : id.lane);
    else
        found = is_lane ? outbox_hold(box->outbox, &start) : branch_hold(box->branch, slice_text(what), now);
    if (found == STATUS_OK)
        return 0;
    if (found == STATUS_END)
        return say(out, 1, hold ? "this message does not wait here\n" : "this lane is not held\n");
    *status = found;
    return 1;
}

static int queue_message(struct box *box, bool withdraw, const char *what, const struct branch_time *now,
                         struct text *out, int *status)
{
    struct branch_answer answer = { .status = 0 };

    *status = withdraw
                  ? branch_withdraw(box->branch, slice_text(what), now, &answer)
                  : branch_show(box->branch, slice_text(what), uplink_goodput(box->uplink), now, &answer);
    text_add(out, text_slice(&answer.body));
    text_puts(out, "\n");
    text_wipe(&answer.body);
    return *status == STATUS_OK && answer.status == 200 ? 0 : 1;
}

static int call_queue(struct box *box, const struct call *call, const struct branch_time *now,
                      struct text *out, int *status)
{
    const char *verb = call->argc > 1 ? call->argv[1] : "", *what = call->argc > 2 ? call->argv[2] : NULL;

    if (strcmp(verb, "list") == 0)
        return queue_list(box, what, now, out);
    if (strcmp(verb, "shape") == 0)
        return queue_shape(box, now, out);
    if (what && (strcmp(verb, "hold") == 0 || strcmp(verb, "release") == 0))
        return queue_hold(box, verb[0] == 'h', what, now, out, status);
    if (what && (strcmp(verb, "show") == 0 || strcmp(verb, "withdraw") == 0))
        return queue_message(box, verb[0] == 'w', what, now, out, status);
    return say(out, 2,
               "usage: queue list [LANE] | shape | show ID | hold LANE|ID | release LANE|ID | withdraw ID\n");
}

/* --- Sending --- */

/* send NUMBER LANE SECONDS, each empty when not given; the body is the input. */
static int call_send(struct box *box, const struct call *call, const struct branch_time *now,
                     struct text *out, int *status)
{
    struct branch_request request = { .body = text_slice(&call->input) };
    struct branch_answer answer = { .status = 0 };

    if (call->argc != 4)
        return say(out, 2, "usage: send NUMBER LANE SECONDS\n");
    request.number = slice_text(call->argv[1][0] ? call->argv[1] : box->options->rules.numbers[0].id);
    request.lane = call->argv[2][0] ? call->argv[2] : NULL;
    request.expires_in = call->argv[3][0] ? call->argv[3] : NULL;
    *status = branch_accept(box->branch, &request, now, &answer);
    if (*status == STATUS_OK && answer.status == 200)
        text_puts(out, answer.id);
    else
        text_add(out, text_slice(&answer.body));
    text_puts(out, "\n");
    text_wipe(&answer.body);
    return *status == STATUS_OK && answer.status == 200 ? 0 : 1;
}

/* --- Turns --- */

static int call_status(struct box *box, const struct call *call, const struct branch_time *now,
                       struct text *out)
{
    bool is_json = call->argc > 1 && strcmp(call->argv[1], "--json") == 0;
    int status = is_json ? report_status(box, now, out) : report_summary(box, now, out);

    if (is_json)
        text_puts(out, "\n");
    return status == STATUS_OK ? 0 : 1;
}

static int call_handle(struct box *box, struct call *call, const struct branch_time *now)
{
    const char *verb = call->argc > 0 ? call->argv[0] : "";
    int status = STATUS_OK;

    if (strcmp(verb, "status") == 0)
        call->exit_code = call_status(box, call, now, &call->out);
    else if (strcmp(verb, "queue") == 0)
        call->exit_code = call_queue(box, call, now, &call->out, &status);
    else if (strcmp(verb, "send") == 0)
        call->exit_code = call_send(box, call, now, &call->out, &status);
    else if (strcmp(verb, "token") == 0)
        call->exit_code = calls_token(box->outbox, call->argc, (const char *const *)call->argv,
                                      outbox_now_ms(box->outbox, now->elapsed_ms), &call->out, &status);
    else
        call->exit_code = say(&call->out, 2, "the relay does not know this verb\n");
    return status;
}

int calls_turn(struct calls *c, const struct branch_time *now)
{
    int status = STATUS_OK;

    while (c->handled < c->count && status == STATUS_OK)
        status = call_handle(c->box, &c->noted[c->handled++], now);
    return status;
}

static void call_free(struct call *call)
{
    for (int i = 0; i < call->argc; i++)
        free(call->argv[i]);
    text_wipe(&call->input);
    text_wipe(&call->out);
    *call = (struct call){ 0 };
}

void calls_answer(struct calls *c, int outcome)
{
    size_t answered = c->box->outbox ? c->handled : c->count;
    const char *why =
        c->box->outbox ? "the relay's store failed; nothing was done\n"
                       : "the relay takes nothing: its store cannot be opened, which is tried each second\n";

    for (size_t i = 0; i < answered; i++) {
        struct call *call = &c->noted[i];

        if (outcome == STATUS_OK && i < c->handled)
            control_answer(call->control, call->exit_code, text_slice(&call->out));
        else
            control_answer(call->control, 1, slice_text(why));
        call_free(call);
    }
    c->count -= answered;
    memmove(c->noted, c->noted + answered, c->count * sizeof *c->noted);
    c->handled = 0;
    if (c->count > 0)
        loop_note(c->box->loop);
}

static void calls_note(void *owner, struct control_call *control, int argc, const char *const *argv,
                       struct slice input)
{
    struct calls *c = owner;
    struct call *call = &c->noted[c->count];
    bool failed = false;

    if (c->count == CALLS_MAX || argc > ARGUMENTS_MAX) {
        control_answer(control, 1, slice_text("the relay is asked too much at once; try again\n"));
        return;
    }
    *call = (struct call){ .control = control, .argc = argc };
    for (int i = 0; i < argc; i++)
        failed |= !(call->argv[i] = strdup(argv[i]));
    text_add(&call->input, input);
    if (failed || call->input.failed) {
        call_free(call);
        control_answer(control, 1, slice_text("out of memory\n"));
        return;
    }
    c->count++;
    loop_note(c->box->loop);
}

int calls_open(struct calls **out, struct box *box)
{
    struct calls *c = calloc(1, sizeof *c);
    char *path = calls_path(box->options);
    int status = STATUS_NO_MEMORY;

    *out = NULL;
    if (c && path) {
        c->box = box;
        status = control_open(&c->server, box->loop, path, calls_note, c);
    }
    free(path);
    if (status != STATUS_OK) {
        calls_close(c);
        return status;
    }
    *out = c;
    return STATUS_OK;
}

void calls_close(struct calls *c)
{
    if (!c)
        return;
    control_close(c->server);
    for (size_t i = 0; i < c->count; i++)
        call_free(&c->noted[i]);
    free(c);
}
