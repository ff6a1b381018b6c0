/* SPDX-License-Identifier: Apache-2.0 */
/* Posts webhooks to the gateway as Meta does: signed, and again and again until a 200. Webhooks with the same
 * key keep their order; different keys go side by side. All from memory. */
#ifndef ZAJEL_SANDBOX_POSTMAN_H
#define ZAJEL_SANDBOX_POSTMAN_H

#include "sync/kit/fetch.h"

struct postman;

struct postman_options {
    struct loop *loop;
    struct fetcher *fetcher;
    const char *url; /* NULL: everything is dropped. Must outlive the postman, as the secrets must. */
    struct slice app_secret;
    struct slice verify_token; /* Empty: no handshake. */
    size_t waiting_max;
};

int postman_open(struct postman **out, const struct postman_options *options);
void postman_close(struct postman *p); /* NULL is fine. */

/* body is copied, signed and posted byte for byte. STATUS_FULL: dropped, and counted. */
int postman_post(struct postman *p, struct slice key, struct slice body);

struct postman_faults {
    bool outage;     /* Nothing leaves until it ends. */
    bool duplicated; /* Each is posted twice. */
    bool reordered;  /* Of the same key's every two are swapped; a lonely one comes two seconds late. */
};
void postman_set_faults(struct postman *p, const struct postman_faults *faults);

struct postman_counts {
    size_t waiting;
    uint64_t posted, refused, dropped; /* refused: answers other than 200, and none at all. */
    bool verified;                     /* The GET handshake was answered rightly. */
};
struct postman_counts postman_counts(const struct postman *p);

#endif
