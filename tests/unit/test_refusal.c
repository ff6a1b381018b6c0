/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "relay/refusal.h"

static void names_what_a_client_asked_for(void **state)
{
    static const struct {
        const char *method, *path, *word;
    } asked[] = {
        { "POST", "/v25.0/106540352242922/media", "uploading media" },
        { "GET", "/v25.0/1234567890", "reading media" },
        { "GET", "/1234567890/", "reading media" },
        { "DELETE", "/v25.0/1234567890", "deleting media" },
        { "POST", "/v23.0/106540352242922/", "PIN" },
        { "GET", "/v23.0/106540352242922/whatsapp_business_profile", "business profile" },
        { "GET", "/v23.0/102310231023/message_templates", "templates" },
        { "GET", "/v23.0/102310231023/message_templates/77", "templates" },
        { "POST", "/106540352242922/calls", "calls" },
        { "GET", "/v24.0/106540352242922/message_qrdls/", "QR codes" },
        { "DELETE", "/v24.0/106540352242922/message_qrdls/ABC", "QR codes" },
        { "POST", "/v24.0/106540352242922/register", "registering" },
        { "GET", "/v23.0/conversations/12", "conversations" },
        { "GET", "/v23.0/message_template_library", "template library" },
        { "GET", "/v23.0/106540352242922/messages/wamid.x", "history" },
    };
    char details[REFUSAL_DETAILS_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        if (!refusal_explain(asked[i].method, asked[i].path, details, sizeof details))
            fail_msg("%s is not known", asked[i].path);
        if (!strstr(details, asked[i].word) || !strstr(details, "Not supported"))
            fail_msg("%s: %s", asked[i].path, details);
        assert_true(strlen(details) < sizeof details - 1); /* Not cut. */
    }
}

static void knows_no_paths_that_are_nobodys(void **state)
{
    static const char *const paths[] = {
        "/", "", "*", "/index.html", "/v25.0/1234/nothing", "/12/34/56", "/nyeri/media", "//1", "/1/media2"
    };
    char details[REFUSAL_DETAILS_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (refusal_explain("GET", paths[i], details, sizeof details))
            fail_msg("%s is known: %s", paths[i], details);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_what_a_client_asked_for),
        cmocka_unit_test(knows_no_paths_that_are_nobodys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
