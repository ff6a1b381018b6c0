/* SPDX-License-Identifier: Apache-2.0 */
/* The practice WhatsApp as a whole: its parts, and what several of them share. */
#ifndef ZAJEL_SANDBOX_SANDBOX_H
#define ZAJEL_SANDBOX_SANDBOX_H

#include "sync/kit/http.h"
#include "sync/sandbox/faults.h"
#include "sync/sandbox/linkswitch.h"
#include "sync/sandbox/phones.h"
#include "sync/sandbox/postman.h"
#include "sync/sandbox/receipts.h"
#include "sync/sandbox/record.h"
#include "sync/sandbox/sample.h"
#include "sync/sandbox/sandbox_settings.h"

TAILQ_HEAD(cloud_list, cloud_answer);

struct sandbox {
    struct sandbox_settings *settings;
    struct loop *loop;
    struct fetcher *fetcher;
    struct http_server *http;
    struct phones *phones;
    struct postman *postman;
    struct receipts *receipts;
    struct sample *sample;         /* NULL: [hook] listen is off. */
    struct linkswitch *linkswitch; /* NULL: [link] listen is off. */
    struct record *record;
    struct faults faults;
    struct cloud_list delayed, hung; /* Answers of cloud.c that wait. */
    size_t hung_count;
    struct loop_timer delayed_timer;
};

/* Opens everything and runs until SIGTERM or SIGINT. What went wrong was logged. */
int sandbox_run(struct sandbox_settings *settings);

/* A customer writes: message, a root, is taken. number: digits. name may be NULL, number_id too: the number
 * that was last in touch, else the first. The id is the new message's. STATUS_INVALID: no such number_id;
 * STATUS_FULL */
int sandbox_type(struct sandbox *s, struct slice number, const char *name, const char *number_id,
                 struct json *message, char id[WAMID_TEXT_MAX]);
/* Puts faults into effect after they were changed. */
void sandbox_apply_faults(struct sandbox *s);

#endif
