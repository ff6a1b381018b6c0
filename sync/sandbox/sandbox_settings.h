/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the practice WhatsApp: sandbox.conf. */
#ifndef ZAJEL_SANDBOX_SANDBOX_SETTINGS_H
#define ZAJEL_SANDBOX_SANDBOX_SETTINGS_H

#include "sync/kit/config.h"
#include "sync/kit/text.h"

#define SANDBOX_NUMBERS_MAX 64u /* A bank's numbers; the page lists them all. */

struct sandbox_number {
    const char *id; /* Phone number id. */
    const char *display;
};

struct sandbox_address {
    bool on;
    char host[256];
    uint16_t port;
};

/* Texts are borrowed from config. */
struct sandbox_settings {
    struct config *config;
    struct sandbox_address listen, link, link_target, hook;
    struct text access_token; /* Empty: any bearer token will do. */
    struct text app_secret, verify_token, hook_secret, hook_verify_token;
    const char *webhook_url; /* NULL: webhooks are not sent. */
    const char *waba_id;
    const char *record_file, *hook_record_file; /* NULL: nothing is written down. */
    struct sandbox_number numbers[SANDBOX_NUMBERS_MAX];
    size_t number_count;
    bool statuses;
    uint64_t sent_ms, delivered_ms, read_ms;
    size_t messages_max, bytes_max, webhooks_max, hook_keep;
};

/* STATUS_INVALID, STATUS_IO, STATUS_NO_MEMORY: *error says what. sandbox_settings_free() in every case. */
int sandbox_settings_load(struct sandbox_settings *s, const char *path, struct config_error *error);
void sandbox_settings_free(struct sandbox_settings *s);
const struct sandbox_number *sandbox_settings_number(const struct sandbox_settings *s, struct slice id);
/* The manual's list of sections and keys. */
void sandbox_settings_help(struct text *out);
/* The same in Markdown, with what each may be. */
void sandbox_settings_reference(struct text *out);

#endif
