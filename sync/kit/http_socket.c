/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/kit/http_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sync/protocol/status.h"

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static int address_of(union address *a, socklen_t *length, const char *host, uint16_t port)
{
    *a = (union address){ 0 };
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &a->four.sin_addr) == 1) {
        a->four.sin_family = AF_INET;
        a->four.sin_port = htons(port);
        *length = sizeof a->four;
    } else if (inet_pton(AF_INET6, host, &a->six.sin6_addr) == 1) {
        a->six.sin6_family = AF_INET6;
        a->six.sin6_port = htons(port);
        *length = sizeof a->six;
    } else {
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static int listen_status(int error)
{
    switch (error) {
    case EADDRINUSE: return STATUS_BUSY;
    case EACCES: return STATUS_DENIED;
    case EADDRNOTAVAIL: return STATUS_INVALID;
    default: return STATUS_IO;
    }
}

int http_socket_open(int *out, const char *host, uint16_t *port)
{
    union address a;
    socklen_t length;
    int on = 1, status = address_of(&a, &length, host, *port), fd;

    if (status != STATUS_OK)
        return status;
    fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return STATUS_IO;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(fd, &a.any, length) != 0 ||
        listen(fd, SOMAXCONN) != 0 || getsockname(fd, &a.any, &length) != 0) {
        status = listen_status(errno);
        close(fd);
        return status;
    }
    *port = ntohs(a.any.sa_family == AF_INET ? a.four.sin_port : a.six.sin6_port);
    *out = fd;
    return STATUS_OK;
}

void http_socket_peer(const struct sockaddr *from, char out[HTTP_SOCKET_PEER_ROOM])
{
    const struct sockaddr_in *four = (const void *)from;
    const struct sockaddr_in6 *six = (const void *)from;

    out[0] = '\0';
    if (from && from->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &four->sin_addr, out, HTTP_SOCKET_PEER_ROOM);
    else if (from && from->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        (void)inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, out, HTTP_SOCKET_PEER_ROOM);
    else if (from && from->sa_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &six->sin6_addr, out, HTTP_SOCKET_PEER_ROOM);
}
