/* SPDX-License-Identifier: Apache-2.0 */
/* A load of sends: CLIENTS keep-alive connections post COUNT requests in all, each waiting for its answer,
 * and what it took is printed as one JSON line. Bodies are read from standard input, one a line, and used in
 * turn. load PORT TOKEN NUMBER CLIENTS COUNT < bodies */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BODIES_MAX 100000u
#define ANSWER_MAX 8192u

static struct {
    uint16_t port;
    const char *token, *number;
    size_t clients, count;
    char **bodies;
    size_t body_count;
    atomic_size_t next;
    atomic_size_t refused; /* Answers other than 2xx. */
    uint32_t *took_us;     /* Of each request; UINT32_MAX: not answered. */
} load;

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int dial(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(load.port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
        perror("load: connect");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void write_all(int fd, const char *at, size_t length)
{
    while (length) {
        ssize_t n = write(fd, at, length);

        if (n <= 0) {
            perror("load: write");
            exit(1);
        }
        at += n;
        length -= (size_t)n;
    }
}

/* One whole answer with a Content-Length; returns its status. */
static int read_answer(int fd)
{
    char room[ANSWER_MAX + 1];
    size_t have = 0;

    for (;;) {
        ssize_t n = read(fd, room + have, ANSWER_MAX - have);
        const char *end, *length;

        if (n <= 0) {
            fprintf(stderr, "load: the answer ended early\n");
            exit(1);
        }
        have += (size_t)n;
        room[have] = 0;
        end = strstr(room, "\r\n\r\n");
        length = strcasestr(room, "\r\ncontent-length:");
        if (end && length && have >= (size_t)(end + 4 - room) + strtoul(length + 17, NULL, 10))
            return atoi(room + 9);
    }
}

static void *client(void *unused)
{
    int fd = dial();
    char *request = malloc(65536);

    (void)unused;
    for (;;) {
        size_t i = atomic_fetch_add(&load.next, 1);
        const char *body = load.bodies[i % load.body_count];
        uint64_t began;
        int length, status;

        if (i >= load.count)
            break;
        length =
            snprintf(request, 65536,
                     "POST /v23.0/%s/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     load.number, load.token, strlen(body), body);
        began = now_us();
        write_all(fd, request, (size_t)length);
        status = read_answer(fd);
        load.took_us[i] = (uint32_t)(now_us() - began);
        if (status / 100 != 2)
            atomic_fetch_add(&load.refused, 1);
    }
    free(request);
    close(fd);
    return NULL;
}

static void read_bodies(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    load.bodies = calloc(BODIES_MAX, sizeof *load.bodies);
    while (load.body_count < BODIES_MAX && (length = getline(&line, &room, stdin)) > 0) {
        if (line[length - 1] == '\n')
            line[length - 1] = 0;
        load.bodies[load.body_count++] = strdup(line);
    }
    free(line);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static uint32_t quantile(double q)
{
    return load.took_us[(size_t)(q * (double)(load.count - 1))];
}

int main(int argc, char **argv)
{
    pthread_t *threads;
    uint64_t began;
    double seconds;
    size_t i;

    if (argc != 6) {
        fprintf(stderr, "usage: load PORT TOKEN NUMBER CLIENTS COUNT < bodies\n");
        return 2;
    }
    load.port = (uint16_t)atoi(argv[1]);
    load.token = argv[2];
    load.number = argv[3];
    load.clients = strtoul(argv[4], NULL, 10);
    load.count = strtoul(argv[5], NULL, 10);
    read_bodies();
    if (!load.body_count || !load.clients || !load.count)
        return 2;
    load.took_us = calloc(load.count, sizeof *load.took_us);
    threads = calloc(load.clients, sizeof *threads);
    began = now_us();
    for (i = 0; i < load.clients; i++)
        pthread_create(&threads[i], NULL, client, NULL);
    for (i = 0; i < load.clients; i++)
        pthread_join(threads[i], NULL);
    seconds = (double)(now_us() - began) / 1e6;
    qsort(load.took_us, load.count, sizeof *load.took_us, by_size);
    printf("{\"count\":%zu,\"refused\":%zu,\"seconds\":%.3f,\"per_second\":%.0f,"
           "\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u}\n",
           load.count, (size_t)load.refused, seconds, (double)load.count / seconds, quantile(0.5),
           quantile(0.99), quantile(0.999));
    return 0;
}
