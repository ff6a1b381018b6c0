#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A gateway whose name leads elsewhere one day. Alone in its script: looking a name up again is not done in a hurry,
since each time costs bytes of the link, and the other tests need not wait for it."""
import shutil
import time

import seen
import zajel
from namespaces import named
from zajel import QUICK, Branch, World, set_keys, wait_for

CUSTOMER = "254711000001"
NAME = "gateway.zajel.test"


def world_of_a_name():
    """A world whose gateway is known by a name: that is what its certificate is for."""
    w = World(branches=(), start=False)
    set_keys(w.gateway.config, {"sync": {"url": f"wss://{NAME}:{w.sync_port}/sync"}})
    shutil.rmtree(f"{w.folder}/gateway")
    w.gateway.verb("init")
    w.branches = [Branch(w, "nyeri-03")]
    set_keys(w.branch.relay.config, {"uplink": {"url": f"wss://{NAME}:{w.sync_port}/sync"}})
    return w


def start(w, hosts):
    named(w, "nameserver 127.0.0.1\n", hosts)
    w.sandbox.start()
    w.gateway.start()
    wait_for(w.gateway_ready)
    w.branch.start()


def test_of_two_addresses_the_one_that_answers_is_used():
    with world_of_a_name() as w:
        start(w, f"127.0.77.1 {NAME}\n127.0.0.1 {NAME}\n")
        w.branch.text(CUSTOMER, "by the second address")
        wait_for(lambda: seen.texts(w) == ["by the second address"], 30, 0.2)


def test_a_gateway_that_moves_to_another_address_is_found():
    if QUICK:
        return  # A doubted address is looked up again after a minute.
    with world_of_a_name() as w:
        start(w, f"127.0.77.1 {NAME}\n")
        waiting = w.branch.text(CUSTOMER, "for the new address")
        time.sleep(2)
        assert w.branch.status()["link"]["state"] != "up" and w.branch.message(waiting)["state"] == "queued"
        with open(f"{w.folder}/hosts", "w", encoding="ascii") as f:
            f.write(f"127.0.0.1 {NAME}\n")
        wait_for(lambda: seen.texts(w) == ["for the new address"], 100, 0.2)


if __name__ == "__main__":
    zajel.main(globals())
