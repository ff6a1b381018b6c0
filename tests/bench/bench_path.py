#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of the whole path on this machine: accepts, memory and bytes with a backlog, draining, bytes on the link.

WAITING=100000 makes the largest backlog smaller (default 1000000)."""
import gzip
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "daemon"))
import zajel  # noqa: E402
from zajel import NUMBER, World, wait_for  # noqa: E402

WAITING = int(os.environ.get("WAITING", "1000000"))
CORPUS = os.path.join(os.path.dirname(__file__), "..", "fixtures", "corpus.jsonl.gz")


def sends():
    """The sample's messages as programs post them, read marks left out."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as f:
        bodies = [line for line in f if '"object"' not in line and '"status"' not in line]
    return "".join(bodies)


def load(branch, clients, count, bodies):
    done = subprocess.run([f"{zajel.BUILD}/tests/bench/load", str(branch.port), branch.token, NUMBER, str(clients),
                           str(count)], input=bodies, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def rss_anon_kb(daemon):
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))


def metric(branch, name):
    for line in branch.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " ") or line.startswith(name + "{"):
            return float(line.split()[-1])
    raise KeyError(name)


def accepts(w, bodies):
    for clients, count in ((1, 3000), (16, 30000), (256, 60000)):
        got = load(w.branch, clients, count, bodies)
        print(f"accepts: {clients:3} clients {got['per_second']:7} /s  p50 {got['p50_us'] / 1000:.2f} ms  "
              f"p99 {got['p99_us'] / 1000:.2f} ms  p99.9 {got['p999_us'] / 1000:.2f} ms  refused {got['refused']}")
    turns, syncs = metric(w.branch, "zajel_relay_turns_with_work_total"), metric(w.branch, "zajel_relay_data_syncs_total")
    print(f"accepts: {syncs / turns:.3f} data syncs per turn with work, {turns:.0f} turns")


def backlog(w, bodies, empty_kb):
    waiting = w.branch.status()["queue"]["messages"]
    print(f"waiting: {0:8} RssAnon {empty_kb} kB")
    for goal in sorted({100000, WAITING}):
        if goal > waiting:
            got = load(w.branch, 64, goal - waiting, bodies)
            if got["refused"]:
                print(f"waiting: {got['refused']} refused on the way to {goal}")
        queue = w.branch.status()["queue"]
        waiting = queue["messages"]
        print(f"waiting: {waiting:8} RssAnon {rss_anon_kb(w.branch.relay)} kB  "
              f"{w.branch.status()['store']['bytes'] / waiting:.1f} store bytes each, sealed row {queue['bytes'] / waiting:.1f}")


def restart(w):
    import time
    w.branch.relay.kill()
    began = time.monotonic()
    w.branch.relay.start()
    wait_for(w.branch.ready, 120, 0.005)
    print(f"restart: ready {time.monotonic() - began:.2f} s after a kill with {w.branch.status()['queue']['messages']} waiting")


def drain(w, bodies):
    import time
    got = load(w.branch, 16, 20000, bodies)
    assert not got["refused"]
    before = w.branch.status()
    w.link("up")
    wait_for(lambda: w.branch.status()["link"]["state"] == "up", 60)
    began = time.monotonic()
    wait_for(lambda: w.branch.status()["queue"]["messages"] == 0, 300, 0.05)
    took = time.monotonic() - began
    link = w.branch.status()["link"]
    sent = link["sent_bytes"] - before["link"]["sent_bytes"]
    back = link["received_bytes"] - before["link"]["received_bytes"]
    print(f"drain: {20000 / took:.0f} messages/s over loopback, {sent / 20000:.1f} frame bytes up and "
          f"{back / 20000:.1f} down a message (courier and its statuses running)")


def main():
    bodies = sends()
    with World(relay_extra="[limits]\nstore_bytes_max = 8589934592\n", sandbox_extra="") as w:
        w.control(fault="no_statuses", on=True)
        w.link("down")
        empty_kb = rss_anon_kb(w.branch.relay)
        accepts(w, bodies)
        backlog(w, bodies, empty_kb)
        restart(w)
    with World() as w:
        w.control(fault="no_statuses", on=True)
        w.link("down")
        drain(w, bodies)


if __name__ == "__main__":
    main()
