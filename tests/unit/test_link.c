/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/kit/link.h"
#include "sync/protocol/status.h"

#define MESSAGE_BYTES_MAX 100000u
#define BURST 200u
#define STRANGERS 128

static char folder[] = "/var/tmp/zajel-link-XXXXXX";

/* What one end of a link has seen. */
struct end {
    struct world *world;
    struct link *link; /* While there is one. */
    unsigned ups, downs, messages;
    size_t expect[BURST + 2]; /* Lengths of the messages to come. */
    uint16_t code;
    char why[96];
    bool wrong;
};

/* A server and a client in one loop. A test says what ends the loop; a guard ends it when that does not come.
 */
struct world {
    struct loop *loop;
    struct loop_timer guard;
    struct link_server *server;
    struct link_client *client;
    struct end there, here; /* Of the server, of the client. */
    unsigned admitted;
    bool deny;
    char peer[128];
    bool (*enough)(const struct world *w);
    char url[64];
    atomic_bool thread_done;
    char *command;
    char output[4096];
    size_t output_length;
};

static void world_look(struct world *w)
{
    if (w->enough && w->enough(w))
        loop_stop(w->loop);
}

static void world_turn(void *owner)
{
    world_look(owner);
}

static uint8_t byte_at(unsigned message, size_t at)
{
    return (uint8_t)(message * 31u + at * 7u + at / 251u);
}

static int end_send(struct end *e, unsigned message, size_t length)
{
    uint8_t *bytes = malloc(length + 1);
    int status;

    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(message, i);
    status = link_send(e->link, slice_of(bytes, length));
    free(bytes);
    return status;
}

static void on_up(void *owner, struct link *link)
{
    struct end *e = owner;

    e->ups++;
    e->link = link;
    world_look(e->world);
}

static void on_message(void *owner, struct link *link, struct slice bytes)
{
    struct end *e = owner;

    if (link != e->link || e->messages >= BURST + 2 || bytes.length != e->expect[e->messages])
        e->wrong = true;
    for (size_t i = 0; i < bytes.length; i++)
        e->wrong |= bytes.at[i] != byte_at(e->messages, i);
    e->messages++;
    world_look(e->world);
}

static void on_down(void *owner, struct link *link, uint16_t close_code, const char *why)
{
    struct end *e = owner;

    (void)link;
    e->downs++;
    e->link = NULL;
    e->code = close_code;
    snprintf(e->why, sizeof e->why, "%s", why);
    world_look(e->world);
}

static void *on_admit(void *owner, const char *peer, const uint8_t fingerprint[32],
                      int64_t certificate_until_s)
{
    struct world *w = owner;
    uint8_t none[32] = { 0 };

    w->admitted++;
    snprintf(w->peer, sizeof w->peer, "%s", peer);
    w->there.wrong |= memcmp(fingerprint, none, sizeof none) == 0 || certificate_until_s < 1700000000;
    return w->deny ? NULL : &w->there;
}

static const struct link_events events = {
    .admit = on_admit,
    .up = on_up,
    .message = on_message,
    .down = on_down,
};

static void world_overslept(void *owner)
{
    struct world *w = owner;

    fail_msg("waited in vain: here %u up %u down %u messages (%s), there %u up %u down %u messages (%s)",
             w->here.ups, w->here.downs, w->here.messages, w->here.why, w->there.ups, w->there.downs,
             w->there.messages, w->there.why);
}

static void world_until(struct world *w, bool (*enough)(const struct world *w))
{
    w->enough = enough;
    loop_timer_set(&w->guard, loop_now_ms() + 10000);
    if (!enough(w))
        assert_int_equal(loop_run(w->loop), STATUS_OK);
    loop_timer_set(&w->guard, UINT64_MAX);
    w->enough = NULL;
}

