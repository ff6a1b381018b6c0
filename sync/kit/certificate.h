/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and certificates of the link (P-256, X.509), PEM throughout. */
#ifndef ZAJEL_KIT_CERTIFICATE_H
#define ZAJEL_KIT_CERTIFICATE_H

#include "sync/kit/text.h"

/* A new P-256 private key as PEM (SEC1). Wipe it with text_wipe. */
int certificate_make_key(struct text *key_pem);

struct certificate_request {
    const char *common_name;   /* Branch id, or the gateway's name. */
    const char *serial_number; /* The subject's attribute of that name: a branch's number. NULL: none. */
    const char *const *names;  /* subjectAltName: DNS names and IP literals; NULL for a client. */
    size_t name_count;
    bool is_ca;
    bool is_server;          /* extendedKeyUsage serverAuth, else clientAuth; neither for a CA. */
    int64_t from_s, until_s; /* Unix seconds. */
};

/* Issues a certificate for the public half of subject_key_pem. issuer_* NULL: self-signed. Serial: 16 random
 * bytes. */
int certificate_issue(const struct certificate_request *request, const char *subject_key_pem,
                      const char *issuer_cert_pem, const char *issuer_key_pem, struct text *cert_pem);

struct certificate_facts {
    char common_name[128];
    char serial_number[32]; /* The subject's; "": none. */
    int64_t from_s, until_s;
    uint8_t fingerprint[32]; /* SHA-256 of the DER form. */
};
int certificate_read(const char *cert_pem, struct certificate_facts *out); /* STATUS_INVALID */
/* STATUS_INVALID: the key is not that certificate's. */
int certificate_check_key(const char *cert_pem, const char *key_pem);

#endif
