#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The link between branch and centre: slow, silent, cut, taken by somebody else, absent."""
import os
import random
import shutil
import socket
import ssl
import time

import seen
import traffic
import wire
import zajel
from zajel import QUICK, Daemon, World, free_port, request, set_keys, wait_for

CUSTOMER = "254711000001"


def relink(branch, port):
    """The relay's way to the gateway goes by this port from its next start on."""
    set_keys(branch.relay.config, {"uplink": {"url": f"wss://127.0.0.1:{port}/sync"}})


def link_state(branch):
    return branch.status()["link"]["state"]


def arrive(world, branch, text, seconds=40):
    branch.text(CUSTOMER, text)
    wait_for(lambda: text in seen.texts(world), seconds)


def fatal_log(daemon):
    return [line for line in daemon.log_text().splitlines() if "Assertion" in line or "Sanitizer" in line]


def test_a_silent_link_is_seen_and_nothing_is_lost_over_it():
    with World() as w:
        arrive(w, w.branch, "before")
        w.link("down")
        began = time.monotonic()
        ids = [w.branch.text(CUSTOMER, f"silent {i}") for i in range(5)]
        wait_for(lambda: link_state(w.branch) != "up", 25)
        took = time.monotonic() - began
        assert 3 < took < 20, f"seen after {took:.1f} s"
        wait_for(lambda: w.gateway_status()["branches"][0]["connected"] is False or
                 w.gateway_status()["branches"][0]["state"] != "up", 60, 0.2)
        assert seen.texts(w) == ["before"]
        assert w.branch.message(ids[0])["state"] == "queued"
        w.answer(CUSTOMER, {"text": "from the customer"})
        w.link("up")
        wait_for(lambda: len(seen.texts(w)) >= 6, 40)
        wait_for(lambda: seen.inbound(w), 20)
        wait_for(lambda: link_state(w.branch) == "up", 20)
        assert seen.texts(w) == ["before"] + [f"silent {i}" for i in range(5)]
        assert [m["text"]["body"] for m in seen.inbound(w)] == ["from the customer"]


def test_a_link_that_is_stalled_reset_or_half_closed_is_replaced():
    with World() as w:
        arrive(w, w.branch, "begin")
        blows = ("reset", "half_close") if QUICK else ("reset", "half_close", "half_close_target", "stall")
        for blow in blows:
            w.control(fault="link", do=blow)
            began = time.monotonic()
            arrive(w, w.branch, f"after {blow}")
            w.answer(CUSTOMER, {"text": f"answer after {blow}"})
            wait_for(lambda: f"answer after {blow}" in [m["text"]["body"] for m in seen.inbound(w)], 30)
            print(f"      {blow}: {time.monotonic() - began:.1f} s until both ways went on")
        assert sorted(seen.texts(w)) == sorted(set(seen.texts(w))) and len(seen.texts(w)) == 1 + len(blows)
        assert len(seen.inbound(w)) == len(blows)


def test_a_slow_link_and_one_that_crawls_byte_by_byte_lose_nothing():
    with World(start=False) as w:
        proxy = wire.Proxy(w.sync_port, lambda: {"trickle": 0})
        relink(w.branch, proxy.port)
        w.start()
        count = 20 if QUICK else 100
        for i in range(count):
            w.branch.text(CUSTOMER, f"crawls {i}")
            w.answer(CUSTOMER, {"text": f"back {i}"})
        wait_for(lambda: len(seen.texts(w)) >= count and len(seen.inbound(w)) >= count, 60, 0.2)
        assert seen.texts(w) == [f"crawls {i}" for i in range(count)]
        assert [m["text"]["body"] for m in seen.inbound(w)] == [f"back {i}" for i in range(count)]
        assert proxy.accepted == 1, f"{proxy.accepted} connections: a slow one was taken for dead"
        w.branch.relay.stop()
        proxy.close()
        relink(w.branch, w.link_port)
        w.link("2g")
        w.branch.start()
        arrive(w, w.branch, "over 2G")
        w.answer(CUSTOMER, {"text": "back over 2G"})
        wait_for(lambda: len(seen.inbound(w)) > count, 30)


def test_cuts_at_random_bytes_of_two_way_traffic_lose_and_double_nothing():
    sends, webhooks = traffic.read(300 if QUICK else 1500)
    with World(gateway_extra=traffic.number_sections(webhooks), start=False) as w:
        # In the handshake and after it; at last, ends that only one side hears of.
        cuts = [wire.random_cut(300, 12000) for _ in range(3 if QUICK else 5)]
        cuts += [] if QUICK else [{"cut": random.randrange(7000, 12000), "how": how} for how in ("half", "half_target")]
        proxy = wire.Proxy(w.sync_port, lambda: cuts[proxy.accepted] if proxy.accepted < len(cuts) else None)
        relink(w.branch, proxy.port)
        w.sandbox.start()
        w.gateway.start()
        w.branch.start()
        wait_for(lambda: w.sandbox_ready() and w.gateway_ready())
        w.control(fault="no_statuses", on=True)
        traffic.both_ways(w, sends, webhooks)
        wait_for(lambda: len(w.received()) >= len(sends) and len(w.hooks()) >= len(webhooks), 90, 0.5)
        time.sleep(1)
        traffic.check_up(sends, [m["body"] for m in w.received()])
        traffic.check_down(webhooks, [zajel.json.loads(h["body"]) for h in w.hooks()])
        print(f"      {proxy.accepted} connections for {len(sends)} up and {len(webhooks)} down")
        assert proxy.accepted > len(cuts)
        proxy.close()