static char *in_folder(const char *name)
{
    static char paths[32][128];
    static unsigned turn;
    char *path = paths[turn++ % 32];

    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static void world_serve(struct world *w, uint16_t port)
{
    struct link_server_options options = {
        .host = "127.0.0.1",
        .port = port,
        .certificate_file = in_folder("server.pem"),
        .key_file = in_folder("server.key"),
        .client_ca_file = in_folder("ca.pem"),
        .message_bytes_max = MESSAGE_BYTES_MAX,
        .links_max = 2,
        .events = &events,
        .owner = w,
    };

    assert_int_equal(link_server_open(&w->server, w->loop, &options), STATUS_OK);
}

static void world_aim(struct world *w, const char *host, uint16_t port, const char *ca, const char *identity,
                      size_t message_bytes_max)
{
    char certificate[32], key[32];
    struct link_client_options options = {
        .url = w->url,
        .ca_file = in_folder(ca),
        .message_bytes_max = message_bytes_max,
        .connect_ms_max = 3000,
        .events = &events,
        .owner = &w->here,
    };

    snprintf(w->url, sizeof w->url, "wss://%s:%u/sync", host, (unsigned)port);
    if (identity) {
        snprintf(certificate, sizeof certificate, "%s.pem", identity);
        snprintf(key, sizeof key, "%s.key", identity);
        options.certificate_file = in_folder(certificate);
        options.key_file = in_folder(key);
    }
    link_client_close(w->client);
    w->client = NULL;
    assert_int_equal(link_client_open(&w->client, w->loop, &options), STATUS_OK);
}

static void world_start_with(struct world *w, unsigned descriptors_max)
{
    struct loop_options options = { .turn = world_turn, .owner = w, .descriptors_max = descriptors_max };

    memset(w, 0, sizeof *w);
    w->here.world = w->there.world = w;
    assert_int_equal(loop_open(&w->loop, &options), STATUS_OK);
    assert_int_equal(loop_timer_open(&w->guard, w->loop, world_overslept, w), STATUS_OK);
    world_serve(w, 0);
    world_aim(w, "127.0.0.1", link_server_port(w->server), "ca.pem", "box", MESSAGE_BYTES_MAX);
}

static void world_start(struct world *w)
{
    world_start_with(w, 64);
}

static void world_end(struct world *w)
{
    assert_false(w->here.wrong);
    assert_false(w->there.wrong);
    link_client_close(w->client);
    link_server_close(w->server);
    loop_timer_close(&w->guard);
    loop_close(w->loop);
}

static void world_connect(struct world *w)
{
    struct link *link;
    unsigned downs = w->here.downs;

    assert_int_equal(link_connect(w->client, &link), STATUS_OK);
    assert_non_null(link);
    assert_int_equal(w->here.downs, downs);
}

static bool both_up(const struct world *w)
{
    return w->here.link && w->there.link;
}

static bool here_down(const struct world *w)
{
    return w->here.downs > 0;
}

static bool both_down(const struct world *w)
{
    return w->here.downs > 0 && w->there.downs > 0;
}

static bool all_arrived(const struct world *w)
{
    return w->here.messages == BURST + 2 && w->there.messages == BURST + 2;
}

static void carries_messages_whole_and_in_order_both_ways(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_connect(&w);
    world_until(&w, both_up);
    assert_string_equal(w.peer, "nyeri-03");
    for (unsigned i = 0; i < BURST + 2; i++) {
        size_t length = i == 0 ? 1 : i == 1 ? 70000 : (i * 37u) % 600u; /* None of it is a message as well. */
        w.here.expect[i] = w.there.expect[i] = length;
        assert_int_equal(end_send(&w.here, i, length), STATUS_OK);
        assert_int_equal(end_send(&w.there, i, length), STATUS_OK);
    }
    assert_true(link_queued_bytes(w.here.link) >= 70000);
    world_until(&w, all_arrived);
    assert_int_equal(link_queued_bytes(w.here.link), 0);
    assert_int_equal(link_queued_bytes(w.there.link), 0);
    assert_int_equal(w.here.downs + w.there.downs, 0);
    world_end(&w);
    assert_int_equal(w.here.downs, 1); /* Told when the client was closed. */
    assert_int_equal(w.there.downs, 1);
}

static void refuses_to_queue_more_than_four_of_the_largest(void **state)
{
    struct world w;
    unsigned taken = 0;
    static uint8_t large[MESSAGE_BYTES_MAX + 1];

    (void)state;
    world_start(&w);
    world_connect(&w);
    world_until(&w, both_up);
    assert_int_equal(link_send(w.here.link, slice_of(large, MESSAGE_BYTES_MAX + 1)), STATUS_TOO_LARGE);
    while (link_send(w.here.link, slice_of(large, 50000)) == STATUS_OK)
        taken++;
    assert_int_equal(link_send(w.here.link, slice_of(large, 50000)), STATUS_FULL);
    assert_in_range(taken, 7, 8);
    world_end(&w);
}

static void expect_refusal(struct world *w)
{
    world_connect(w);
    world_until(w, here_down);
    assert_int_equal(w->here.downs, 1);
    assert_int_equal(w->here.ups, 0);
    assert_int_equal(w->there.ups, 0);
    assert_true(w->here.why[0]);
    world_end(w);
}

static void refuses_a_client_without_a_certificate(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_aim(&w, "127.0.0.1", link_server_port(w.server), "ca.pem", NULL, MESSAGE_BYTES_MAX);
    expect_refusal(&w);
    assert_int_equal(w.admitted, 0);
}

static void refuses_a_client_of_an_unknown_ca(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_aim(&w, "127.0.0.1", link_server_port(w.server), "ca.pem", "stranger", MESSAGE_BYTES_MAX);
    expect_refusal(&w);
    assert_int_equal(w.admitted, 0);
}

static void refuses_a_client_that_the_owner_does_not_admit(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    w.deny = true;
    expect_refusal(&w);
    assert_int_equal(w.admitted, 1);
    assert_int_equal(w.there.downs, 0);
}

static void refuses_a_server_of_an_unknown_ca(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_aim(&w, "127.0.0.1", link_server_port(w.server), "other-ca.pem", "box", MESSAGE_BYTES_MAX);
    expect_refusal(&w);
}

static void refuses_a_server_whose_certificate_is_for_another_host(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    link_server_close(w.server);
    w.server = NULL;
    assert_int_equal(rename(in_folder("server.pem"), in_folder("kept.pem")), 0);
    assert_int_equal(rename(in_folder("elsewhere.pem"), in_folder("server.pem")), 0);
    world_serve(&w, 0);
    assert_int_equal(rename(in_folder("server.pem"), in_folder("elsewhere.pem")), 0);
    assert_int_equal(rename(in_folder("kept.pem"), in_folder("server.pem")), 0);
    world_aim(&w, "127.0.0.1", link_server_port(w.server), "ca.pem", "box", MESSAGE_BYTES_MAX);
    expect_refusal(&w);
}

static bool here_decided(const struct world *w)
{
    return w->here.link || w->here.downs;
}

static void resolves_a_name_off_the_loop(void **state)
{
    struct world w;
    unsigned tries = 0;

    (void)state;
    world_start(&w);
    world_aim(&w, "localhost", link_server_port(w.server), "ca.pem", "box", MESSAGE_BYTES_MAX);
    do { /* "localhost" may first stand for ::1, where nobody listens; then its next address is tried. */
        w.here.downs = 0;
        world_connect(&w);
        world_until(&w, here_decided);
        tries++;
    } while (!w.here.link && tries < 3);
    assert_int_equal(w.here.ups, 1);
    world_end(&w);
}

static void closes_1009_at_a_message_too_large(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_aim(&w, "127.0.0.1", link_server_port(w.server), "ca.pem", "box", MESSAGE_BYTES_MAX * 2);
    world_connect(&w);
    world_until(&w, both_up);
    assert_int_equal(end_send(&w.here, 0, MESSAGE_BYTES_MAX + 1), STATUS_OK);
    world_until(&w, both_down);
    assert_int_equal(w.here.code, 1009);
    assert_int_equal(w.here.downs, 1);
    assert_int_equal(w.there.downs, 1);
    assert_int_equal(w.there.messages, 0);
    world_end(&w);
}

static void closes_1009_at_the_client_too(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_aim(&w, "127.0.0.1", link_server_port(w.server), "ca.pem", "box", 6000);
    world_connect(&w);
    world_until(&w, both_up);
    assert_int_equal(end_send(&w.there, 0, 90000),
                     STATUS_OK); /* More than is looked at comes in one TLS record. */
    world_until(&w, both_down);
    assert_int_equal(w.there.code, 1009);
    assert_int_equal(w.here.messages, 0);
    world_end(&w);
}

static void tells_the_peer_the_close_code_after_what_is_queued(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_connect(&w);
    world_until(&w, both_up);
    w.here.expect[0] = 70000;
    assert_int_equal(end_send(&w.there, 0, 70000), STATUS_OK);
    link_close(w.there.link, 4001, "replaced");
    link_close(w.there.link, 4002, "again does nothing");
    assert_int_equal(w.there.downs, 0); /* Never from within link_close(). */
    assert_int_equal(end_send(&w.there, 1, 1), STATUS_UNAVAILABLE);
    world_until(&w, both_down);
    assert_int_equal(w.here.messages, 1);
    assert_int_equal(w.here.code, 4001);
    assert_int_equal(w.there.code, 0);
    assert_int_equal(w.here.downs, 1);
    assert_int_equal(w.there.downs, 1);
    world_end(&w);
}

static void closes_a_link_that_is_still_being_made(void **state)
{
    struct world w;
    struct link *link;

    (void)state;
    world_start(&w);
    assert_int_equal(link_connect(w.client, &link), STATUS_OK);
    link_close(link, 1000, "never mind");
    assert_int_equal(w.here.downs, 0);
    world_until(&w, here_down);
    assert_int_equal(w.here.downs, 1);
    assert_int_equal(w.here.ups, 0);
    world_end(&w);
}

static void comes_back_after_the_server_was_gone(void **state)
{
    struct world w;
    uint16_t port;

    (void)state;
    world_start(&w);
    port = link_server_port(w.server);
    for (unsigned round = 1; round <= 3; round++) {
        world_connect(&w);
        world_until(&w, both_up);
        assert_int_equal(w.here.ups, round);
        link_server_close(w.server);
        w.server = NULL;
        w.there.downs = w.here.downs = 0;
        world_until(&w, here_down);
        assert_int_equal(w.here.downs, 1);

        w.here.downs = 0;
        world_connect(&w); /* Nobody listens. */
        world_until(&w, here_down);
        assert_int_equal(w.here.downs, 1);
        assert_int_equal(w.here.ups, round);
        world_serve(&w, port);
    }
    world_end(&w);
}

static void gives_up_on_a_port_that_accepts_and_says_nothing(void **state)
{
    struct world w;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    uint64_t start_ms;

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    world_start(&w);
    world_aim(&w, "127.0.0.1", ntohs(address.sin_port), "ca.pem", "box", MESSAGE_BYTES_MAX);
    world_connect(&w);
    start_ms = loop_now_ms();
    world_until(&w, here_down);
    assert_in_range(loop_now_ms() - start_ms, 2900, 4000);
    assert_int_equal(w.here.downs, 1);
    world_end(&w);
    close(fd);
}

static void stop_loop(void *owner)
{
    loop_stop(owner);
}

static void world_for_ms(struct world *w, uint64_t ms)
{
    struct loop_timer timer = { 0 };

    assert_int_equal(loop_timer_open(&timer, w->loop, stop_loop, w->loop), STATUS_OK);
    loop_timer_set(&timer, loop_now_ms() + ms);
    assert_int_equal(loop_run(w->loop), STATUS_OK);
    loop_timer_close(&timer);
}

/* So many strangers as there are places, and then some, all of this machine: they may be as many as they
 * like. */
static void makes_room_for_a_link_when_strangers_hold_all_places(void **state)
{
    struct world w;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fds[STRANGERS];

    (void)state;
    world_start_with(&w, 256);
    address.sin_port = htons(link_server_port(w.server));
    for (int i = 0; i < STRANGERS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&address, sizeof address), 0);
    }
    world_for_ms(&w, 300);
    world_connect(&w);
    world_until(&w, here_down);
    assert_int_equal(w.there.ups, 0); /* None has been here for long. */
    world_for_ms(&w, 2000);
    w.here.downs = 0;
    world_connect(&w);
    world_until(&w, both_up);
    for (int i = 0; i < STRANGERS; i++)
        close(fds[i]);
    world_end(&w);
}

