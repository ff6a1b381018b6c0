#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of the whole path on this machine: accepts and their latency, alone and while a backlog drains and webhooks
come; memory, store bytes and restart with a backlog; draining; bytes on the link; processor time a message.

WAITING=100000 makes the largest backlog smaller (default 1000000)."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))
import load  # noqa: E402
from load import World, wait_for  # noqa: E402

WAITING = int(os.environ.get("WAITING", "1000000"))
DRAINED = 20000
ROOMY = "[limits]\nstore_bytes_max = 8589934592\n"


def rss_anon_kb(daemon):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))


def processor_s(daemon):
    with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(branch, name):
    for line in branch.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    raise KeyError(name)


def accepts(w):
    for clients, count in ((1, 3000), (16, 30000), (256, 60000)):
        before = processor_s(w.branch.relay)
        got = load.run(w.branch, clients, count)
        used = (processor_s(w.branch.relay) - before) / count
        print(f"accepts: {load.describe(got)}  relay {used * 1e6:.0f} us of processor a message")
    turns, syncs = metric(w.branch, "zajel_relay_turns_with_work_total"), metric(w.branch, "zajel_relay_data_syncs_total")
    print(f"accepts: {syncs / turns:.3f} data syncs per turn with work, {turns:.0f} turns")


def backlog(w, empty_kb):
    waiting = w.branch.status()["queue"]["messages"]
    print(f"waiting: {waiting:8} RssAnon {empty_kb} kB, after a start")
    for goal in sorted({100000, WAITING}):
        if goal > waiting:
            got = load.run(w.branch, 32, goal - waiting)
            if got["refused"]:
                print(f"waiting: {got['refused']} refused on the way to {goal}")
        status = w.branch.status()
        waiting = status["queue"]["messages"]
        print(f"waiting: {waiting:8} RssAnon {rss_anon_kb(w.branch.relay)} kB  "
              f"{status['store']['bytes'] / waiting:.1f} store bytes each, of them the sealed row "
              f"{status['queue']['bytes'] / waiting:.1f}")


def restart(w):
    w.branch.relay.kill()
    began = time.monotonic()
    w.branch.relay.start()
    wait_for(w.branch.ready, 120, 0.005)
    print(f"restart: accepting {time.monotonic() - began:.2f} s after a kill with "
          f"{w.branch.status()['queue']['messages']} waiting, RssAnon {rss_anon_kb(w.branch.relay)} kB")


def mixed(w):
    """A million wait, the link is up and drains, webhooks come in, and programs go on sending."""
    stopping = threading.Event()
    w.link("up")
    wait_for(lambda: w.branch.status()["link"]["state"] == "up", 60)

    def customers():
        n = 0
        while not stopping.is_set():
            w.answer("254711999999", {"text": f"message {n}"})
            n += 1
            time.sleep(0.01)

    writer = threading.Thread(target=customers)
    writer.start()
    before = w.branch.status()["totals"]["synced"]
    began = time.monotonic()
    got = load.run(w.branch, 16, 20000)
    synced = w.branch.status()["totals"]["synced"] - before
    stopping.set()
    writer.join()
    print(f"mixed: {load.describe(got)}  while {synced / (time.monotonic() - began):.0f} a second drained")
    w.link("down")


def drain(w):
    got = load.run(w.branch, 16, DRAINED)
    assert not got["refused"]
    before, used = w.branch.status()["link"], processor_s(w.branch.relay)
    w.link("up")
    wait_for(lambda: w.branch.status()["link"]["state"] == "up", 60)
    began = time.monotonic()
    wait_for(lambda: w.branch.status()["queue"]["messages"] == 0, 300, 0.02)
    took = time.monotonic() - began
    link = w.branch.status()["link"]
    sent = link["sent_bytes"] - before["sent_bytes"]
    back = link["received_bytes"] - before["received_bytes"]
    print(f"drain: {DRAINED / took:.0f} messages/s to the gateway's disk over loopback, relay "
          f"{(processor_s(w.branch.relay) - used) / DRAINED * 1e6:.0f} us of processor a message; "
          f"{sent / DRAINED:.1f} frame bytes up, {back / DRAINED:.1f} down a message")


def main():
    with World(relay_extra=ROOMY) as w:
        w.control(fault="no_statuses", on=True)
        w.link("down")
        accepts(w)
        w.branch.relay.kill()  # What 256 connections took stays with the C library: memory is measured without them.
        w.branch.start()
        empty_kb = rss_anon_kb(w.branch.relay)
        backlog(w, empty_kb)
        restart(w)
        mixed(w)
    with World(relay_extra=ROOMY) as w:
        w.control(fault="no_statuses", on=True)
        w.link("down")
        drain(w)


if __name__ == "__main__":
    main()
