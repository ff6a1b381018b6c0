/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sync/kit/config.h"
#include "sync/kit/file.h"
#include "sync/protocol/status.h"

static const struct config_key keys[] = {
    { "relay", "branch", CONFIG_TEXT, .required = true, .help = "the name of this branch, such as nyeri-03" },
    { "relay", "state", CONFIG_PATH, .fallback = "/var/lib/zajel-relay" },
    { "api", "listen", CONFIG_ADDRESS, .fallback = "127.0.0.1:8080" },
    { "api", "listen_tls", CONFIG_ADDRESS, .fallback = "off" },
    { "api", "tls_certificate_file", CONFIG_PATH, .fallback = NULL },
    { "api", "webhook_url", CONFIG_TEXT, .fallback = NULL },
    { "api", "behind_proxy", CONFIG_BOOL, .fallback = "no" },
    { "desk", "listen", CONFIG_ADDRESS, .fallback = "off" },
    { "uplink", "ca_file", CONFIG_PATH, .fallback = "ca.pem" },
    { "limits", "store_bytes_max", CONFIG_NUMBER, .fallback = "2147483648", .least = 1048576,
      .most = 1LL << 40 },
    { "template *", "lane", CONFIG_CHOICE, .choices = "urgent|alert|chat", .required = true },
    { "template *", "expires_in", CONFIG_NUMBER, .fallback = "300", .least = 1, .most = 604800 },
    { "lane *", "hours", CONFIG_TEXT, .fallback = NULL },
    { "routing", "default", CONFIG_TEXT, .fallback = NULL },
    { "routing", "prefix_*", CONFIG_TEXT, .fallback = NULL },
};

static char folder[] = "/var/tmp/test_config.XXXXXX"; /* Made real at the start. */
static char path[64];

static int load(const char *text, struct config **c, struct config_error *error)
{
    assert_int_equal(file_write(path, slice_text(text), 0600), STATUS_OK);
    return config_load(c, path, keys, sizeof keys / sizeof *keys, error);
}

static struct config *loaded(const char *text)
{
    struct config_error error;
    struct config *c = NULL;

    if (load(text, &c, &error) != STATUS_OK)
        fail_msg("%s", error.text);
    return c;
}

/* The complaint must be exactly this, after the name of the file. */
static void check_complaint(const char *text, const char *complaint)
{
    struct config_error error;
    struct config *c = NULL;
    size_t length = strlen(path);

    if (load(text, &c, &error) != STATUS_INVALID)
        fail_msg("taken: %s", text);
    assert_null(c);
    assert_memory_equal(error.text, path, length);
    assert_string_equal(error.text + length, complaint);
}

static void reads_the_sample_of_the_manual(void **state)
{
    struct config *c = loaded("# relay.conf\n"
                              "[relay]\n"
                              "branch = nyeri-03\n"
                              "state = /srv/zajel\n"
                              "[api]\n"
                              "listen = 127.0.0.1:8080\n"
                              "listen_tls = 127.0.0.77:443            ; optional, for https only\n"
                              "tls_certificate_file = api.pem\n"
                              "webhook_url = http://127.0.0.1:9000/hook?a=b;c=d#e\n"
                              "[desk]\n"
                              "listen = 0.0.0.0:8081                  ; needs its TLS files\n"
                              "[template otp_login]\r\n"
                              "lane = urgent\r\n"
                              "expires_in = 60\n"
                              "\t\n"
                              "; a comment\n"
                              "[lane bulk] ; at night\n"
                              "hours = 20:00-06:00 and  12:00-13:00  \n"
                              "[template balance]\n"
                              "lane=alert");
    char file[128];

    (void)state;
    assert_string_equal(config_text(c, "relay", "branch"), "nyeri-03");
    assert_string_equal(config_text(c, "relay", "state"), "/srv/zajel");
    assert_string_equal(config_text(c, "api", "listen_tls"), "127.0.0.77:443");
    assert_string_equal(config_text(c, "api", "webhook_url"), "http://127.0.0.1:9000/hook?a=b;c=d#e");
    assert_string_equal(config_text(c, "desk", "listen"), "0.0.0.0:8081");
    assert_string_equal(config_text(c, "lane bulk", "hours"), "20:00-06:00 and  12:00-13:00");
    snprintf(file, sizeof file, "%s/api.pem", folder);
    assert_string_equal(config_text(c, "api", "tls_certificate_file"), file);
    assert_string_equal(config_section_name(c, "template", 0), "otp_login");
    assert_string_equal(config_section_name(c, "template", 1), "balance");
    assert_null(config_section_name(c, "template", 2));
    assert_null(config_section_name(c, "temp", 0));
    assert_int_equal(config_number(c, "template otp_login", "expires_in"), 60);
    assert_int_equal(config_number(c, "template balance", "expires_in"), 300);
    assert_int_equal(config_line(c, "template balance", "lane"), 20);
    config_free(c);
}