static void says_busy_when_the_port_is_taken(void **state)
{
    struct world w;
    struct link_server *second;
    struct link_server_options options = { .host = "127.0.0.1",
                                           .certificate_file = in_folder("server.pem"),
                                           .key_file = in_folder("server.key"),
                                           .client_ca_file = in_folder("ca.pem"),
                                           .message_bytes_max = MESSAGE_BYTES_MAX,
                                           .links_max = 2,
                                           .events = &events };

    (void)state;
    world_start(&w);
    options.port = link_server_port(w.server);
    assert_int_equal(link_server_open(&second, w.loop, &options), STATUS_BUSY);
    options.port = 0;
    options.key_file = in_folder("box.key");
    assert_int_equal(link_server_open(&second, w.loop, &options), STATUS_INVALID);
    world_end(&w);
}

/* A client of another make, in a thread of its own: openssl's, told by the shell what to send. */
static void *thread_runs_command(void *argument)
{
    struct world *w = argument;
    FILE *pipe = popen(w->command, "r");

    if (pipe) {
        w->output_length = fread(w->output, 1, sizeof w->output - 1, pipe);
        pclose(pipe);
    }
    atomic_store(&w->thread_done, true);
    loop_wake(w->loop);
    return NULL;
}

static bool command_done(const struct world *w)
{
    return atomic_load(&w->thread_done);
}

