/* SPDX-License-Identifier: Apache-2.0 */
/* The office: the gateway's own certificate authority, and the register of branches. */
#ifndef ZAJEL_GATEWAY_OFFICE_H
#define ZAJEL_GATEWAY_OFFICE_H

#include "sync/gateway/ledger.h"
#include "sync/gateway/settings.h"

/* Names of its files in the state folder. */
#define OFFICE_CA_CERTIFICATE "ca.pem"
#define OFFICE_CA_KEY "ca.key"
#define OFFICE_SERVER_CERTIFICATE "server.pem"
#define OFFICE_SERVER_KEY "server.key"
#define OFFICE_CONTROL "control.sock"

/* Makes the state folder, the CA, the server's certificate and the ledger. out: what it did, or what is
 * wrong. STATUS_CONFLICT: there is one already; nothing was changed. */
int office_init(const struct settings *s, struct text *out);

/* One question to the register: add ID | certify ID FINGERPRINT UNTIL | revoke ID | list | show ID. Within a
 * turn when it changes something. Returns the exit code; answer is text for people, of `add` the number
 * alone. *revoked: the number of the branch that was revoked, else 0. */
int office_answer(struct ledger *l, int argc, const char *const *argv, int64_t now_s, struct text *answer,
                  uint32_t *revoked);

/* Issues a box's certificate, 90 days from now and backdated a day, and writes folder: relay.conf and what it
 * names, ready to run. fingerprint and until_s are to be recorded. out: what is wrong. STATUS_CONFLICT: the
 * folder has a relay.conf. */
int office_equip(const struct settings *s, const char *branch, uint32_t number, const char *folder,
                 uint8_t fingerprint[32], int64_t *until_s, struct text *out);

#endif
