/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "sync/kit/certificate.h"
#include "sync/kit/link_judge.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define FROM_S 1795503600  /* 2026-11-24 */
#define UNTIL_S 1827039600 /* A year later. */

static struct text ca_key, ca, key, certificate;

/* What the client believes. */
static int64_t believed_s;
static bool believed_surely;

static int64_t tell_time(void *owner, bool *is_sure)
{
    (void)owner;
    *is_sure = believed_surely;
    return believed_s;
}

static int make_certificates(void **state)
{
    static const char *const names[] = { "127.0.0.1" };
    const struct certificate_request authority = {
        .common_name = "CA", .is_ca = true, .from_s = FROM_S, .until_s = UNTIL_S
    };
    const struct certificate_request server = { .common_name = "gateway",
                                                .names = names,
                                                .name_count = 1,
                                                .is_server = true,
                                                .from_s = FROM_S,
                                                .until_s = UNTIL_S };

    (void)state;
    assert_int_equal(seal_start(), STATUS_OK);
    assert_int_equal(certificate_make_key(&ca_key), STATUS_OK);
    assert_int_equal(certificate_make_key(&key), STATUS_OK);
    assert_int_equal(certificate_issue(&authority, ca_key.at, NULL, NULL, &ca), STATUS_OK);
    assert_int_equal(certificate_issue(&server, key.at, ca.at, ca_key.at, &certificate), STATUS_OK);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    text_wipe(&ca_key);
    text_wipe(&key);
    text_free(&ca);
    text_free(&certificate);
    return 0;
}

static X509 *read_certificate(const struct text *pem)
{
    BIO *in = BIO_new_mem_buf(pem->at, (int)pem->length);
    X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);

    BIO_free(in);
    assert_non_null(x);
    return x;
}

static SSL_CTX *server_context(void)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    BIO *in = BIO_new_mem_buf(key.at, (int)key.length);
    EVP_PKEY *private = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    X509 *x = read_certificate(&certificate);

    assert_int_equal(SSL_CTX_use_certificate(tls, x), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(tls, private), 1);
    X509_free(x);
    EVP_PKEY_free(private);
    BIO_free(in);
    return tls;
}

static SSL_CTX *client_context(struct link_judge *judge, const struct text *trusted)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    X509 *x = read_certificate(trusted);

    assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), x), 1);
    X509_free(x);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    link_judge_use(tls, judge);
    return tls;
}

/* One handshake in memory; how the client judges the server's chain (X509_V_OK: well). */
static long judgement(const struct text *trusted, const char *address)
{
    struct link_judge judge = { .time_s = tell_time };
    SSL_CTX *here_context = client_context(&judge, trusted), *there_context = server_context();
    SSL *here = SSL_new(here_context), *there = SSL_new(there_context);
    BIO *here_bio, *there_bio;
    long verdict;
    int done = 0;

    assert_int_equal(BIO_new_bio_pair(&here_bio, 0, &there_bio, 0), 1);
    SSL_set_bio(here, here_bio, here_bio);
    SSL_set_bio(there, there_bio, there_bio);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(here), address);
    SSL_set_accept_state(there);
    SSL_set_connect_state(here);
    for (int round = 0; round < 20 && done != 1; round++) {
        done = SSL_do_handshake(here);
        (void)SSL_do_handshake(there);
    }
    verdict = SSL_get_verify_result(here);
    assert_int_equal(done == 1, verdict == X509_V_OK);
    SSL_free(here);
    SSL_free(there);
    SSL_CTX_free(here_context);
    SSL_CTX_free(there_context);
    return verdict;
}

static long judgement_at(int64_t time_s, bool is_sure)
{
    believed_s = time_s;
    believed_surely = is_sure;
    return judgement(&ca, "127.0.0.1");
}

static void judges_by_the_time_that_is_told(void **state)
{
    (void)state;
    assert_int_equal(judgement_at(FROM_S + 60, true), X509_V_OK);
    assert_int_equal(judgement_at(FROM_S - 60, true), X509_V_ERR_CERT_NOT_YET_VALID);
    assert_int_equal(judgement_at(UNTIL_S + 60, true), X509_V_ERR_CERT_HAS_EXPIRED);
}

static void asks_only_whether_it_is_over_when_the_time_is_not_sure(void **state)
{
    (void)state;
    assert_int_equal(judgement_at(0, false), X509_V_OK);
    assert_int_equal(judgement_at(FROM_S - 60, false), X509_V_OK);
    assert_int_equal(judgement_at(UNTIL_S + 60, false), X509_V_ERR_CERT_HAS_EXPIRED);
}

static void forgives_nothing_but_the_time(void **state)
{
    const struct certificate_request authority = {
        .common_name = "CA", .is_ca = true, .from_s = FROM_S, .until_s = UNTIL_S
    };
    struct text other_key = { 0 }, other = { 0 };

    (void)state;
    believed_s = 0;
    believed_surely = false;
    assert_int_equal(judgement(&ca, "127.0.0.2"), X509_V_ERR_IP_ADDRESS_MISMATCH);
    assert_int_equal(certificate_make_key(&other_key), STATUS_OK);
    assert_int_equal(certificate_issue(&authority, other_key.at, NULL, NULL, &other), STATUS_OK);
    assert_int_not_equal(judgement(&other, "127.0.0.1"), X509_V_OK);
    text_wipe(&other_key);
    text_free(&other);
}

static void tells_the_one_common_name(void **state)
{
    X509 *x = read_certificate(&certificate);
    char name[16], small[4];

    (void)state;
    assert_true(link_judge_name(x, name, sizeof name));
    assert_string_equal(name, "gateway");
    assert_false(link_judge_name(x, small, sizeof small));
    X509_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_by_the_time_that_is_told),
        cmocka_unit_test(asks_only_whether_it_is_over_when_the_time_is_not_sure),
        cmocka_unit_test(forgives_nothing_but_the_time),
        cmocka_unit_test(tells_the_one_common_name),
    };

    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
