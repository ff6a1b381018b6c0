#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken peers on every port of both daemons: closed with a reason, logged once, and others go on being
served. test_input.py has the bad bodies of programs; here are the connections."""
import contextlib
import itertools
import json
import os
import random
import socket
import ssl
import struct
import threading
import time

import seen
import websocket
import zajel
from websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, frame
from zajel import BUILD, NUMBER, QUICK, World, request, set_keys, wait_for

CUSTOMER = "254711000001"
MIB = 1 << 20
SERVED_S = 2  # A post is answered within, whatever others do.
LOG_LINES = 40  # Of what one test's attacks may make a daemon say: it mutes a branch at 20 a minute.


def rss_anon(daemon):
    """Bytes of memory of the daemon's own."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon"))


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


class Honest(threading.Thread):
    """An honest program and an honest watcher, all the while: each ask is answered in time, and all texts arrive."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.over, self.count, self.worst, self.wrong = world, False, 0, {}, []

    def _time(self, what, act):
        began = time.monotonic()
        try:
            good = act()
        except OSError as e:
            good, what = False, f"{what} ({e})"
        took = time.monotonic() - began
        self.worst[what] = max(took, self.worst.get(what, 0))
        if not good or took > SERVED_S:
            self.wrong.append(f"{what}: {'good' if good else 'refused'} after {took:.1f} s")

    def _post(self):
        self.count += 1
        return self.world.branch.post({"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text",
                                       "text": {"body": f"honest {self.count}"}}).status == 200

    def run(self):
        while not self.over:
            self._time("post", self._post)
            self._time("board", lambda: request(self.world.board_port, "GET", "/readyz").status == 200)
            self._time("webhook", lambda: request(self.world.webhook_port, "POST", "/webhook", b"{}").status == 401)
            time.sleep(0.05)


@contextlib.contextmanager
def others_are_served(world, name, rss_mib=8):
    """What is done inside keeps nobody from being served, costs no memory that stays, and fills no log."""
    daemons = [world.gateway, world.branch.relay]
    before = [(rss_anon(d), len(d.log_text().splitlines())) for d in daemons]
    already, honest, began = len(world.received()), Honest(world), time.monotonic()
    honest.start()
    yield
    wait_for(lambda: honest.count >= 3, 5 * SERVED_S)  # An attack that is over at once is still measured.
    honest.over = True
    honest.join()
    assert not honest.wrong, f"{name}: {honest.wrong[:5]} of {len(honest.wrong)}"
    wait_for(lambda: len(world.received()) >= already + honest.count, 10, 0.05)
    assert len(world.received()) == already + honest.count
    for d, (rss, lines) in zip(daemons, before):
        assert d.alive, f"{d.program} did not outlive {name}"
        grown, said = rss_anon(d) - rss, len(d.log_text().splitlines()) - lines
        assert "asan" in BUILD or grown < rss_mib * MIB, f"{name}: {d.program} holds {grown >> 10} KiB more"
        assert said <= LOG_LINES, f"{name}: {d.program} logged {said} lines"
    print(f"      {name}: {time.monotonic() - began:.1f} s, {honest.count} posts, "
          f"slowest {max(honest.worst.values()) * 1000:.0f} ms")


# --- What a relay says, to say it wrong -------------------------------------------------------------------------------

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def hello(epochs=None, versions=(1, 1), store=None, boot=1, taken=b"\0"):
    epochs = [os.urandom(8)] if epochs is None else epochs
    body = (bytes(versions) + b"\1\1" + varint(MIB) + (store or os.urandom(8)) + varint(boot) + varint(0) +
            varint(len(epochs)) + b"".join(epochs) + taken)
    return b"\x10\x10" + varint(len(body)) + body


def batch(epoch=0, prev=0, step=1, rows=b"\0\4ab", lane=2):
    body = varint(epoch) + varint(prev) + varint(step) + rows
    return b"\x12" + bytes([0x20 | lane]) + varint(len(body)) + body


def ack(frames=0, marks=()):
    return (b"\x10" + bytes([0x40 | (2 if marks else 0)]) + varint(frames) +
            (varint(len(marks)) + b"".join(varint(where) + varint(mark) for where, mark in marks) if marks else b""))


def close(code, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


# What is wrong with it, the frames, how the link may end. 0: hung up on without a close frame.
BAD_FRAMES = [
    ("a text message", [frame(TEXT, b"hi")], (1003,)),
    ("an RSV bit", [frame(BINARY, b"hi", rsv=4)], (1002,)),
    ("the last RSV bit", [frame(BINARY, b"hi", rsv=1)], (1002,)),
    *[(f"opcode {o}", [frame(o, b"hi")], (1002,)) for o in (3, 7, 11, 15)],
    ("a ping in fragments", [frame(PING, b"hi", fin=False)], (1002,)),
    ("a close in fragments", [frame(CLOSE, b"\3\xe8", fin=False)], (1002,)),
    ("a ping of 126 bytes", [frame(PING, b"x" * 126)], (0, 1002)),
    ("a continuation of nothing", [frame(CONTINUATION, b"x")], (1002,)),
    ("a message inside a message", [frame(BINARY, b"x", fin=False), frame(BINARY, b"y")], (1002,)),
    ("a text inside a message", [frame(BINARY, b"x", fin=False), frame(TEXT, b"y")], (1002, 1003)),
    *[(f"close code {c}", [close(c, b"bye")], (1002,)) for c in (0, 999, 1004, 1005, 1006, 1015, 2999)],
    ("a close of one byte", [frame(CLOSE, b"\3")], (1002, 1005)),
    ("a close without a code", [frame(CLOSE)], (1000, 1005)),
    ("a close reason that is no UTF-8", [close(1000, b"\xff\xfe")], (0, 1002, 1007)),
    ("a close of 126 bytes", [close(1000, b"x" * 124)], (0, 1002)),
    ("a length of 2^63", [frame(BINARY, b"x" * 100, declared=1 << 63)], (0, 1002, 1009)),
    ("a length of 2^64 - 1", [frame(BINARY, b"x" * 100, declared=(1 << 64) - 1)], (0, 1002, 1009)),
    ("a length of 2^62, and some of it", [frame(BINARY, b"x" * MIB, declared=1 << 62)], (1009,)),
    ("a message of 70,001 bytes", [frame(BINARY, b"x" * 70001)], (1009,)),
    ("fragments without end", [frame(BINARY, b"x", fin=False)] + [frame(CONTINUATION, b"y" * 1000, fin=False)] * 200,
     (1009,)),
    ("an empty message", [frame(BINARY)], (4001,)),
    ("noise", [frame(BINARY, random.randbytes(300))], (4001, 4003)),
    ("another frame format", [frame(BINARY, b"\x20" + hello()[1:])], (4001,)),
    ("rows before the hello", [frame(BINARY, batch())], (4001,)),
    ("a version to come", [frame(BINARY, hello(versions=(7, 9)))], (4002,)),
    ("a hello cut short", [frame(BINARY, hello()[:-3])], (4001,)),
    ("an epoch of zero", [frame(BINARY, hello([bytes(8)]))], (4001,)),
    ("300 epochs", [frame(BINARY, hello([os.urandom(8) for _ in range(300)]))], (4001, 4003)),
    ("2^63 epochs", [frame(BINARY, b"\x10\x10\x1f\1\1\1\1" + varint(9) + b"s" * 8 + b"\1\0" + varint((1 << 63)) + b"eeeee")],
     (4001, 4003)),
    ("a second hello", [frame(BINARY, hello())] * 2, (4001,)),
    ("a reserved record", [frame(BINARY, hello()), frame(BINARY, b"\x10\x80")], (4001,)),
    ("a record of kind 15", [frame(BINARY, hello()), frame(BINARY, b"\x10\xf0")], (4001,)),
    ("rows of an epoch not announced", [frame(BINARY, hello()), frame(BINARY, batch(epoch=7))], (4001,)),
    ("rows of lane 9", [frame(BINARY, hello()), frame(BINARY, batch(lane=9))], (4001,)),
    ("a row longer than its batch", [frame(BINARY, hello()), frame(BINARY, batch(rows=b"\0\x7eab"))], (4001,)),
    ("rows that are no items", [frame(BINARY, hello()), frame(BINARY, batch(rows=b"\0\4\xff\xff"))], None),
    ("a block that unpacks to 4 GB", [frame(BINARY, hello()), frame(BINARY, batch(rows=b"\1" + varint(1 << 32) + b"ab"))],
     (4001, 4003)),
    ("a part of 2^62 bytes", [frame(BINARY, hello()), frame(BINARY, b"\x12\x32" + varint(17) + varint(0) * 2 + varint(1) +
                                                           varint(1 << 62) + varint(0) + b"\0abc")], (4001, 4003)),
    ("a mark beyond what was sent", [frame(BINARY, hello()), frame(BINARY, ack(0, [(2, 1000)]))], (4001,)),
    ("a mark of 2^64 - 1", [frame(BINARY, hello()), frame(BINARY, ack(0, [(2, (1 << 64) - 1)]))], (4001,)),
    ("65 marks", [frame(BINARY, hello()), frame(BINARY, ack(0, [(2, 0)] * 65))], (4001, 4003)),
    ("a receipt for frames not sent", [frame(BINARY, hello()), frame(BINARY, ack(99))], (4001,)),
    ("a varint of eleven bytes", [frame(BINARY, hello()), frame(BINARY, b"\x10\x50" + b"\x80" * 10 + b"\1")], (4001,)),
]
# Odd and allowed, or harmless: the link stays, until it is dropped by who opened it.
ODD_FRAMES = [
    ("a length in more bytes than needed", [frame(BINARY, hello(), form=127)]),
    ("a message that is not masked", [frame(BINARY, hello(), masked=False)]),  # libwebsockets takes it, over TLS rightly.
    ("a length of 2^62, and then nothing", [frame(BINARY, b"x" * 100, declared=1 << 62)]),
    ("a hello and silence", [frame(BINARY, hello())]),
    ("silence", []),
    ("a hello in single bytes", [frame(BINARY, b"", fin=False)] +
     [frame(CONTINUATION, bytes([b]), fin=False) for b in hello()] + [frame(CONTINUATION)]),
    ("pongs nobody asked for", [frame(PONG, b"x" * 125)] * 1000),
    ("a ping flood", [frame(PING, b"x" * 125)] * 20000),
    ("empty fragments", [frame(BINARY, b"", fin=False)] + [frame(CONTINUATION, b"", fin=False)] * 20000),
]


def dial(world, context, seconds=5, **how):
    """A link with a genuine certificate. A branch may have three, and the gateway hears late that one was dropped."""
    end = time.monotonic() + seconds
    while True:
        try:
            return websocket.Client(world.sync_port, context, **how)
        except websocket.Refused:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def say_wrong_things(world, context):
    for name, frames, codes in BAD_FRAMES[::2] if QUICK else BAD_FRAMES:
        with dial(world, context) as link:
            link.send(*frames)
            code, reason = link.hear_close(SERVED_S)
            if codes is None:
                codes = (None, 0, 4001, 4100)
            assert code in codes, f"{name}: closed with {code} {reason!r}, not {codes}"
            assert code in (None, 0, 1000, 1002, 1005) or reason, f"{name}: {code} without a reason"


def say_odd_things(world, context):
    for name, frames in ODD_FRAMES:
        with dial(world, context) as link:
            link.send(*frames)
            code, reason = link.hear_close(0.1 if QUICK else 0.3)
            assert code is None, f"{name}: closed with {code} {reason!r}"


def say_random_things(world, context):
    """After a good hello: records with good heads and random insides, whole ones cut and flipped."""
    for _ in range(10 if QUICK else 60):
        with dial(world, context) as link:
            good = [batch(), ack(), b"\x10\x50\5", b"\x10\x60", b"\x10\x70\1\2\3", hello()]
            link.message(hello())
            for _ in range(20):
                record = bytearray(random.choice(good))
                for _ in range(random.randrange(4)):
                    record[random.randrange(1, len(record))] = random.randrange(256)
                if not link.message(bytes(record[:random.randrange(1, len(record) + 1)])):
                    break
            code, _ = link.hear_close(0.02)
            assert code in (None, 0, 4001, 4003, 4100), code


def connect_300_at_once(world, context):
    """With a good certificate, in one moment; three get in, and hold on to it."""
    links, refused, lock = [], [], threading.Lock()

    def one():
        try:
            link = websocket.Client(world.sync_port, context, timeout=20)
        except (websocket.Refused, OSError) as e:
            with lock:
                refused.append(e)
            return
        with lock:
            links.append(link)
    threads = [threading.Thread(target=one) for _ in range(100 if QUICK else 300)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert 1 <= len(links) <= 3, f"{len(links)} of one branch were let in"
    for link in links:
        link.drop()


def test_wrong_frames_are_closed_with_a_reason_and_harm_nobody():
    with World(branches=("nyeri-03", "kitui-01"), start=False) as w:
        w.sandbox.start()
        w.gateway.start()
        wait_for(w.gateway_ready)
        w.branch.start()
        wait_for(w.branch.linked)
        stranger = websocket.tls(w.branches[1].folder)
        for attack in (say_wrong_things, say_odd_things, say_random_things, connect_300_at_once):
            with others_are_served(w, attack.__name__):
                attack(w, stranger)
        log = w.gateway.log_text()
        assert "event=link_closed branch=kitui-01 code=0 why=\"not a binary message\"" in log
        assert log.count("branch=kitui-01") <= 3 * 21, "one branch fills the log"
        assert log.count("event=link_up branch=nyeri-03") == 1, "the honest link was disturbed"
        # A thief with the same certificate, beside the box: he neither gets its link nor ends it.
        if not QUICK:
            with others_are_served(w, "a thief beside the box"):
                own = websocket.tls(w.branch.folder)
                for _, frames, _ in BAD_FRAMES[::3]:
                    with dial(w, own) as link:
                        link.send(*frames)
                        link.hear_close(1)
            assert w.branch.relay.log_text().count("event=link_up") == 1
            # The second box itself is welcome at last.
            w.branches[1].start()
            wait_for(w.branches[1].linked)


# --- Connections that never become requests ---------------------------------------------------------------------------

def swarm(port, count, source="127.0.0.1"):
    """So many connections; those refused at once are left out."""
    for _ in range(count):
        with contextlib.suppress(OSError):
            s = socket.create_connection(("127.0.0.1", port), timeout=1, source_address=(source, 0))
            s.setblocking(False)
            yield s


def still_open(sockets):
    """How many of them the other side has not ended."""
    count = 0
    for s in sockets:
        try:
            count += s.recv(65536) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def drop(sockets, abruptly=False):
    for s in sockets:
        if abruptly:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()


def client_hello():
    """The first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def half_requests(port, is_tls):
    """What a slow client may have said so far, again and again: nothing, some of a head, some of a body."""
    path = f"/v23.0/{NUMBER}/messages".encode()
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    if is_tls:
        said = client_hello()
        return itertools.cycle([b"", said[:1], said[:5], said[:len(said) // 2], said])
    return itertools.cycle([b"", b"G", head[:30], head[:-2], head, head + b"{" * 5000,
                            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n"
                            b"Transfer-Encoding: chunked\r\n\r\nffffff\r\nxxx"])


def besiege(ports, count, seconds):
    """Slow clients hold all places of the ports: a byte now and then, and a new one for each that is hung up on."""
    held = {port: [] for port, _ in ports}
    said = {port: half_requests(port, is_tls) for port, is_tls in ports}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for port, _ in ports:
            alive = []
            for s in held[port]:
                try:
                    s.send(b"x")
                    alive.append(s)
                except BlockingIOError:
                    alive.append(s)
                except OSError:
                    s.close()
            for s in swarm(port, min(count - len(alive), 40)):
                with contextlib.suppress(OSError):
                    s.send(next(said[port]))
                alive.append(s)
            held[port] = alive
        time.sleep(0.02)
    for sockets in held.values():
        drop(sockets, abruptly=True)


def with_tls(world):
    """The branch's programs may come over TLS too: with the gateway's own certificate, which is at hand."""
    branch, port = world.branch, zajel.free_port()
    set_keys(branch.relay.config, {"api": {
        "connections_max": 64, "connections_per_address_max": 8, "listen_tls": f"127.0.0.1:{port}",
        "tls_certificate_file": f"{world.folder}/gateway/server.pem",
        "tls_key_file": f"{world.folder}/gateway/server.key"}})
    return port


def over_tls(world, port):
    context = ssl.create_default_context(cafile=f"{world.branch.folder}/ca.pem")
    with socket.create_connection(("127.0.0.1", port), timeout=SERVED_S) as raw, \
            context.wrap_socket(raw, server_hostname="127.0.0.1") as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return s.recv(100).startswith(b"HTTP/1.1 200")


def send_garbage(ports):
    head = f"POST /v23.0/{NUMBER}/messages HTTP/1.1\r\nHost: x\r\n".encode()
    pieces = [b"\0" * 5000, random.randbytes(5000), b"\r\n" * 3000, b"\x16\x03\x01\xff\xff" + b"x" * 3000, client_hello() * 3,
              b"GET /" + b"a" * 50000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 20000,
              head + b"Content-Length: 18446744073709551616\r\n\r\n", head + b"Content-Length: 9223372036854775807\r\n\r\nx",
              head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
              head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
              head + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 100000, b"GET \xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n",
              b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
              b"GET / HTTP/1.1\r\n\r\n" * 300]
    for port, _ in ports:
        for raw in pieces:
            with socket.create_connection(("127.0.0.1", port), timeout=0.1) as s:
                with contextlib.suppress(OSError):
                    s.sendall(raw)
                    got = s.recv(4096)
                    assert not got.startswith(b"HTTP/1.1 2") or raw.startswith((b"OPTIONS", b"GET / HTTP")), (raw[:40], got[:80])


def send_bodies_without_end(world):
    """150 MB of bodies of which the last byte never comes, and nobody has said who he is."""
    head = f"POST /v23.0/{NUMBER}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode()
    held, most, before = [], 0, rss_anon(world.branch.relay)
    for _ in range(150):
        s = socket.create_connection(("127.0.0.1", world.branch.port), timeout=0.5)
        with contextlib.suppress(OSError):
            s.sendall(head + b" " * 999000)
        held.append(s)
        most = max(most, rss_anon(world.branch.relay))
    # An end that comes right behind the bytes is one that libmicrohttpd sees at its time-out only: they are read first.
    end = time.monotonic() + (1.5 if QUICK else 3)
    while time.monotonic() < end:
        most = max(most, rss_anon(world.branch.relay))
        time.sleep(0.05)
    drop(held)
    assert "asan" in BUILD or most - before < 48 * MIB, f"the relay held {most >> 20} MiB"
    if "asan" not in BUILD:
        # At the latest when those that it did not see leave have timed out.
        wait_for(lambda: rss_anon(world.branch.relay) - before < 8 * MIB, 45)


def test_slow_and_half_open_connections_keep_nobody_out():
    with World(start=False) as w:
        tls_port = with_tls(w)
        w.start()
        ports = [(w.branch.port, False), (tls_port, True), (w.webhook_port, False), (w.board_port, False),
                 (w.sync_port, True)]
        with others_are_served(w, "garbage"):
            send_garbage(ports[:3] + ports[4:] if QUICK else ports)
        for port, is_tls in ports if not QUICK else ports[:1]:
            count = 350 if port == w.webhook_port else 160
            with others_are_served(w, f"slow clients of port {ports.index((port, is_tls)) + 1} of {len(ports)}", 16):
                besiege([(port, is_tls)], count, 2.5)
        with others_are_served(w, "slow clients of all ports", 24):
            besiege(ports, 160, 1.2 if QUICK else 3)
        assert over_tls(w, tls_port)
        with others_are_served(w, "bodies without end"):
            send_bodies_without_end(w)
        assert w.branch.relay.log_text().count("event=link_up") == 1, "the honest link was lost"
        w.answer(CUSTOMER, {"text": "still there?"})
        wait_for(lambda: [m["text"]["body"] for m in seen.inbound(w)] == ["still there?"], 10)
        if QUICK:
            return
        # A link that is lost just now comes back although strangers hold all the places.
        held = list(swarm(w.sync_port, 200))
        w.control(fault="link", do="reset")
        wait_for(lambda: w.branch.relay.log_text().count("event=link_up") == 2, 15)
        drop(held)
        wait_for(lambda: descriptors(w.gateway) < 60, 15)


def test_one_address_gets_its_share_and_this_machine_all_it_needs():
    with World(start=False) as w:
        with_tls(w)
        set_keys(w.gateway.config, {"sync": {"strangers_per_address_max": 8}, "webhook": {"connections_per_address_max": 8}})
        w.start()
        for port in (w.branch.port, w.webhook_port, w.sync_port):
            crowd = list(swarm(port, 30, "127.0.0.2"))
            wait_for(lambda: still_open(crowd) <= 8, 3)
            assert still_open(crowd) == 8, still_open(crowd)
            other, own = list(swarm(port, 8, "127.0.0.3")), list(swarm(port, 20))
            time.sleep(0.2)
            assert (still_open(other), still_open(own)) == (8, 20)
            # Whoever leaves makes room for the next of his address.
            drop(crowd[:])
            wait_for(lambda: one_more(port, "127.0.0.2"), 5)
            drop(other + own)
        assert w.branch.text(CUSTOMER, "served as ever")
        # Links are no strangers: those of one address are as many as there are branches.
        with websocket.Client(w.sync_port, websocket.tls(w.branch.folder), source="127.0.0.2") as link:
            crowd = list(swarm(w.sync_port, 30, "127.0.0.2"))
            wait_for(lambda: still_open(crowd) <= 8, 3)
            assert still_open(crowd) == 8 and link.send(frame(PING, b"x")) and link.hear() == (PONG, b"x")
            drop(crowd)


def one_more(port, source):
    mine = list(swarm(port, 1, source))
    time.sleep(0.1)
    good = still_open(mine) == 1
    drop(mine)
    return good


# --- Webhooks nobody should send --------------------------------------------------------------------------------------

def test_signed_nonsense_stops_no_webhook_behind_it():
    """Whoever has the app's secret is WhatsApp: what it sends is answered, and what comes next is delivered."""
    value = ('{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":%s}]}]}')
    message = (f'{{"messaging_product":"whatsapp","metadata":{{"phone_number_id":"{NUMBER}"}},"messages":[{{"from":'
               f'"{CUSTOMER}","id":"wamid.X","timestamp":"1700000000","type":"text","text":{{"body":%s}}}}]}}')
    texts = ['"\\ud83d"', '"\\ude00\\ud83d"', "NaN", "9223372036854775808", "-1e999", '"a\\u0000b"', "[" * 3000 + "]" * 3000,
             '"x","body":"y"', "", '"' + "x" * 100000 + '"']
    bodies = [(value % (message % text)).encode() for text in texts]
    bodies += [(value % (message % '"X"')).encode().replace(b"X", bad) for bad in
               (b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\xbd", b"\xf4\x90\x80\x80", b"\0", b"\1")]
    bodies += [b"", b"\0", b"[]", b"null", b"{}", b'"x"', b"{" * 100000, b'{"entry":' * 5000, b'{"entry":{}}',
               (value % "{}").encode(), (value % '{"messages":[null,1,"x",{}]}').encode(), b"\xef\xbb\xbf{}",
               (value % '{"statuses":[{"id":1,"status":[]}]}').encode(), random.randbytes(1000)]
    with World() as w:
        with others_are_served(w, "signed nonsense"):
            for body in bodies:
                answer = w.webhook(body)
                assert answer.status in (200, 400), (body[:80], answer.status, answer.body)
            assert w.webhook(b"{}" + b" " * (4 * MIB)).status == 413
        w.answer(CUSTOMER, {"text": "the one that matters"})
        wait_for(lambda: any("the one that matters" in h["body"] for h in w.hooks()), 20)


# --- The control socket -----------------------------------------------------------------------------------------------

def call_half(path, count):
    """Calls that are begun and never finished, each of them a little further."""
    argument = varint(1) + varint(6) + b"status"
    whole = struct.pack(">I", len(argument)) + argument
    for i in range(count):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(whole[:i % len(whole)])
        yield s


def call_wrong(path):
    for raw in (b"", b"\0", b"\xff" * 4, b"\0\0\0\0", b"\x7f\xff\xff\xff" + b"x" * 1000, b"\0\0\0\1\0x",
                b"\0\0\0\5" + varint(200) + b"abcd", b"\0\0\0\5\1\xff\xff\xff\xff", b"\0\0\0\3\1\1\0",
                random.randbytes(3000)):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(1)
            s.connect(path)
            with contextlib.suppress(OSError):
                s.sendall(raw)
                s.shutdown(socket.SHUT_WR)
                assert s.recv(1000) == b"", raw[:20]


def test_callers_of_the_control_socket_that_never_finish_make_room():
    with World() as w:
        daemons = {w.gateway: f"{w.folder}/gateway/control.sock", w.branch.relay: f"{w.branch.folder}/state/control.sock"}
        with others_are_served(w, "calls of the control sockets"):
            for daemon, path in daemons.items():
                call_wrong(path)
                assert json.loads(daemon.verb("status", "--json").stdout)
            held = [s for path in daemons.values() for s in call_half(path, 4 if QUICK else 16)]
            time.sleep(0.2 if QUICK else 5.2)
            for daemon in daemons:
                assert json.loads(daemon.verb("status", "--json").stdout)
            drop(held)


if __name__ == "__main__":
    zajel.main(globals())
