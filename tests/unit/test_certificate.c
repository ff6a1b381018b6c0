/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sync/kit/certificate.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define DAY_S 86400

static const char *const server_names[] = { "gw.example", "localhost", "127.0.0.1", "::1" };

/* A CA, a server and a client of it, as files for the openssl command too. */
struct world {
    char folder[64];
    struct text ca_key, ca, server_key, server, client_key, client;
    int64_t now_s;
};

static void save(const struct world *w, const char *name, const struct text *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text->at, 1, text->length, f), text->length);
    assert_int_equal(fclose(f), 0);
}

static struct certificate_request request_of(const struct world *w, const char *common_name)
{
    return (struct certificate_request){ .common_name = common_name,
                                         .from_s = w->now_s - DAY_S,
                                         .until_s = w->now_s + 90 * DAY_S };
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct certificate_request ca, server, client;

    assert_non_null(w);
    assert_int_equal(seal_start(), STATUS_OK);
    strcpy(w->folder, "/var/tmp/zajel-certificate-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    w->now_s = (int64_t)time(NULL);
    ca = request_of(w, "Zajel CA 1");
    ca.is_ca = true;
    ca.until_s = w->now_s + 40LL * 365 * DAY_S; /* Past 2050, where X.509 changes its form of dates. */
    server = request_of(w, "gw.example");
    server.is_server = true;
    server.names = server_names;
    server.name_count = sizeof server_names / sizeof *server_names;
    client = request_of(w, "nyeri-03");
    assert_int_equal(certificate_make_key(&w->ca_key), STATUS_OK);
    assert_int_equal(certificate_make_key(&w->server_key), STATUS_OK);
    assert_int_equal(certificate_make_key(&w->client_key), STATUS_OK);
    assert_int_equal(certificate_issue(&ca, w->ca_key.at, NULL, NULL, &w->ca), STATUS_OK);
    assert_int_equal(certificate_issue(&server, w->server_key.at, w->ca.at, w->ca_key.at, &w->server),
                     STATUS_OK);
    assert_int_equal(certificate_issue(&client, w->client_key.at, w->ca.at, w->ca_key.at, &w->client),
                     STATUS_OK);
    save(w, "ca.pem", &w->ca);
    save(w, "server.pem", &w->server);
    save(w, "server.key", &w->server_key);
    save(w, "client.pem", &w->client);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    static const char *const names[] = { "ca.pem", "server.pem", "server.key", "client.pem", "other.pem" };
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", w->folder, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(w->folder), 0);
    text_wipe(&w->ca_key);
    text_wipe(&w->server_key);
    text_wipe(&w->client_key);
    text_free(&w->ca);
    text_free(&w->server);
    text_free(&w->client);
    free(w);
    return 0;
}

static bool openssl_says(const struct world *w, const char *arguments, const char *file)
{
    char command[512];

    snprintf(command, sizeof command, "cd '%s' && openssl %s %s >/dev/null 2>&1", w->folder, arguments, file);
    return system(command) == 0; /* NOLINT: the arguments are this file's own. */
}

static void openssl_accepts_a_server_under_each_of_its_names(void **state)
{
    const struct world *w = *state;
    static const char strict[] = "verify -x509_strict -CAfile ca.pem -purpose sslserver";
    char arguments[256];

    assert_true(openssl_says(w, strict, "server.pem"));
    for (size_t i = 0; i < sizeof server_names / sizeof *server_names; i++) {
        snprintf(arguments, sizeof arguments, "%s %s %s", strict,
                 strpbrk(server_names[i], "gl") ? "-verify_hostname" : "-verify_ip", server_names[i]);
        assert_true(openssl_says(w, arguments, "server.pem"));
    }
    snprintf(arguments, sizeof arguments, "%s -verify_hostname evil.example", strict);
    assert_false(openssl_says(w, arguments, "server.pem"));
    snprintf(arguments, sizeof arguments, "%s -verify_ip 127.0.0.2", strict);
    assert_false(openssl_says(w, arguments, "server.pem"));
}

static void openssl_accepts_a_client_as_a_client_only(void **state)
{
    const struct world *w = *state;

    assert_true(openssl_says(w, "verify -x509_strict -CAfile ca.pem -purpose sslclient", "client.pem"));
    assert_false(openssl_says(w, "verify -x509_strict -CAfile ca.pem -purpose sslserver", "client.pem"));
    assert_false(openssl_says(w, "verify -x509_strict -CAfile ca.pem -purpose sslclient", "server.pem"));
}

static void only_the_ca_is_one_and_makes_no_others(void **state)
{
    const struct world *w = *state;

    assert_true(
        openssl_says(w, "x509 -noout -ext basicConstraints -in ca.pem | grep", "'CA:TRUE, pathlen:0'"));
    assert_true(openssl_says(w, "x509 -noout -ext basicConstraints -in ca.pem | grep", "critical"));
    assert_true(openssl_says(w, "x509 -noout -ext basicConstraints -in server.pem | grep", "CA:FALSE"));
    assert_true(openssl_says(w, "x509 -noout -ext basicConstraints -in client.pem | grep", "CA:FALSE"));
}

static void openssl_reads_the_key(void **state)
{
    const struct world *w = *state;

    assert_non_null(strstr(w->server_key.at, "-----BEGIN EC PRIVATE KEY-----"));
    assert_true(openssl_says(w, "ec -check -in", "server.key"));
}

static void a_client_can_issue_nothing(void **state)
{
    struct world *w = *state;
    struct certificate_request request = request_of(w, "forged");
    struct text forged = { 0 };

    assert_int_equal(certificate_issue(&request, w->server_key.at, w->client.at, w->client_key.at, &forged),
                     STATUS_OK);
    save(w, "other.pem", &forged);
    assert_false(openssl_says(w, "verify -CAfile ca.pem -untrusted client.pem", "other.pem"));
    text_free(&forged);
}

static void tells_the_facts(void **state)
{
    const struct world *w = *state;
    struct certificate_facts facts, again;

    assert_int_equal(certificate_read(w->client.at, &facts), STATUS_OK);
    assert_string_equal(facts.common_name, "nyeri-03");
    assert_int_equal(facts.from_s, w->now_s - DAY_S);
    assert_int_equal(facts.until_s, w->now_s + 90 * DAY_S);
    assert_int_equal(certificate_read(w->client.at, &again), STATUS_OK);
    assert_memory_equal(facts.fingerprint, again.fingerprint, sizeof facts.fingerprint);
    assert_int_equal(certificate_read(w->server.at, &again), STATUS_OK);
    assert_memory_not_equal(facts.fingerprint, again.fingerprint, sizeof facts.fingerprint);
    assert_int_equal(certificate_read(w->ca.at, &again), STATUS_OK);
    assert_int_equal(again.until_s, w->now_s + 40LL * 365 * DAY_S);
}

static void carries_a_branchs_number_beside_its_name(void **state)
{
    const struct world *w = *state;
    struct certificate_request request = request_of(w, "nyeri-03");
    struct text numbered = { 0 };
    struct certificate_facts facts;

    assert_int_equal(certificate_read(w->client.at, &facts), STATUS_OK);
    assert_string_equal(facts.serial_number, "");
    request.serial_number = "4294967295";
    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->ca_key.at, &numbered),
                     STATUS_OK);
    assert_int_equal(certificate_read(numbered.at, &facts), STATUS_OK);
    assert_string_equal(facts.serial_number, "4294967295");
    assert_string_equal(facts.common_name, request.common_name);
    request.serial_number = "1,CN=other";
    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->ca_key.at, &numbered),
                     STATUS_INVALID);
    text_free(&numbered);
}

