/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/link_judge.h"

#include <string.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

static int judge_times(X509_STORE_CTX *store, time_t now, bool is_sure)
{
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);

    for (int i = 0; i < sk_X509_num(chain); i++) {
        const X509 *certificate = sk_X509_value(chain, i);
        int error = X509_V_OK;

        /* 0 is an error of the comparison. */
        if (X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0)
            error = X509_V_ERR_CERT_HAS_EXPIRED;
        else if (is_sure && X509_cmp_time(X509_get0_notBefore(certificate), &now) >= 0)
            error = X509_V_ERR_CERT_NOT_YET_VALID;
        if (error != X509_V_OK) {
            X509_STORE_CTX_set_error_depth(store, i);
            X509_STORE_CTX_set_error(store, error);
            return 0;
        }
    }
    return 1;
}

static int judge(X509_STORE_CTX *store, void *argument)
{
    struct link_judge *j = argument;
    bool is_sure = false;
    time_t now = (time_t)j->time_s(j->owner, &is_sure);
    int verdict;

    X509_STORE_CTX_set_flags(store, X509_V_FLAG_NO_CHECK_TIME);
    verdict = X509_verify_cert(store);
    return verdict > 0 ? judge_times(store, now, is_sure) : verdict;
}

void link_judge_use(struct ssl_ctx_st *tls, struct link_judge *j)
{
    SSL_CTX_set_cert_verify_callback(tls, judge, j);
}

bool link_judge_name(struct x509_st *certificate, char *out, size_t room)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1), length;
    unsigned char *text = NULL;
    bool good;

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return false;
    length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    good = length > 0 && (size_t)length < room && !memchr(text, '\0', (size_t)length);
    if (good) {
        memcpy(out, text, (size_t)length);
        out[length] = '\0';
    }
    OPENSSL_free(text);
    return good;
}
