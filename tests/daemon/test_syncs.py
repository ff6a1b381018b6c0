#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data syncs, counted outside the daemons by a library laid under them: enough of them for what was promised, and no
more than one for each turn that had work."""
import os
import struct
import threading

import seen
import traffic
import zajel
from box import Box
from zajel import BUILD, NUMBER, QUICK, Skip, World, request, wait_for

SHIM = os.path.abspath(f"{BUILD}/tests/daemon/shim_sync.so")
CLIENTS = 16
SYNCS_A_TURN = 1.05


class Counter:
    """The syncs of one daemon, of both kinds."""

    def __init__(self, daemon, path):
        self.path = path
        if not os.path.exists(SHIM):
            raise Skip(f"there is no {SHIM}")
        daemon.env = {"LD_PRELOAD": SHIM, "ZAJEL_SYNC_COUNT": path}

    def read(self):
        with open(self.path, "rb") as f:
            return sum(struct.unpack("=QQ", f.read(16)))


def counted(counter):
    """A sanitizer may refuse to have anything laid under it."""
    if not os.path.exists(counter.path) or counter.read() == 0:
        raise Skip("the library that counts syncs was not loaded")


def turns(port, prefix):
    value = seen.metric(request(port, "GET", "/metrics").body.decode(), f"{prefix}_turns_with_work_total")
    assert value is not None, f"{prefix}_turns_with_work_total is not told"
    return value


def check(name, syncs, work):
    print(f"      {name}: {syncs} syncs for {work:.0f} turns with work, {syncs / max(work, 1):.3f} each")
    assert work > 20, f"{name} had only {work} turns with work"
    assert syncs <= SYNCS_A_TURN * work + 1, f"{name}: {syncs} syncs for {work} turns with work"
    assert syncs >= 0.9 * work, f"{name} told {work} turns with work but made {syncs} syncs"


def post_from_many_clients(branch, each):
    failures = []

    def client(n):
        try:
            poster = traffic.Poster(branch.port)
            for i in range(each):
                body = {"messaging_product": "whatsapp", "to": f"25471{n:02d}{i:05d}", "type": "text",
                        "text": {"body": f"{n} {i}"}}
                poster.post(f"/v23.0/{NUMBER}/messages", zajel.json.dumps(body).encode(), branch.headers())
            assert poster.repeats == 0, f"{poster.repeats} posts had to be repeated"
        except Exception as e:  # Told by the caller's thread.
            failures.append(e)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def test_no_answer_leaves_before_a_sync_and_a_lone_message_needs_just_one():
    with Box() as box:
        counter = Counter(box.relay, f"{box.folder}/syncs")
        box.start()
        counted(counter)
        seen.stays(lambda: True, 0.5)
        total = 0
        for i in range(20):
            before = counter.read()
            box.text("254711000001", f"alone {i}")
            after = counter.read()
            assert after > before, f"message {i} was promised without a sync"
            total += after - before
        assert total <= SYNCS_A_TURN * 20 + 1, f"{total} syncs for 20 messages"


def test_clients_at_the_same_time_share_their_syncs():
    with Box() as box:
        counter = Counter(box.relay, f"{box.folder}/syncs")
        box.start()
        counted(counter)
        each, before, work = 30 if QUICK else 150, counter.read(), turns(box.port, "zajel_relay")
        post_from_many_clients(box, each)
        syncs = counter.read() - before
        check("relay", syncs, turns(box.port, "zajel_relay") - work)
        # While one group is synced the next one gathers: sixteen clients never need a sync each.
        assert syncs < CLIENTS * each / 2, f"{syncs} syncs for {CLIENTS * each} messages"


def test_two_way_traffic_takes_one_sync_for_each_turn_with_work():
    with World(start=False) as w:
        relay, gateway = (Counter(d, f"{w.folder}/{d.program}.syncs") for d in (w.branch.relay, w.gateway))
        w.start()
        counted(relay)
        counted(gateway)
        each, answers = (10, 100) if QUICK else (60, 500)
        before = [(relay.read(), turns(w.branch.port, "zajel_relay")),
                  (gateway.read(), turns(w.board_port, "zajel_gateway"))]
        down = threading.Thread(target=lambda: [w.answer(f"25472{i:07d}", {"text": f"{i}"}) for i in range(answers)])
        down.start()
        post_from_many_clients(w.branch, each)
        down.join()
        wait_for(lambda: len(w.received()) >= CLIENTS * each, 60, 0.2)
        wait_for(lambda: len(seen.inbound(w)) >= answers, 60, 0.2)
        for name, counter, port, prefix, (syncs, work) in (
                ("relay", relay, w.branch.port, "zajel_relay", before[0]),
                ("gateway", gateway, w.board_port, "zajel_gateway", before[1])):
            check(name, counter.read() - syncs, turns(port, prefix) - work)


if __name__ == "__main__":
    zajel.main(globals())
