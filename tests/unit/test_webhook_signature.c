/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sync/gateway/webhook_signature.h"
#include "sync/kit/seal.h"
#include "sync/protocol/status.h"

static const char secret[] = "the app's secret";

static void sign(const char *body, char header[80])
{
    uint8_t mac[SEAL_HASH_BYTES];
    char hex[2 * SEAL_HASH_BYTES + 1];

    assert_int_equal(seal_hmac_sha256(slice_text(secret), slice_text(body), mac), STATUS_OK);
    text_hex(slice_of(mac, sizeof mac), hex);
    snprintf(header, 80, "sha256=%s", hex);
}

static int check(const char *header, const char *body)
{
    return webhook_signature_check(header, slice_text(secret), slice_text(body));
}

static void takes_what_is_signed_over_its_raw_bytes(void **state)
{
    char header[80];

    (void)state;
    sign("{\"a\":\"h\\u00e9\\/\"}", header);
    assert_int_equal(check(header, "{\"a\":\"h\\u00e9\\/\"}"), STATUS_OK);
    sign("{\"a\":\"h\xc3\xa9\"}", header);
    assert_int_equal(check(header, "{\"a\":\"h\xc3\xa9\"}"), STATUS_OK);
}

static void takes_what_is_signed_over_its_escaped_form(void **state)
{
    char header[80];

    (void)state;
    sign("{\"a\":\"h\\u00e9 \\u0645 \\ud83d\\ude0a\"}", header);
    assert_int_equal(check(header, "{\"a\":\"h\xc3\xa9 \xd9\x85 \xf0\x9f\x98\x8a\"}"), STATUS_OK);
}

static void refuses_all_others(void **state)
{
    char header[80];

    (void)state;
    sign("{}", header);
    assert_int_equal(check(header, "{} "), STATUS_DENIED);
    assert_int_equal(check(NULL, "{}"), STATUS_DENIED);
    assert_int_equal(check("", "{}"), STATUS_DENIED);
    assert_int_equal(check("sha256=", "{}"), STATUS_DENIED);
    assert_int_equal(check(header + 7, "{}"), STATUS_DENIED);
    header[70] = header[70] == '0' ? '1' : '0';
    assert_int_equal(check(header, "{}"), STATUS_DENIED);
    header[70] = '\0';
    assert_int_equal(check(header, "{}"), STATUS_DENIED);
    sign("\\u00e9", header); /* Not UTF-8, and so without an escaped form. */
    assert_int_equal(check(header, "\xe9"), STATUS_DENIED);
}

static void escapes_by_utf16_units(void **state)
{
    struct text out = { 0 };

    (void)state;
    assert_int_equal(webhook_signature_escape(slice_text("a\xc2\x80\xef\xbf\xbf\xf4\x8f\xbf\xbfz"), &out),
                     STATUS_OK);
    assert_string_equal(out.at, "a\\u0080\\uffff\\udbff\\udfffz");
    text_clear(&out);
    assert_int_equal(webhook_signature_escape(slice_text("\xed\xa0\x80"), &out), STATUS_INVALID);
    assert_int_equal(webhook_signature_escape(slice_text("\xc2"), &out), STATUS_INVALID);
    assert_int_equal(webhook_signature_escape(slice_text("\xc2z"), &out), STATUS_INVALID);
    text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_signed_over_its_raw_bytes),
        cmocka_unit_test(takes_what_is_signed_over_its_escaped_form),
        cmocka_unit_test(refuses_all_others),
        cmocka_unit_test(escapes_by_utf16_units),
    };

    if (seal_start() != STATUS_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
