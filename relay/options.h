/* SPDX-License-Identifier: Apache-2.0 */
/* relay.conf: every key with its default and meaning, read into one struct. */
#ifndef ZAJEL_RELAY_OPTIONS_H
#define ZAJEL_RELAY_OPTIONS_H

#include "relay/branch.h"
#include "sync/kit/config.h"

struct options_address {
    char host[256];
    uint16_t port;
    bool is_on;
};

struct options {
    struct config *config;
    const char *branch; /* Its id, "nyeri-03" */
    const char *state;  /* Folder */
    struct options_address api, api_tls;
    bool api_behind_proxy;
    bool api_is_tls; /* `listen` itself: it is off loopback and has its certificate. */
    const char *api_certificate_file, *api_key_file;
    const char *webhook_url;                          /* NULL: no program wants webhooks. */
    struct text webhook_secret, webhook_verify_token; /* Empty: none. */
    unsigned webhook_parallel;
    const char *uplink_url; /* NULL: no link. */
    const char *uplink_ca_file, *uplink_certificate_file, *uplink_key_file;
    uint64_t request_bytes_max;
    unsigned connections_max, connections_per_address_max; /* 0: all may be one address's. */
    uint64_t reserve_bytes;
    struct branch_options rules; /* What the branch decides by; its quota too. */
};

/* The keys as config_load() wants them, for the manual. */
const struct config_key *options_keys(size_t *count);
/* STATUS_INVALID, STATUS_IO, STATUS_NO_MEMORY: told in *error. */
int options_load(struct options **out, const char *path, struct config_error *error);
void options_free(struct options *o); /* NULL is fine. */

#endif
