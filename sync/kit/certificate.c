/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/certificate.h"

#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include <time.h>

#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define KEY_PEM_MAX 512u   /* A P-256 key takes 227 bytes. */
#define CERT_PEM_MAX 8192u /* Under 1 kB, and what the names take. */
#define NAMES_MAX 2048u    /* subjectAltName as DER: a dozen names at their longest. */
#define DNS_NAME_MAX 253u  /* RFC 1035 */
#define SERIAL_BYTES 16u
#define COMMON_NAME_MAX 64u   /* X.520's ub-common-name. */
#define SERIAL_NUMBER_MAX 31u /* Of X.520's 64 what certificate_facts holds. */

/* mbedTLS 3 asks for randomness to blind, and tells serial numbers as bytes. */
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define BLINDED , random_bytes, NULL
#else
#define BLINDED
#endif

/* The library's random source is PSA's, which seal_start() has seeded. */
static int random_bytes(void *context, unsigned char *out, size_t length)
{
    (void)context;
    return seal_random(out, length) == STATUS_OK ? 0 : MBEDTLS_ERR_ECP_RANDOM_FAILED;
}

static int parse_key(mbedtls_pk_context *key, const char *pem)
{
    return mbedtls_pk_parse_key(key, (const unsigned char *)pem, strlen(pem) + 1, NULL, 0 BLINDED) == 0
               ? STATUS_OK
               : STATUS_INVALID;
}

static int parse_certificate(mbedtls_x509_crt *certificate, const char *pem)
{
    return mbedtls_x509_crt_parse(certificate, (const unsigned char *)pem, strlen(pem) + 1) == 0
               ? STATUS_OK
               : STATUS_INVALID;
}

int certificate_make_key(struct text *key_pem)
{
    unsigned char pem[KEY_PEM_MAX];
    mbedtls_pk_context key;
    int status = STATUS_UNAVAILABLE;

    mbedtls_pk_init(&key);
    if (mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0 &&
        mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), random_bytes, NULL) == 0 &&
        mbedtls_pk_write_key_pem(&key, pem, sizeof pem) == 0) {
        text_puts(key_pem, (const char *)pem);
        status = key_pem->failed ? STATUS_NO_MEMORY : STATUS_OK;
    }
    explicit_bzero(pem, sizeof pem);
    mbedtls_pk_free(&key);
    return status;
}

/* --- Extensions --- */

static int add_extension(mbedtls_x509write_cert *w, const char *oid, size_t oid_length, const uint8_t *der,
                         size_t length)
{
    return mbedtls_x509write_crt_set_extension(w, oid, oid_length, 0, der, length) == 0 ? STATUS_OK
                                                                                        : STATUS_NO_MEMORY;
}

static int add_purpose(mbedtls_x509write_cert *w, bool is_server)
{
    /* SEQUENCE { id-kp-serverAuth (..3.1) or id-kp-clientAuth (..3.2) } */
    uint8_t der[] = { 0x30, 10, 0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, is_server ? 1 : 2 };

    return add_extension(w, MBEDTLS_OID_EXTENDED_KEY_USAGE, MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE),
                         der, sizeof der);
}

/* A length as DER has it, up to 65535. */
static void put_length(struct writer *w, size_t length)
{
    assert(length <= UINT16_MAX);
    if (length < 128) {
        writer_u8(w, (uint8_t)length);
    } else if (length < 256) {
        writer_u8(w, 0x81);
        writer_u8(w, (uint8_t)length);
    } else {
        writer_u8(w, 0x82);
        writer_u16(w, (uint16_t)length);
    }
}

static bool name_is_dns(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*";
    size_t length = strlen(name);

    return length >= 1 && length <= DNS_NAME_MAX && strspn(name, allowed) == length;
}

/* mbedTLS 2.28 has no call for subjectAltName, so it is written here for both. */
static int add_names(mbedtls_x509write_cert *w, const struct certificate_request *request)
{
    uint8_t names[NAMES_MAX], der[NAMES_MAX + 4], address[16];
    struct writer list = writer_of(names, sizeof names);
    struct writer whole = writer_of(der, sizeof der);

    if (request->name_count == 0)
        return STATUS_OK;
    for (size_t i = 0; i < request->name_count; i++) {
        const char *name = request->names[i];
        struct slice value = slice_text(name);
        uint8_t tag = 0x87; /* iPAddress [7] */

        if (inet_pton(AF_INET, name, address) == 1)
            value = slice_of(address, 4);
        else if (inet_pton(AF_INET6, name, address) == 1)
            value = slice_of(address, 16);
        else if (name_is_dns(name))
            tag = 0x82; /* dNSName [2] */
        else
            return STATUS_INVALID;
        writer_u8(&list, tag);
        put_length(&list, value.length);
        writer_bytes(&list, value);
    }
    if (list.failed)
        return STATUS_TOO_LARGE;
    writer_u8(&whole, 0x30);
    put_length(&whole, list.length);
    writer_bytes(&whole, writer_slice(&list));
    assert(!whole.failed);
    return add_extension(w, MBEDTLS_OID_SUBJECT_ALT_NAME, MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), der,
                         whole.length);
}