static void falls_back_to_what_is_documented(void **state)
{
    struct config *c = loaded("[relay]\nbranch=a\n");
    char file[128];

    (void)state;
    assert_string_equal(config_text(c, "api", "listen"), "127.0.0.1:8080");
    assert_false(config_is_set(c, "api", "listen"));
    assert_true(config_is_set(c, "relay", "branch"));
    assert_int_equal(config_line(c, "api", "listen"), 0);
    assert_string_equal(config_text(c, "api", "listen_tls"), "off");
    assert_null(config_text(c, "api", "webhook_url"));
    assert_false(config_bool(c, "api", "behind_proxy"));
    assert_int_equal(config_number(c, "limits", "store_bytes_max"), 2147483648);
    snprintf(file, sizeof file, "%s/ca.pem", folder);
    assert_string_equal(config_text(c, "uplink", "ca_file"), file);
    config_free(c);
}

static void gives_keys_with_free_endings_in_order(void **state)
{
    struct config *c =
        loaded("[relay]\nbranch=a\n[routing]\nprefix_254 = nyeri-03\ndefault = x\nprefix_255=dar-01\n");
    const char *value = NULL;

    (void)state;
    assert_string_equal(config_key_ending(c, "routing", "prefix_*", 0, &value), "254");
    assert_string_equal(value, "nyeri-03");
    assert_string_equal(config_key_ending(c, "routing", "prefix_*", 1, &value), "255");
    assert_string_equal(value, "dar-01");
    assert_null(config_key_ending(c, "routing", "prefix_*", 2, &value));
    assert_null(config_key_ending(c, "desk", "prefix_*", 0, &value));
    assert_string_equal(config_text(c, "routing", "prefix_254"), "nyeri-03");
    config_free(c);
}

static void takes_every_word_for_yes_and_no(void **state)
{
    static const char *const words[][2] = {
        { "yes", "no" }, { "true", "false" }, { "On", "OFF" }, { "1", "0" }
    };

    (void)state;
    for (int i = 0; i < 4; i++)
        for (int no = 0; no <= 1; no++) {
            char text[96];
            struct config *c;

            snprintf(text, sizeof text, "[relay]\nbranch=a\n[api]\nbehind_proxy = %s\n", words[i][no]);
            c = loaded(text);
            assert_int_equal(config_bool(c, "api", "behind_proxy"), !no);
            config_free(c);
        }
}

#define HEAD "[relay]\nbranch = a\n"

