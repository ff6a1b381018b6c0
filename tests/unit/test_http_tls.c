/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sync/protocol/status.h"
#include "tests/unit/support_http.h"

static void world_make_certificate(struct httpd *w)
{
    char command[512];

    snprintf(w->folder, sizeof w->folder, "%s/zajel-http-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : P_tmpdir);
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->certificate, sizeof w->certificate, "%s/c.pem", w->folder);
    snprintf(w->key, sizeof w->key, "%s/k.pem", w->folder);
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s 2>%s/log",
        w->key, w->certificate, w->folder);
    assert_int_equal(system(command), 0);
    w->options.certificate_file = w->certificate;
    w->options.key_file = w->key;
}

static void world_remove_certificate(struct httpd *w)
{
    char path[128];

    snprintf(path, sizeof path, "%s/log", w->folder);
    (void)remove(path);
    (void)remove(w->certificate);
    (void)remove(w->key);
    assert_int_equal(rmdir(w->folder), 0);
}

static void client_speaks_tls(struct httpd *w)
{
    char command[512];
    FILE *pipe;

    snprintf(command, sizeof command,
             "printf 'GET /later HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /s HTTP/1.1\\r\\nHost: x\\r\\n"
             "Connection: close\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -CAfile %s "
             "-connect 127.0.0.1:%u 2>&1",
             w->certificate, http_port(w->server));
    pipe = popen(command, "r");
    if (!pipe)
        return;
    w->heard_bytes = fread(w->heard, 1, sizeof w->heard - 1, pipe);
    pclose(pipe);
}

static void speaks_tls(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    world_make_certificate(&w);
    httpd_open(&w);
    httpd_run(&w, client_speaks_tls);
    httpd_assert_heard(&w, "turn 1");
    httpd_assert_heard(&w, "GET|/s|-|-|-|127.0.0.1||tls");
    httpd_close(&w);
    world_remove_certificate(&w);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void client_falls_silent_in_its_hello(struct httpd *w)
{
    static const char half_hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    int fds[5];
    double before = cpu_seconds();

    for (size_t i = 0; i < 5; i++) {
        fds[i] = httpd_dial(w);
        (void)!send(fds[i], half_hello, sizeof half_hello - 1, MSG_NOSIGNAL);
    }
    usleep(500000);
    w->cpu_s = cpu_seconds() - before;
    for (size_t i = 0; i < 5; i++)
        close(fds[i]);
}

static void does_not_spin_for_handshakes_that_fell_silent(void **state)
{
    struct httpd w = { 0 };

    (void)state;
    world_make_certificate(&w);
    httpd_open(&w);
    httpd_run(&w, client_falls_silent_in_its_hello);
    assert_true(w.cpu_s < 0.25); /* A spin takes all of the 0.5 s; this takes a hundredth. */
    httpd_close(&w);
    world_remove_certificate(&w);
}

static unsigned descriptors_open(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void refuses_what_it_cannot_open_and_keeps_nothing(void **state)
{
    struct httpd w = { 0 };
    struct http_options bad;
    struct http_server *none = NULL;
    unsigned before;
    FILE *file;

    (void)state;
    world_make_certificate(&w);
    httpd_open(&w);
    before = descriptors_open();
    bad = w.options;
    bad.port = http_port(w.server);
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_BUSY);
    bad.port = 0;
    bad.host = "example.org";
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    bad.host = "192.0.2.1";
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    bad.host = "localhost";
    bad.key_file = w.certificate;
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    bad.key_file = "no such file";
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    file = fopen(w.key, "w");
    assert_non_null(file);
    fputs("no key", file);
    fclose(file);
    bad.key_file = w.key;
    assert_int_equal(http_open(&none, w.loop, &bad), STATUS_INVALID);
    assert_null(none);
    assert_int_equal(descriptors_open(), before);
    httpd_close(&w);
    world_remove_certificate(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_tls),
        cmocka_unit_test(does_not_spin_for_handshakes_that_fell_silent),
        cmocka_unit_test(refuses_what_it_cannot_open_and_keeps_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
