/* SPDX-License-Identifier: Apache-2.0 */
/* What link.c asks of certificates. A server's chain is judged by a time that its client chooses: a box
 * without a clock chip may believe that it is 1970, or 2050, and must find its way home all the same. */
#ifndef ZAJEL_KIT_LINK_JUDGE_H
#define ZAJEL_KIT_LINK_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OpenSSL's SSL_CTX and X509. */
struct ssl_ctx_st;
struct x509_st;

/* The time is asked for at each handshake, as link_client_options has it; judge must outlive the context. */
struct link_judge {
    int64_t (*time_s)(void *owner, bool *is_sure);
    void *owner;
};

void link_judge_use(struct ssl_ctx_st *tls, struct link_judge *judge);

/* A certificate's one common name, as text without a NUL; false: it has none, or several. */
bool link_judge_name(struct x509_st *certificate, char *out, size_t room);

#endif