static void says_what_is_wrong_and_what_would_be_right(void **state)
{
    static const char *const cases[][2] = {
        { HEAD "[api]\nlisten = 80\n",
          ":4: [api] listen: \"80\" is not HOST:PORT, for example 127.0.0.1:8080" },
        { HEAD "[api]\nlisten = off\n",
          ":4: [api] listen: \"off\" is not HOST:PORT, for example 127.0.0.1:8080" },
        { HEAD "[desk]\nlisten = 8081\n",
          ":4: [desk] listen: \"8081\" is not HOST:PORT, for example 127.0.0.1:8080, nor off" },
        { HEAD "[api]\nlsten = 127.0.0.1:80\n",
          ":4: [api] lsten: there is no such key in this section (did you mean listen?)" },
        { HEAD "[api]\ncolour = red\n", ":4: [api] colour: there is no such key in this section" },
        { HEAD "[apis]\n", ":3: [apis]: there is no such section (did you mean api?)" },
        { HEAD "[templat otp]\n",
          ":3: [templat otp]: there is no such section (did you mean template NAME?)" },
        { HEAD "[template]\n", ":3: [template]: there is no such section (did you mean template NAME?)" },
        { HEAD "[something]\nx = 1\n", ":3: [something]: there is no such section" },
        { HEAD "branch = b\n", ":3: [relay] branch: is set already, in line 2" },
        { HEAD "[api]\n[relay]\n",
          ":4: [relay]: this section is there already, in line 1: put its keys together" },
        { "[api]\n", ": [relay] branch: is missing; the name of this branch, such as nyeri-03" },
        { "\n[relay]\n", ":2: [relay] branch: is missing; the name of this branch, such as nyeri-03" },
        { HEAD "[template x]\n", ":3: [template x] lane: is missing; it must be set" },
        { HEAD "[template x]\nlane = fast\n",
          ":4: [template x] lane: \"fast\" is none of urgent|alert|chat" },
        { HEAD "[template x]\nlane = urgent|alert\n",
          ":4: [template x] lane: \"urgent|alert\" is none of urgent|alert|chat" },
        { HEAD "[limits]\nstore_bytes_max = 5\n",
          ":4: [limits] store_bytes_max: \"5\" is not a whole number from 1048576 to 1099511627776" },
        { HEAD "[limits]\nstore_bytes_max = 2 GB\n",
          ":4: [limits] store_bytes_max: \"2 GB\" is not a whole number from 1048576 to 1099511627776" },
        { HEAD "[limits]\nstore_bytes_max = 99999999999999999999\n",
          ":4: [limits] store_bytes_max: \"99999999999999999999\" is not a whole number from 1048576 to "
          "1099511627776" },
        { HEAD "[api]\nbehind_proxy = maybe\n", ":4: [api] behind_proxy: \"maybe\" is neither yes nor no" },
        { HEAD "[api]\nwebhook_url = ; later\n", ":4: [api] webhook_url: has no value" },
        { "branch = a\n", ":1: branch: stands before the first [section]" },
        { HEAD "state\n", ":3: is neither \"key = value\" nor [section] nor a comment (; or #)" },
        { HEAD "state: /x\n", ":3: is neither \"key = value\" nor [section] nor a comment (; or #)" },
        { HEAD "state: a = /x\n", ":3: a key has no colon: write key = value" },
        { HEAD "state ;x = /x\n", ":3: is neither \"key = value\" nor [section] nor a comment (; or #)" },
        { HEAD "[api\n", ":3: a section begins as [name]: the ] is missing" },
        { HEAD "[api] listen = 127.0.0.1:80\n",
          ":3: after [section] only a comment may follow: put the key on a line of its own" },
        { HEAD "[template a ;b]\n", ":3: is neither \"key = value\" nor [section] nor a comment (; or #)" },
        { HEAD " state = /x\n", ":3: the line is indented: begin it in the first column" },
        { HEAD "state = a\tb\x01\n", ":3: byte 12 is the control character 0x01" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_complaint(cases[i][0], cases[i][1]);
}

static void refuses_what_the_library_would_cut(void **state)
{
    char line[256], text[512], complaint[128];
    struct config *c;

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "state = /", 9);
    line[190] = '\0';
    snprintf(text, sizeof text, HEAD "%s\r\n[desk]\n", line);
    c = loaded(text);
    assert_string_equal(config_text(c, "relay", "state"), line + 8);
    config_free(c);
    line[190] = 'x';
    line[191] = '\0';
    snprintf(text, sizeof text, HEAD "%s\n", line);
    check_complaint(text, ":3: the line has 191 bytes; at most 190 are allowed");
    memset(line, 'k', 49);
    strcpy(line + 49, " = 1");
    snprintf(text, sizeof text, HEAD "%s\n", line);
    check_complaint(text, ":3: a key has at most 48 bytes");
    snprintf(text, sizeof text, HEAD "[template %.48s]\n", line);
    snprintf(complaint, sizeof complaint, ":3: [template %.48s]: the name of a section has at most 48 bytes",
             line);
    check_complaint(text, complaint);
    snprintf(text, sizeof text, HEAD "[template %.39s]\nlane=chat\n", line);
    c = loaded(text);
    assert_int_equal(strlen(config_section_name(c, "template", 0)), 39);
    config_free(c);
}

static void reads_a_file_with_a_byte_order_mark(void **state)
{
    struct config *c = loaded("\xef\xbb\xbf" HEAD);

    (void)state;
    assert_int_equal(config_line(c, "relay", "branch"), 2);
    config_free(c);
}

static void says_when_the_file_itself_cannot_be_read(void **state)
{
    struct config_error error;
    struct config *c;
    char other[96];

    (void)state;
    snprintf(other, sizeof other, "%s/none.conf", folder);
    assert_int_equal(config_load(&c, other, keys, 1, &error), STATUS_IO);
    assert_non_null(strstr(error.text, "none.conf: cannot be read: there is no such file"));
    assert_int_equal(config_load(&c, folder, keys, 1, &error), STATUS_IO);
    snprintf(other, sizeof other, "%s/no/none.conf", folder);
    assert_int_equal(config_load(&c, other, keys, 1, &error), STATUS_IO);
    assert_int_equal(file_write(path, slice_of("[relay]\0\n", 9), 0600), STATUS_OK);
    assert_int_equal(config_load(&c, path, keys, 1, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "NUL"));
    assert_null(c);
}

static void complains_for_the_program_in_the_same_form(void **state)
{
    struct config *c = loaded(HEAD "[api]\nlisten = 0.0.0.0:8080\n");
    struct config_error error;
    char expected[256];

    (void)state;
    assert_int_equal(config_complain(c, "api", "listen", "needs its TLS files", &error), STATUS_INVALID);
    snprintf(expected, sizeof expected, "%s:4: [api] listen: needs its TLS files", path);
    assert_string_equal(error.text, expected);
    config_complain(c, "api", "webhook_url", "is not there", &error);
    snprintf(expected, sizeof expected, "%s:3: [api] webhook_url: is not there", path);
    assert_string_equal(error.text, expected);
    config_complain(c, "desk", "listen", "is not there", &error);
    snprintf(expected, sizeof expected, "%s: [desk] listen: is not there", path);
    assert_string_equal(error.text, expected);
    config_free(c);
}

static void finds_files_beside_the_configuration_from_anywhere(void **state)
{
    struct config_error error;
    struct config *c;
    char file[128], here[256];

    (void)state;
    assert_int_equal(file_write(path, slice_text(HEAD), 0600), STATUS_OK);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(config_load(&c, "relay.conf", keys, sizeof keys / sizeof *keys, &error), STATUS_OK);
    assert_int_equal(chdir(here), 0);
    snprintf(file, sizeof file, "%s/ca.pem", folder);
    assert_string_equal(config_text(c, "uplink", "ca_file"), file);
    config_free(c);
}

static void splits_addresses(void **state)
{
    static const char *const bad[] = { "",
                                       ":",
                                       ":80",
                                       "a:",
                                       "a",
                                       "::1:80",
                                       "[::1]",
                                       "[::1]80",
                                       "[]:80",
                                       "[a]:80",
                                       "127.0.0.1:65536",
                                       "127.0.0.1:-1",
                                       "127.0.0.1:1x",
                                       "127.0.0.1:000080",
                                       "1.2.3:80",
                                       "1.2.3.256:80",
                                       "a b:80",
                                       "http://a:80",
                                       "-a:80",
                                       "a:80 " };
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = { { "127.0.0.1:8080", "127.0.0.1", 8080 },
                 { "[::1]:0", "::1", 0 },
                 { "gw.example:65535", "gw.example", 65535 },
                 { "localhost:1", "localhost", 1 },
                 { "3com.example:80", "3com.example", 80 } };
    char host[256], longest[300];
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(config_address(good[i].text, host, &port), STATUS_OK);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (config_address(bad[i], host, &port) != STATUS_INVALID)
            fail_msg("taken: %s", bad[i]);
    memset(longest, 'a', sizeof longest);
    strcpy(longest + 255, ":80");
    assert_int_equal(config_address(longest, host, &port), STATUS_OK);
    memset(longest, 'a', sizeof longest);
    strcpy(longest + 256, ":80");
    assert_int_equal(config_address(longest, host, &port), STATUS_INVALID);
}

static void knows_what_only_this_machine_can_reach(void **state)
{
    (void)state;
    assert_true(config_is_loopback("127.0.0.1"));
    assert_true(config_is_loopback("127.9.8.7"));
    assert_true(config_is_loopback("::1"));
    assert_true(config_is_loopback("0:0:0:0:0:0:0:1"));
    assert_true(config_is_loopback("LocalHost"));
    assert_false(config_is_loopback("127.evil.example"));
    assert_false(config_is_loopback("0.0.0.0"));
    assert_false(config_is_loopback("::"));
    assert_false(config_is_loopback("localhost.example"));
    assert_false(config_is_loopback("10.0.0.1"));
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/relay.conf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_sample_of_the_manual),
        cmocka_unit_test(falls_back_to_what_is_documented),
        cmocka_unit_test(gives_keys_with_free_endings_in_order),
        cmocka_unit_test(takes_every_word_for_yes_and_no),
        cmocka_unit_test(says_what_is_wrong_and_what_would_be_right),
        cmocka_unit_test(refuses_what_the_library_would_cut),
        cmocka_unit_test(reads_a_file_with_a_byte_order_mark),
        cmocka_unit_test(says_when_the_file_itself_cannot_be_read),
        cmocka_unit_test(complains_for_the_program_in_the_same_form),
        cmocka_unit_test(finds_files_beside_the_configuration_from_anywhere),
        cmocka_unit_test(splits_addresses),
        cmocka_unit_test(knows_what_only_this_machine_can_reach),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