static void world_command(struct world *w, const char *say)
{
    char command[1024];
    pthread_t thread;

    snprintf(command, sizeof command,
             "( %s ) | timeout 5 openssl s_client -quiet -connect 127.0.0.1:%u -CAfile %s -cert %s -key %s "
             "2>/dev/null",
             say, (unsigned)link_server_port(w->server), in_folder("ca.pem"), in_folder("box.pem"),
             in_folder("box.key"));
    w->command = command;
    assert_int_equal(pthread_create(&thread, NULL, thread_runs_command, w), 0);
    world_until(w, command_done);
    assert_int_equal(pthread_join(thread, NULL), 0);
    w->command = NULL;
}

static void answers_404_to_every_other_request(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_command(&w, "printf 'GET /sync HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'; sleep 1");
    assert_int_equal(strncmp(w.output, "HTTP/1.1 404 ", 13), 0);
    assert_int_equal(w.admitted, 0);
    world_end(&w);
}

#define UPGRADE(path, protocol) \
    "printf 'GET " path \
    " HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n" protocol \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n'; "

#define OURS "Sec-WebSocket-Protocol: zajel.1\\r\\n"

static void closes_1003_at_a_text_message(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_command(&w, UPGRADE("/sync", OURS) "sleep 0.3; printf '\\201\\201\\0\\0\\0\\0a'; sleep 1");
    assert_int_equal(w.there.ups, 1);
    assert_int_equal(w.there.messages, 0);
    assert_int_equal(strncmp(w.output, "HTTP/1.1 101 ", 13), 0);
    assert_non_null(memmem(w.output, w.output_length, "\003\353not a binary message", 22));
    world_end(&w);
    assert_int_equal(w.there.downs, 1);
}

