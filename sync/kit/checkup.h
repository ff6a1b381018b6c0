/* SPDX-License-Identifier: Apache-2.0 */
/* What a doctor found: one line for each thing looked at, with what to do next where it is not well; and the
 * looks at the network that both daemons' doctors take. Blocking, for the command line alone. */
#ifndef ZAJEL_KIT_CHECKUP_H
#define ZAJEL_KIT_CHECKUP_H

#include <stdbool.h>

#include "sync/kit/text.h"

enum checkup_grade {
    CHECKUP_OK,
    CHECKUP_WARN, /* Works, and will not for ever, or not for everything. */
    CHECKUP_FAIL
};

struct checkup; /* Zero findings at first. */

int checkup_open(struct checkup **out); /* STATUS_NO_MEMORY */
void checkup_close(struct checkup *c);  /* NULL is fine. */

/* check: a stable name; next: what to do, one sentence for people, not printed with CHECKUP_OK. Formatted is
 * what was found. */
void checkup_add(struct checkup *c, enum checkup_grade grade, const char *check, const char *next,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Adds the findings to out: lines of grade, check and what was found, each followed by what to do next; or a
 * JSON array of {check, grade, found, next?}. False: something failed, or memory ran out. */
bool checkup_write(const struct checkup *c, bool as_json, struct text *out);

/* --- Looks (checkup_network.c) --- */

/* scheme://host[:port]/...: STATUS_INVALID. Without a port, 443 or (http) 80. */
struct checkup_host {
    char name[256];
    unsigned port;
};
int checkup_host(const char *url, struct checkup_host *out);

/* Resolves the name in a thread of its own, at most 10 s; adds the finding under check. True: address has a
 * numeric address. A literal address is found well without being looked up. */
bool checkup_name(struct checkup *c, const char *check, const char *name, struct text *address);
/* Connects, at most 10 s. */
bool checkup_tcp(struct checkup *c, const char *check, const char *address, unsigned port);

/* TLS with the box's certificate to the host of a link's url: a plain request that the other side answers
 * 404, so that no session begins and a link that is up is not disturbed. */
struct fetch_identity;
bool checkup_tls(struct checkup *c, const char *check, const char *url,
                 const struct fetch_identity *identity);

/* GET url with one header (or NULL) and identity (fetch.h, or NULL), at most 15 s. The body, at most 16 KB,
 * is added to `body`. Returns the HTTP status; 0: no answer came, and why (room for 256 bytes) says why not.
 */
long checkup_get(const char *url, const char *header, const struct fetch_identity *identity,
                 struct text *body, char why[256]);

/* --- Looks at this machine (checkup_machine.c) --- */

/* Whether the state folder can be written, its room, and the database in it: its size, its first bytes, and
 * files put aside as damaged. room_bytes: less is a warning, none a failure. */
void checkup_store(struct checkup *c, const char *folder, const char *database, uint64_t room_bytes);
/* Whether certificate and key can be read, belong together, and are good for more than days_warn days. *name
 * gets the common name (128 bytes), "" when it cannot be read. */
void checkup_certificate(struct checkup *c, const char *check, const char *certificate_file,
                         const char *key_file, int days_warn, char name[128]);
/* The machine's clock by itself: before the program was made, or not held by NTP. */
void checkup_clock(struct checkup *c);

#endif
