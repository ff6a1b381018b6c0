/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/tell.h"

#include <stddef.h>

#include "sync/gateway/body.h"
#include "sync/gateway/event.h"
#include "sync/protocol/status.h"

static const struct words {
    int code;
    const char *title, *details;
} known[] = {
    { TELL_EXPIRED, "Message expired",
      "Its deadline passed before it could be given to WhatsApp. It was not sent." },
    { TELL_UNKNOWN, "Outcome unknown",
      "WhatsApp never said whether it took the message. It was not sent again; a later status corrects"
      " this." },
    { TELL_BAD_NUMBER, "(#33) Phone number id is not this branch's",
      "The branch may not send from this phone number id." },
    { TELL_MALFORMED, "(#100) Invalid parameter",
      "The message could not be read when it reached the centre." },
    { TELL_NO_TARGET, "(#131009) Parameter value is not valid",
      "message_id: the message it refers to was never taken by WhatsApp." },
};

static const struct words *words_of(int code)
{
    static const struct words other = { 0, "Message failed", "The message was not sent." };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code)
            return &known[i];
    return &other;
}

int tell_failed(struct ledger *l, const struct settings *s, const struct tell_failure *failure, int64_t now_s)
{
    const struct settings_number *number = settings_number(s, failure->number);
    const struct words *words = words_of(failure->code);
    bool own = failure->title.length == 0 && failure->message.length == 0;
    struct slice title = own ? slice_text(words->title) : failure->title;
    struct event_failure event = {
        .waba_id = number ? number->waba_id : "",
        .display_phone_number = number ? number->display_phone_number : "",
        .number = failure->number,
        .id = &failure->id,
        .recipient = slice_text(failure->recipient),
        .at_s = now_s,
        .code = failure->code,
        .title = title.length ? title : failure->message,
        .message = own || failure->message.length == 0 ? title : failure->message,
        .details = own ? slice_text(words->details) : failure->details,
    };
    struct item item = { .kind = ITEM_EVENT, .at_s = (uint64_t)now_s };
    struct json *tree = event_failed(&event);
    struct text bytes = { 0 };
    struct message_id row;
    int status = tree ? body_write(&item, tree, &bytes) : STATUS_NO_MEMORY;

    if (status == STATUS_OK)
        status = ledger_down_put(l, failure->id.branch, LANE_CHAT, text_slice(&bytes), &row);
    text_free(&bytes);
    json_free(tree);
    return status;
}