static void its_fingerprint_is_the_one_openssl_prints(void **state)
{
    const struct world *w = *state;
    struct certificate_facts facts;
    char command[256], line[256], hex[65], *out = line;
    FILE *pipe;

    snprintf(command, sizeof command, "openssl x509 -in '%s/client.pem' -noout -fingerprint -sha256",
             w->folder);
    pipe = popen(command, "r"); /* NOLINT: as above. */
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    pclose(pipe);
    for (const char *c = strchr(line, '=') + 1; *c && *c != '\n'; c++)
        if (*c != ':')
            *out++ = *c;
    *out = '\0';
    assert_int_equal(certificate_read(w->client.at, &facts), STATUS_OK);
    text_hex(slice_of(facts.fingerprint, sizeof facts.fingerprint), hex);
    assert_int_equal(strcasecmp(hex, line), 0);
}

static void tells_whose_key_it_is(void **state)
{
    const struct world *w = *state;

    assert_int_equal(certificate_check_key(w->client.at, w->client_key.at), STATUS_OK);
    assert_int_equal(certificate_check_key(w->client.at, w->server_key.at), STATUS_INVALID);
    assert_int_equal(certificate_check_key(w->client.at, "no key"), STATUS_INVALID);
    assert_int_equal(certificate_check_key("", w->client_key.at), STATUS_INVALID);
}

static void refuses_what_it_cannot_vouch_for(void **state)
{
    struct world *w = *state;
    static const char *const odd[] = { "a name" };
    struct certificate_request request = request_of(w, "a,O=Bank");
    struct certificate_facts facts;
    struct text out = { 0 };

    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->ca_key.at, &out),
                     STATUS_INVALID);
    request = request_of(w, "");
    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->ca_key.at, &out),
                     STATUS_INVALID);
    request = request_of(w, "backwards");
    request.until_s = request.from_s;
    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->ca_key.at, &out),
                     STATUS_INVALID);
    request = request_of(w, "odd");
    request.names = odd;
    request.name_count = 1;
    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->ca_key.at, &out),
                     STATUS_INVALID);
    request = request_of(w, "another issuer's key");
    assert_int_equal(certificate_issue(&request, w->client_key.at, w->ca.at, w->server_key.at, &out),
                     STATUS_INVALID);
    assert_int_equal(
        certificate_read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &facts),
        STATUS_INVALID);
    assert_int_equal(out.length, 0);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssl_accepts_a_server_under_each_of_its_names),
        cmocka_unit_test(openssl_accepts_a_client_as_a_client_only),
        cmocka_unit_test(only_the_ca_is_one_and_makes_no_others),
        cmocka_unit_test(openssl_reads_the_key),
        cmocka_unit_test(a_client_can_issue_nothing),
        cmocka_unit_test(tells_the_facts),
        cmocka_unit_test(carries_a_branchs_number_beside_its_name),
        cmocka_unit_test(its_fingerprint_is_the_one_openssl_prints),
        cmocka_unit_test(tells_whose_key_it_is),
        cmocka_unit_test(refuses_what_it_cannot_vouch_for),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
