/* SPDX-License-Identifier: Apache-2.0 */
/* The Graph API's manners: its errors, and what it takes in POST .../messages. Limits are those of the Cloud
 * API's reference (whatsapp-cloud-api.md sections 1 and 4). The relay checks with it before it says yes; the
 * sandbox refuses with it. */
#ifndef ZAJEL_KIT_GRAPH_H
#define ZAJEL_KIT_GRAPH_H

#include "sync/kit/json.h"

struct graph_error {
    unsigned http;     /* 400 ... */
    int code;          /* 100, 131008 ... */
    char message[160]; /* "(#100) Invalid parameter" */
    char details[320]; /* Names the field and says what would be right. */
};

/* {"error":{"message","type":"OAuthException","code",
 * "error_data":{"messaging_product":"whatsapp","details"},"fbtrace_id"}} */
int graph_error_write(const struct graph_error *error, struct text *out);
void graph_error_set(struct graph_error *error, unsigned http, int code, const char *title,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

enum graph_send_kind { GRAPH_SEND_MESSAGE, GRAPH_SEND_READ };

/* What a valid send says, borrowed from its tree. */
struct graph_send {
    enum graph_send_kind kind;
    struct slice type;      /* "text", "template", ... ; "read" */
    struct slice to;        /* As the program wrote it, or empty. */
    struct slice recipient; /* A BSUID, or empty. */
    char digits[24];        /* The digits of to; "" without one. */
    struct slice template_name;
    struct slice
        refers_to; /* context.message_id, reaction.message_id or the read mark's message_id; or empty. */
    struct slice opaque; /* biz_opaque_callback_data, or empty. */
    bool is_free_form;   /* Anything but a template and a read mark: bound to the customer's window. */
};

/* Checks the whole request as WhatsApp would. STATUS_OK fills *out; STATUS_INVALID fills *error. */
int graph_check_send(const struct json *request, struct graph_send *out, struct graph_error *error);

/* The 200 of a send: {"messaging_product","contacts":[{"input","wa_id"}],"messages":[{"id"}]};
 * {"success":true} of a read mark. A BSUID gets user_id and no wa_id. */
int graph_send_answer(const struct graph_send *send, const char *id, struct text *out);

/* Splits [/vN.N]/ID[/EDGE]: false when it is no such path. id and edge are borrowed from path; edge empty
 * when absent. */
bool graph_path(const char *path, struct slice *id, struct slice *edge);
/* The same of any path: empty where there is nothing; rest is what stands behind the edge's slash. */
void graph_path_parts(const char *path, struct slice *id, struct slice *edge, struct slice *rest);

#endif
