/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "relay/options.h"
#include "sync/kit/certificate.h"
#include "sync/kit/file.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

#define LEAST \
    "[relay]\nbranch = nyeri-03\nbranch_number = 7\nstate = state\n[numbers]\ndefault = 106540352242922\n"

/* Reads a relay.conf that says this; error: what was told. */
static int read_conf(const char *text, struct options **out, char error[512])
{
    char path[] = "/var/tmp/zajel-test-XXXXXX";
    struct config_error found = { .text = "" };
    int fd = mkstemp(path), status;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    status = options_load(out, path, &found);
    snprintf(error, 512, "%s", found.text);
    remove(path);
    return status;
}

static void assert_refused(const char *more, const char *key)
{
    char text[2048], error[512];
    struct options *o;

    snprintf(text, sizeof text, "%s%s", LEAST, more);
    assert_int_equal(read_conf(text, &o, error), STATUS_INVALID);
    assert_null(o);
    if (!strstr(error, key))
        fail_msg("\"%s\" does not name %s", error, key);
}

static void takes_the_least_that_must_be_said(void **state)
{
    struct options *o;
    char error[512];

    (void)state;
    assert_int_equal(read_conf(LEAST, &o, error), STATUS_OK);
    assert_string_equal(o->api.host, "127.0.0.1");
    assert_int_equal(o->api.port, 8080);
    assert_null(o->uplink_url);
    assert_false(o->rules.delivers);
    assert_int_equal(o->rules.store_bytes_max, 2147483648u);
    assert_int_equal(o->rules.number_count, 1);
    options_free(o);
}

static void reads_the_branch_number_from_its_certificate(void **state)
{
    struct certificate_request request = {
        .common_name = "nyeri-03", .serial_number = "4711", .from_s = 1700000000, .until_s = 1900000000
    };
    char path[] = "/var/tmp/zajel-test-XXXXXX", text[1024], error[512];
    struct text key = { 0 }, certificate = { 0 };
    struct options *o;

    (void)state;
    assert_int_equal(seal_start(), STATUS_OK);
    assert_int_equal(certificate_make_key(&key), STATUS_OK);
    assert_int_equal(certificate_issue(&request, key.at, NULL, NULL, &certificate), STATUS_OK);
    close(mkstemp(path));
    assert_int_equal(file_write(path, text_slice(&certificate), 0600), STATUS_OK);
    snprintf(text, sizeof text,
             "[relay]\nbranch = nyeri-03\n[numbers]\ndefault = 1\n[uplink]\n"
             "url = wss://127.0.0.1:1/sync\nca_file = %s\ncertificate_file = %s\nkey_file = %s\n",
             path, path, path);
    assert_int_equal(read_conf(text, &o, error), STATUS_OK);
    assert_int_equal(o->rules.number, 4711);
    options_free(o);
    /* Neither tells: it is said which key would. */
    assert_int_equal(read_conf("[relay]\nbranch = nyeri-03\n[numbers]\ndefault = 1\n", &o, error),
                     STATUS_INVALID);
    assert_non_null(strstr(error, "branch_number"));
    remove(path);
    text_wipe(&key);
    text_free(&certificate);
}

static void takes_rules_numbers_and_hours(void **state)
{
    struct options *o;
    char error[512];

    (void)state;
    assert_int_equal(read_conf(LEAST
                               "[number 106540352242922]\ndisplay_phone_number = 254700000001\nwaba_id = 1\n"
                               "[number 5]\n[template otp_login]\nlane = urgent\nexpires_in = 300\n"
                               "[lane bulk]\nhours = 20:00-06:00\nexpires_in = 60\n",
                               &o, error),
                     STATUS_OK);
    assert_int_equal(o->rules.number_count, 2);
    assert_string_equal(o->rules.numbers[0].display, "254700000001");
    assert_string_equal(o->rules.numbers[1].id, "5");
    assert_int_equal(o->rules.template_count, 1);
    assert_int_equal(o->rules.templates[0].lane, LANE_URGENT);
    assert_int_equal(o->rules.templates[0].expires_in_s, 300);
    assert_int_equal(o->rules.lanes[LANE_BULK].from_minute, 1200);
    assert_int_equal(o->rules.lanes[LANE_BULK].until_minute, 360);
    assert_int_equal(o->rules.lanes[LANE_BULK].expires_in_s, 60);
    assert_int_equal(o->rules.lanes[LANE_CHAT].from_minute, -1);
    options_free(o);
}

static void names_the_key_that_is_wrong(void **state)
{
    (void)state;
    assert_refused("[api]\nlisten = 0.0.0.0:8080\n", "listen");
    assert_refused("[api]\nlisten_tls = 127.0.0.77:443\n", "listen_tls");
    assert_refused("[api]\nwebhook_url = ftp://x/\n", "webhook_url");
    assert_refused("[api]\nwebhook_secret_file = not-there\n", "webhook_secret_file");
    assert_refused("[uplink]\nurl = ws://gw/sync\n", "url");
    assert_refused("[uplink]\nurl = wss://gw/sync\n", "ca_file");
    assert_refused("[desk]\nlisten = 0.0.0.0:8081\n", "[desk] listen");
    assert_refused("[lane bulk]\nhours = 25:00-06:00\n", "hours");
    assert_refused("[lane chat]\nhours = 20:00-06:00\n", "hours");
    assert_refused("[lane quick]\nexpires_in = 5\n", "expires_in");
    assert_refused("[number x]\ndisplay_phone_number = 1\n", "number x");
    assert_refused("[template t]\nlane = quick\n", "lane");
    assert_refused("[api]\nlisten_on = 1\n", "listen_on");
}

static void lets_a_proxy_do_the_tls(void **state)
{
    struct options *o;
    char error[512];

    (void)state;
    assert_int_equal(read_conf(LEAST "[api]\nlisten = 0.0.0.0:8080\nbehind_proxy = yes\n", &o, error),
                     STATUS_OK);
    assert_false(o->api_is_tls);
    options_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_least_that_must_be_said),
        cmocka_unit_test(reads_the_branch_number_from_its_certificate),
        cmocka_unit_test(takes_rules_numbers_and_hours),
        cmocka_unit_test(names_the_key_that_is_wrong),
        cmocka_unit_test(lets_a_proxy_do_the_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
