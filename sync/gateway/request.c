/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/gateway/request.h"

#include <string.h>

#include "sync/protocol/status.h"

/* Numbers are compared by their digits; the ids of groups and BSUIDs as they are. */
static void copy_customer(struct request *out, struct slice from, bool is_number)
{
    size_t length = 0;

    for (size_t i = 0; i < from.length && length < REQUEST_CUSTOMER_MAX; i++)
        if (!is_number || (from.at[i] >= '0' && from.at[i] <= '9'))
            out->customer[length++] = (char)from.at[i];
    out->customer[length] = '\0';
}

void request_read(const struct json *tree, struct request *out)
{
    struct slice recipient = json_string(json_get(tree, "recipient"));

    *out = (struct request){ 0 };
    if (slice_is(json_string(json_get(tree, "status")), "read") && json_get(tree, "message_id")) {
        out->is_read = true;
        out->is_typing = json_get(tree, "typing_indicator") != NULL;
        out->about = json_string(json_get(tree, "message_id"));
        return;
    }
    copy_customer(out, json_string(json_get(tree, "to")),
                  !slice_is(json_string(json_get(tree, "recipient_type")), "group"));
    if (!out->customer[0])
        copy_customer(out, recipient, false);
    out->about = json_string(json_path(tree, "reaction.message_id"));
    out->reply_to = json_string(json_path(tree, "context.message_id"));
}

bool request_token(struct slice text, struct message_id *id)
{
    const size_t length = sizeof REQUEST_TOKEN_PREFIX - 1;

    return text.length > length && memcmp(text.at, REQUEST_TOKEN_PREFIX, length) == 0 &&
           message_id_parse(slice_of(text.at + length, text.length - length), id) == STATUS_OK;
}

static int set_target(struct json *holder, const char *meta)
{
    return meta ? json_set(holder, "message_id", json_new_string(slice_text(meta))) : STATUS_OK;
}

int request_rewrite(struct json *tree, const struct request_targets *meta, const struct message_id *id,
                    bool typing_is_stale)
{
    char token[sizeof REQUEST_TOKEN_PREFIX + MESSAGE_ID_TEXT_MAX] = REQUEST_TOKEN_PREFIX;
    struct request request;
    int status;

    request_read(tree, &request);
    status = set_target(request.is_read ? tree : json_get(tree, "reaction"), meta->about);
    if (status == STATUS_OK)
        status = set_target(json_get(tree, "context"), meta->reply_to);
    if (status == STATUS_OK && request.is_typing && typing_is_stale)
        status = json_remove(tree, "typing_indicator");
    if (status != STATUS_OK || request.is_read)
        return status;
    message_id_format(id, token + sizeof REQUEST_TOKEN_PREFIX - 1);
    return json_set(tree, "biz_opaque_callback_data", json_new_string(slice_text(token)));
}

uint64_t request_number(struct slice digits)
{
    uint64_t number = 0;

    if (digits.length < 1 || digits.length > 19 || digits.at[0] == '0')
        return 0;
    for (size_t i = 0; i < digits.length; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(digits.at[i] - '0');
    }
    return number;
}
