/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's settings: gateway.conf read against its table of keys, checked, and turned into what the
 * rooms use. */
#ifndef ZAJEL_GATEWAY_SETTINGS_H
#define ZAJEL_GATEWAY_SETTINGS_H

#include "sync/gateway/routing.h"
#include "sync/kit/config.h"
#include "sync/kit/text.h"

#define SETTINGS_FILE "/etc/zajel/gateway.conf"

struct settings_listen {
    char host[256];
    uint16_t port;
    const char *certificate_file, *key_file; /* NULL: plain HTTP. */
};

struct settings_number {
    uint64_t id;
    const char *text;                           /* The id as in the file. */
    const char *waba_id, *display_phone_number; /* "" when not set. */
    const char *token_file;
    uint32_t mps;
    struct text token;
};

struct settings_branch {
    const char *id;
    uint64_t *numbers;
    size_t number_count; /* 0: all. */
};

struct settings {
    struct config *config;
    const char *state;
    uint64_t store_bytes_max, reserve_bytes;
    struct settings_listen sync, webhook, board;
    const char *sync_url;
    char sync_host[256]; /* Of the url: a name in the server's certificate. */
    unsigned links_max, strangers_per_address_max;
    unsigned webhooks_per_address_max; /* Connections; 0: no limit. */
    const char *api_base, *api_version;
    uint64_t timeout_ms;
    unsigned connections;
    uint32_t pair_burst;
    uint64_t pair_interval_us;
    struct settings_number *numbers;
    size_t number_count;
    struct settings_branch *branches;
    size_t branch_count;
    struct routing routing;
    struct text app_secret, verify_token, board_token; /* By settings_secrets(). board_token empty: none. */
};

/* STATUS_INVALID and the like: *error says what, with file, line and key. */
int settings_load(struct settings **out, const char *path, struct config_error *error);
/* Reads the files of secrets: what `run` needs besides. May be called again; then the new ones replace the
 * old when all could be read. */
int settings_secrets(struct settings *s, struct config_error *error);
void settings_free(struct settings *s); /* Wipes the secrets. NULL is fine. */

/* NULL: no such number. */
const struct settings_number *settings_number(const struct settings *s, uint64_t id);
/* The options of a branch; NULL: it has none of its own, which the two below take as well. */
const struct settings_branch *settings_branch(const struct settings *s, const char *id);
/* Whether the branch may send from that number. */
bool settings_branch_has(const struct settings_branch *b, uint64_t number);
/* The number a branch sends from when it names none; NULL: there is none. */
const struct settings_number *settings_branch_default(const struct settings *s,
                                                      const struct settings_branch *b);

/* Every key with its default, for --help. */
void settings_describe(struct text *out);
/* The same in Markdown, with what each may be. */
void settings_reference(struct text *out);

#endif
