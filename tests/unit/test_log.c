/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/kit/log.h"

static int kept_stderr = -1, ear = -1;

/* From here on standard error is heard by the test; one datagram is one write. */
static void listen_to_stderr(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    kept_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    ear = ends[0];
}

static void give_stderr_back(void)
{
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    close(ear);
}

/* The next write; "" when there was none. */
static const char *heard(void)
{
    static char line[8192];
    ssize_t got = recv(ear, line, sizeof line - 1, MSG_DONTWAIT);

    line[got > 0 ? got : 0] = '\0';
    return line;
}

static void writes_one_line_at_once(void **state)
{
    const char *line;

    (void)state;
    listen_to_stderr();
    log_event(LOG_LEVEL_WARNING, "link_down", "branch=%s bytes=%zu", "nyeri-03", (size_t)12);
    line = heard();
    assert_int_equal(strncmp(line, "ts=2", 4), 0);
    assert_int_equal(strspn(line + 3, "0123456789-T:."), 23);
    assert_string_equal(line + 26, "Z level=warning event=link_down branch=nyeri-03 bytes=12\n");
    log_event(LOG_LEVEL_INFO, "started", "%s", "");
    assert_string_equal(heard() + 26, "Z level=info event=started\n");
    give_stderr_back();
}

static void keeps_quiet_below_its_level(void **state)
{
    (void)state;
    listen_to_stderr();
    log_event(LOG_LEVEL_DEBUG, "detail", "a=%d", 1);
    assert_string_equal(heard(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_event(LOG_LEVEL_DEBUG, "detail", "a=%d", 1);
    assert_non_null(strstr(heard(), "level=debug event=detail a=1\n"));
    log_set_level(LOG_LEVEL_ERROR);
    log_event(LOG_LEVEL_WARNING, "detail", "a=%d", 1);
    assert_string_equal(heard(), "");
    log_event(LOG_LEVEL_ERROR, "detail", "a=%d", 1);
    assert_non_null(strstr(heard(), "level=error"));
    log_set_level(LOG_LEVEL_INFO);
    give_stderr_back();
}

static void lets_no_value_begin_a_second_line(void **state)
{
    const char *line;

    (void)state;
    listen_to_stderr();
    log_event(LOG_LEVEL_INFO, "refused", "why=%s", "a\nts=x level=error\r\x1b[0m");
    line = heard();
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_null(strpbrk(line, "\r\x1b"));
    give_stderr_back();
}

/* Every length around the bound: whole up to it, else cut and marked, its quotes closed. */
static void cuts_a_line_that_is_too_long(void **state)
{
    char value[2100];

    (void)state;
    listen_to_stderr();
    for (size_t length = 1900; length < 2099; length++) {
        const char *line;
        size_t whole, quotes = 0;

        memset(value, 'v', sizeof value);
        value[length] = '\0';
        if (length > 1)
            value[length - 2] = '\\';
        log_event(LOG_LEVEL_INFO, "long", "a=\"%s\"", value);
        line = heard();
        whole = strlen("ts=2026-11-24T07:00:00.000Z level=info event=long a=\"\"\n") + length;
        assert_true(strlen(line) <= LOG_LINE_BYTES_MAX);
        assert_int_equal(line[strlen(line) - 1], '\n');
        if (whole <= LOG_LINE_BYTES_MAX) {
            assert_int_equal(strlen(line), whole);
            continue;
        }
        assert_string_equal(line + strlen(line) - strlen("\" cut=yes\n"), "\" cut=yes\n");
        for (const char *at = line; *at; at++) {
            if (*at == '\\')
                at++;
            else
                quotes += *at == '"';
        }
        assert_int_equal(quotes, 2);
    }
    give_stderr_back();
}

static void quotes_what_came_from_outside(void **state)
{
    char out[64], small[12];

    (void)state;
    assert_string_equal(log_quote(slice_text("plain text"), out, sizeof out), "\"plain text\"");
    assert_string_equal(log_quote(slice_text("a\"b\\c\n\r\t\x01\x7f\xc3\xa9"), out, sizeof out),
                        "\"a\\\"b\\\\c\\n\\r\\t\\x01\\x7f\\xc3\\xa9\"");
    assert_string_equal(log_quote(slice_of("a\0b", 3), out, sizeof out), "\"a\\x00b\"");
    assert_string_equal(log_quote(slice_of(NULL, 0), out, sizeof out), "\"\"");
    assert_string_equal(log_quote(slice_text("123456789"), small, sizeof small), "\"123456789\"");
    assert_string_equal(log_quote(slice_text("1234567890"), small, sizeof small), "\"123456...\"");
    assert_string_equal(log_quote(slice_text("12345\x01\x01"), small, sizeof small), "\"12345...\"");
    for (size_t room = LOG_QUOTE_ROOM_MIN; room < sizeof out; room++) {
        log_quote(slice_text("\x01\"\x02\\\x03\n\x04\x05\x06\x07\x08 and so on and on and on and on"), out,
                  room);
        assert_true(strlen(out) < room);
        assert_string_equal(out + strlen(out) - 4, "...\"");
    }
}

static void tells_no_whole_number(void **state)
{
    char out[8];

    (void)state;
    assert_string_equal(log_number(slice_text("254700000084"), out), "..84");
    assert_string_equal(log_number(slice_text("+254700000084"), out), "..84");
    assert_string_equal(log_number(slice_text("84"), out), "..");
    assert_string_equal(log_number(slice_text(""), out), "..");
    assert_string_equal(log_number(slice_text("a name"), out), "..");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_one_line_at_once),           cmocka_unit_test(keeps_quiet_below_its_level),
        cmocka_unit_test(lets_no_value_begin_a_second_line), cmocka_unit_test(cuts_a_line_that_is_too_long),
        cmocka_unit_test(quotes_what_came_from_outside),     cmocka_unit_test(tells_no_whole_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