static void upgrades_nothing_but_its_own_path_and_protocol(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    world_command(&w, UPGRADE("/other", OURS) "sleep 0.5");
    assert_null(memmem(w.output, w.output_length, " 101 ", 5));
    w.thread_done = false;
    world_command(&w, UPGRADE("/sync", "") "sleep 0.5");
    assert_null(memmem(w.output, w.output_length, " 101 ", 5));
    assert_int_equal(w.admitted, 0);
    world_end(&w);
}

static bool some_arrived(const struct world *w)
{
    return w->there.messages > 0;
}

static void makes_the_peer_wait_while_paused(void **state)
{
    struct world w;
    struct loop_timer timer = { 0 };

    (void)state;
    world_start(&w);
    world_connect(&w);
    world_until(&w, both_up);
    link_pause(w.there.link, true);
    w.there.expect[0] = 10;
    assert_int_equal(end_send(&w.here, 0, 10), STATUS_OK);
    assert_int_equal(loop_timer_open(&timer, w.loop, (void (*)(void *))loop_stop, w.loop), STATUS_OK);
    loop_timer_set(&timer, loop_now_ms() + 100);
    assert_int_equal(loop_run(w.loop), STATUS_OK);
    assert_int_equal(w.there.messages, 0);
    link_pause(w.there.link, false);
    world_until(&w, some_arrived);
    loop_timer_close(&timer);
    world_end(&w);
}