static int add_extensions(mbedtls_x509write_cert *w, const struct certificate_request *request)
{
    unsigned usage = request->is_ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN
                                    : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
    int status = STATUS_OK;

    /* A CA of ours signs boxes and servers, never another CA. */
    if (mbedtls_x509write_crt_set_basic_constraints(w, request->is_ca, request->is_ca ? 0 : -1) != 0 ||
        mbedtls_x509write_crt_set_subject_key_identifier(w) != 0 ||
        mbedtls_x509write_crt_set_authority_key_identifier(w) != 0 ||
        mbedtls_x509write_crt_set_key_usage(w, usage) != 0)
        return STATUS_NO_MEMORY;
    if (!request->is_ca)
        status = add_purpose(w, request->is_server);
    return status != STATUS_OK ? status : add_names(w, request);
}

/* --- Issuing --- */

static int set_serial(mbedtls_x509write_cert *w)
{
    uint8_t serial[SERIAL_BYTES];
    int failed;

    if (seal_random(serial, sizeof serial) != STATUS_OK)
        return STATUS_UNAVAILABLE;
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* Positive, and always of one length. */
#if MBEDTLS_VERSION_NUMBER >= 0x03040000
    failed = mbedtls_x509write_crt_set_serial_raw(w, serial, sizeof serial);
#else
    mbedtls_mpi number;

    mbedtls_mpi_init(&number);
    failed = mbedtls_mpi_read_binary(&number, serial, sizeof serial) != 0 ||
             mbedtls_x509write_crt_set_serial(w, &number) != 0;
    mbedtls_mpi_free(&number);
#endif
    return failed ? STATUS_NO_MEMORY : STATUS_OK;
}

static int set_validity(mbedtls_x509write_cert *w, const struct certificate_request *request)
{
    const time_t from_s = (time_t)request->from_s, until_s = (time_t)request->until_s;
    char from[16], until[16];
    struct tm t;

    if (until_s <= from_s || !gmtime_r(&from_s, &t) ||
        strftime(from, sizeof from, "%Y%m%d%H%M%S", &t) != 14 || !gmtime_r(&until_s, &t) ||
        strftime(until, sizeof until, "%Y%m%d%H%M%S", &t) != 14)
        return STATUS_INVALID;
    return mbedtls_x509write_crt_set_validity(w, from, until) == 0 ? STATUS_OK : STATUS_INVALID;
}

/* The library reads names from a text in which commas and equal signs mean something. */
static bool name_is_plain(const char *name, size_t length_max)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .:_-";
    size_t length = strlen(name);

    return length > 0 && length <= length_max && strspn(name, allowed) == length;
}

static int name_text(const struct certificate_request *request, char *out, size_t room)
{
    char *at;

    if (!name_is_plain(request->common_name, COMMON_NAME_MAX) ||
        (request->serial_number && !name_is_plain(request->serial_number, SERIAL_NUMBER_MAX)))
        return STATUS_INVALID;
    assert(room >= COMMON_NAME_MAX + SERIAL_NUMBER_MAX + sizeof "CN=,serialNumber=");
    at = stpcpy(stpcpy(out, "CN="), request->common_name);
    if (request->serial_number)
        stpcpy(stpcpy(at, ",serialNumber="), request->serial_number);
    return STATUS_OK;
}

/* Both names: the subject's own for a self-signed one, else the subject of the issuer's certificate. */
static int set_parties(mbedtls_x509write_cert *w, const struct certificate_request *request,
                       const mbedtls_x509_crt *issuer)
{
    char subject[160], signer[512];
    int status = name_text(request, subject, sizeof subject);

    if (status != STATUS_OK)
        return status;
    if (issuer) {
        if (mbedtls_x509_dn_gets(signer, sizeof signer, &issuer->subject) < 0)
            return STATUS_INVALID;
    } else {
        stpcpy(signer, subject);
    }
    if (mbedtls_x509write_crt_set_subject_name(w, subject) != 0 ||
        mbedtls_x509write_crt_set_issuer_name(w, signer) != 0)
        return STATUS_INVALID;
    return STATUS_OK;
}