def second_box(world, name, with_state):
    """The branch's folder copied to another machine: its certificate, and perhaps its store."""
    branch, folder = world.branch, f"{world.folder}/{name}"
    shutil.copytree(branch.folder, folder,
                    ignore=shutil.ignore_patterns("control.sock", "*.log", *([] if with_state else ["state"])))
    daemon, port = Daemon("zajel-relay", f"{folder}/relay.conf", f"{folder}/relay.log"), free_port()
    set_keys(daemon.config, {"api": {"listen": f"127.0.0.1:{port}"}})
    return daemon, port


def test_a_second_box_with_the_same_identity_is_refused_while_the_first_lives():
    with World() as w:
        arrive(w, w.branch, "first")
        copies = [second_box(w, "copied-certificate", False), second_box(w, "copied-card", True)]
        try:
            for daemon, port in copies:
                daemon.start()
                wait_for(lambda: alive(port), 10)
            for i in range(6 if QUICK else 12):
                arrive(w, w.branch, f"the first lives {i}", 10)
                time.sleep(0.5)
            # Not even for a moment did they take turns.
            for daemon, port in copies:
                assert request(port, "GET", "/status").json["link"]["state"] in ("connecting", "down")
                assert "event=link_up" not in daemon.log_text(), f"{daemon.config} was let in"
            assert w.branch.relay.log_text().count("event=link_up") == 1 and link_state(w.branch) == "up"
            assert "clone_alarm" in w.gateway.log_text()
        finally:
            for daemon, _ in copies:
                daemon.kill()


def alive(port):
    try:
        return request(port, "GET", "/healthz").status == 200
    except OSError:
        return False


def test_nobody_without_a_certificate_of_ours_gets_in():
    with World(start=False) as w:
        # A bank of its own, with a branch of the same name: its certificate says all that ours says but for the CA.
        stranger = f"{w.folder}/stranger.conf"
        shutil.copy(w.gateway.config, stranger)
        set_keys(stranger, {"gateway": {"state": "stranger"}})
        theirs = Daemon("zajel-gateway", stranger, f"{w.folder}/stranger.log")
        theirs.verb("init")
        theirs.verb("branch", "add", w.branch.name, "--out", f"{w.folder}/theirs")
        for name in os.listdir(w.branch.folder):
            if name.startswith("box."):
                shutil.copy(f"{w.branch.folder}/{name}", f"{w.folder}/{name}.ours")
                shutil.copy(f"{w.folder}/theirs/{name}", f"{w.branch.folder}/{name}")
        w.sandbox.start()
        w.gateway.start()
        w.branch.start()
        wait_for(w.gateway_ready)
        message_id = w.branch.text(CUSTOMER, "waits for a good certificate")
        assert seen.stays(lambda: link_state(w.branch) != "up", 4)
        assert w.branch.message(message_id)["state"] == "queued"
        assert knock(w.sync_port, f"{w.branch.folder}/ca.pem") != 101
        w.branch.relay.stop()
        for name in ("box.pem", "box.key"):
            shutil.copy(f"{w.folder}/{name}.ours", f"{w.branch.folder}/{name}")
        w.branch.start()
        wait_for(lambda: seen.texts(w) == ["waits for a good certificate"], 30)


def knock(port, ca_file):
    """Asks for the link without a certificate; returns the HTTP status, 0 when it was hung up."""
    context = ssl.create_default_context(cafile=ca_file)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, \
                context.wrap_socket(raw, server_hostname="127.0.0.1") as s:
            s.sendall(b"GET /sync HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                      b"Sec-WebSocket-Protocol: zajel.1\r\n\r\n")
            answer = s.recv(64)
    except (ConnectionError, ssl.SSLError):
        return 0
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def test_a_revoked_branch_is_hung_up_and_stays_out():
    with World(branches=("nyeri-03", "kitui-01")) as w:
        first, second = w.branches
        arrive(w, first, "good so far")
        w.gateway.verb("branch", "revoke", first.name)
        wait_for(lambda: link_state(first) != "up", 20)
        first.text(CUSTOMER, "of a stolen box")
        arrive(w, second, "of an honest one")
        assert seen.stays(lambda: "of a stolen box" not in seen.texts(w) and link_state(first) != "up", 4)


def test_the_relay_takes_messages_without_a_gateway_and_finds_it_when_it_comes():
    with World(start=False) as w:
        w.sandbox.start()
        w.branch.start()
        count, began = 0, time.monotonic()
        while time.monotonic() - began < (3 if QUICK else 15):
            w.branch.text(CUSTOMER, f"without a gateway {count}")
            count += 1
            time.sleep(0.1)
        assert link_state(w.branch) != "up"
        assert w.branch.status()["queue"]["messages"] == count
        w.gateway.start()
        wait_for(lambda: len(seen.texts(w)) >= count, 70, 0.2)
        assert seen.texts(w) == [f"without a gateway {i}" for i in range(count)]
        # And when it is started anew the relay comes back by itself.
        for restart in (w.gateway.kill,) if QUICK else (w.gateway.kill, w.gateway.stop):
            restart()
            w.branch.text(CUSTOMER, f"meanwhile {count}")
            w.gateway.start()
            count += 1
            wait_for(lambda: len(seen.texts(w)) >= count, 40, 0.2)
        time.sleep(0.5)
        assert len(seen.texts(w)) == count
        assert not fatal_log(w.branch.relay) and not fatal_log(w.gateway)


if __name__ == "__main__":
    zajel.main(globals())