static void goes_on_with_a_renewed_certificate(void **state)
{
    struct world w;

    (void)state;
    world_start(&w);
    assert_int_equal(link_server_reload(w.server), STATUS_OK);
    world_connect(&w);
    world_until(&w, both_up);
    assert_int_equal(link_server_reload(w.server), STATUS_OK);
    assert_int_equal(w.here.downs, 0);
    world_end(&w);
}

static int make_certificates(void **state)
{
    char command[4096];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(
        command, sizeof command,
        "cd %s && exec 2>/dev/null\n"
        "key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }\n"
        "ca() { key $1; openssl req -x509 -new -key $1.key -subj /CN=$1 -days 2 -out $1.pem; }\n"
        "sign() { key $1; openssl req -new -key $1.key -subj /CN=$2 -out $1.csr && echo \"$4\" >$1.ext &&\n"
        "  openssl x509 -req -in $1.csr -CA $3.pem -CAkey $3.key -CAcreateserial -days 2 -extfile $1.ext \\\n"
        "    -out $1.pem; }\n"
        "ca ca && ca other-ca && sign server gateway ca subjectAltName=IP:127.0.0.1,DNS:localhost &&\n"
        "sign box nyeri-03 ca extendedKeyUsage=clientAuth &&\n"
        "sign stranger nyeri-03 other-ca extendedKeyUsage=clientAuth &&\n"
        "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 2 \\\n"
        "  -extfile /dev/fd/3 -out elsewhere.pem 3<<END\nsubjectAltName=IP:127.0.0.2\nEND\n",
        folder);
    return system(command);
}

static int remove_certificates(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_messages_whole_and_in_order_both_ways),
        cmocka_unit_test(refuses_to_queue_more_than_four_of_the_largest),
        cmocka_unit_test(refuses_a_client_without_a_certificate),
        cmocka_unit_test(refuses_a_client_of_an_unknown_ca),
        cmocka_unit_test(refuses_a_client_that_the_owner_does_not_admit),
        cmocka_unit_test(refuses_a_server_of_an_unknown_ca),
        cmocka_unit_test(refuses_a_server_whose_certificate_is_for_another_host),
        cmocka_unit_test(resolves_a_name_off_the_loop),
        cmocka_unit_test(closes_1009_at_a_message_too_large),
        cmocka_unit_test(closes_1009_at_the_client_too),
        cmocka_unit_test(tells_the_peer_the_close_code_after_what_is_queued),
        cmocka_unit_test(closes_a_link_that_is_still_being_made),
        cmocka_unit_test(comes_back_after_the_server_was_gone),
        cmocka_unit_test(gives_up_on_a_port_that_accepts_and_says_nothing),
        cmocka_unit_test(makes_room_for_a_link_when_strangers_hold_all_places),
        cmocka_unit_test(says_busy_when_the_port_is_taken),
        cmocka_unit_test(answers_404_to_every_other_request),
        cmocka_unit_test(closes_1003_at_a_text_message),
        cmocka_unit_test(upgrades_nothing_but_its_own_path_and_protocol),
        cmocka_unit_test(makes_the_peer_wait_while_paused),
        cmocka_unit_test(goes_on_with_a_renewed_certificate),
    };

    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