static int write_pem(mbedtls_x509write_cert *w, struct text *cert_pem)
{
    unsigned char pem[CERT_PEM_MAX];

    if (mbedtls_x509write_crt_pem(w, pem, sizeof pem, random_bytes, NULL) != 0)
        return STATUS_UNAVAILABLE;
    text_puts(cert_pem, (const char *)pem);
    return cert_pem->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

int certificate_issue(const struct certificate_request *request, const char *subject_key_pem,
                      const char *issuer_cert_pem, const char *issuer_key_pem, struct text *cert_pem)
{
    const bool self_signed = !issuer_cert_pem;
    mbedtls_pk_context subject_key, issuer_key;
    mbedtls_x509_crt issuer;
    mbedtls_x509write_cert w;
    int status;

    mbedtls_pk_init(&subject_key);
    mbedtls_pk_init(&issuer_key);
    mbedtls_x509_crt_init(&issuer);
    mbedtls_x509write_crt_init(&w);
    status = parse_key(&subject_key, subject_key_pem);
    if (status == STATUS_OK && !self_signed &&
        (status = certificate_check_key(issuer_cert_pem, issuer_key_pem)) == STATUS_OK &&
        (status = parse_key(&issuer_key, issuer_key_pem)) == STATUS_OK)
        status = parse_certificate(&issuer, issuer_cert_pem);
    if (status != STATUS_OK)
        goto out;
    mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&w, &subject_key);
    mbedtls_x509write_crt_set_issuer_key(&w, self_signed ? &subject_key : &issuer_key);
    if ((status = set_parties(&w, request, self_signed ? NULL : &issuer)) == STATUS_OK &&
        (status = set_serial(&w)) == STATUS_OK && (status = set_validity(&w, request)) == STATUS_OK &&
        (status = add_extensions(&w, request)) == STATUS_OK)
        status = write_pem(&w, cert_pem);
out:
    mbedtls_x509write_crt_free(&w);
    mbedtls_x509_crt_free(&issuer);
    mbedtls_pk_free(&issuer_key);
    mbedtls_pk_free(&subject_key);
    return status;
}

/* --- Reading --- */

static int64_t seconds_of(const mbedtls_x509_time *t)
{
    struct tm tm = { .tm_year = t->year - 1900,
                     .tm_mon = t->mon - 1,
                     .tm_mday = t->day,
                     .tm_hour = t->hour,
                     .tm_min = t->min,
                     .tm_sec = t->sec };

    return (int64_t)timegm(&tm);
}

/* STATUS_END: the subject has no such attribute. */
static int read_attribute(const mbedtls_x509_name *subject, const char *oid, size_t oid_length, char *out,
                          size_t room)
{
    for (const mbedtls_x509_name *part = subject; part; part = part->next) {
        if (part->oid.len != oid_length || !part->oid.p || memcmp(part->oid.p, oid, oid_length) != 0)
            continue;
        /* A NUL within would make two names look alike. */
        if (part->val.len == 0 || part->val.len >= room || memchr(part->val.p, 0, part->val.len))
            return STATUS_INVALID;
        memcpy(out, part->val.p, part->val.len);
        out[part->val.len] = '\0';
        return STATUS_OK;
    }
    return STATUS_END;
}

static int read_names(const mbedtls_x509_name *subject, struct certificate_facts *out)
{
    int status = read_attribute(subject, MBEDTLS_OID_AT_CN, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN),
                                out->common_name, sizeof out->common_name);

    if (status != STATUS_OK)
        return STATUS_INVALID;
    status =
        read_attribute(subject, MBEDTLS_OID_AT_SERIAL_NUMBER, MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_SERIAL_NUMBER),
                       out->serial_number, sizeof out->serial_number);
    return status == STATUS_END ? STATUS_OK : status;
}

int certificate_read(const char *cert_pem, struct certificate_facts *out)
{
    mbedtls_x509_crt certificate;
    int status;

    memset(out, 0, sizeof *out);
    mbedtls_x509_crt_init(&certificate);
    if ((status = parse_certificate(&certificate, cert_pem)) == STATUS_OK &&
        (status = read_names(&certificate.subject, out)) == STATUS_OK) {
        out->from_s = seconds_of(&certificate.valid_from);
        out->until_s = seconds_of(&certificate.valid_to);
        status = seal_sha256(slice_of(certificate.raw.p, certificate.raw.len), out->fingerprint);
    }
    mbedtls_x509_crt_free(&certificate);
    return status;
}

int certificate_check_key(const char *cert_pem, const char *key_pem)
{
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    int status;

    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    if ((status = parse_certificate(&certificate, cert_pem)) == STATUS_OK &&
        (status = parse_key(&key, key_pem)) == STATUS_OK &&
        mbedtls_pk_check_pair(&certificate.pk, &key BLINDED) != 0)
        status = STATUS_INVALID;
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&certificate);
    return status;
}
