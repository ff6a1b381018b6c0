#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL of relay, gateway and practice WhatsApp at random moments of two-way traffic: nothing acknowledged is lost,
nothing reaches a phone twice. SEED=N replays the moments (not the machine's own timing), KILLS=N takes more of them."""
import json
import os
import random
import threading
import time

import traffic
import zajel
from zajel import QUICK, World, wait_for

KILLS = int(os.environ.get("KILLS", "6" if QUICK else "25"))
LINES = 500 if QUICK else 2000


class Killer(threading.Thread):
    """Kills one of the daemons after a random while and starts it again, until told to stop or so many times."""

    def __init__(self, daemons, kills):
        super().__init__()
        self.daemons, self.kills, self.done = daemons, kills, 0
        self.stopping = threading.Event()
        self.random = random.Random(random.random())

    def run(self):
        while self.done < self.kills and not self.stopping.wait(self.random.uniform(0.02, 0.6)):
            victim = self.random.choice(self.daemons)
            victim.kill()
            time.sleep(self.random.uniform(0, 0.2))
            victim.start()
            self.done += 1


def records(path):
    """The lines a daemon wrote down before it answered: they outlive its own end."""
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.endswith("\n")]


def drained(w):
    if not w.up():
        return False
    g = w.gateway_status()
    return (w.branch.status()["queue"]["messages"] == 0 and g["courier"]["pending"] == 0 and
            g["branches"][0]["pending_down"] == 0)


def run(victims):
    sends, webhooks = traffic.read(LINES)
    with World(gateway_extra=traffic.number_sections(webhooks)) as w:
        for section, name in (("sandbox", "received"), ("hook", "hooks")):
            zajel.set_keys(w.sandbox.config, {section: {"record_file": f"{name}.jsonl"}})
        w.sandbox.stop()
        w.sandbox.start()
        wait_for(w.up, 30)
        killer = Killer([d for d in w.daemons() if d.program in victims], KILLS)
        killer.start()
        rounds, ids, sent, posted = 0, [], [], []
        while killer.is_alive() or rounds == 0:
            # Each round says other words, so that a repeat is a repeat and not a namesake.
            mine = [line.replace(b'"messaging_product":"whatsapp"', b'"messaging_product":"whatsapp","round":%d' % rounds)
                    for line in sends[:300]]
            batch = [line.replace(b'"messaging_product":"whatsapp"', b'"messaging_product":"whatsapp","round":%d' % rounds)
                     for line in webhooks[:300]]
            batch = [line.replace(b"wamid.", b"wamid.%d" % rounds) for line in batch]
            ids += traffic.both_ways(w, mine, batch, tag=f"r{rounds}")
            sent += mine
            posted += batch
            rounds += 1
        killer.join()
        for d in w.daemons():
            if not d.alive:
                d.start()
        wait_for(lambda: drained(w), 180, 0.5)
        time.sleep(2)
        received = [r["body"] for r in records(f"{w.folder}/received.jsonl")]
        hooks = traffic.unique([json.loads(r["body"]) for r in records(f"{w.folder}/hooks.jsonl")])
        unknown = w.gateway_status()["courier"]["unknown"]
        traffic.check_up(sent, received, unknown)
        traffic.check_down(posted, hooks, set(ids))
        assert w.branch.status()["totals"]["accepted"] == len(sent), w.branch.status()["totals"]
        print(f"      {killer.done} kills in {rounds} rounds: {len(sent)} up, {len(posted)} down, "
              f"{unknown} of unknown outcome")


def test_nothing_is_lost_or_doubled_when_the_relay_is_killed():
    run({"zajel-relay"})


def test_nothing_is_lost_or_doubled_when_the_gateway_is_killed():
    run({"zajel-gateway"})


def test_nothing_is_lost_or_doubled_when_all_three_are_killed():
    run({"zajel-relay", "zajel-gateway", "zajel-sandbox"})


if __name__ == "__main__":
    zajel.main(globals())
