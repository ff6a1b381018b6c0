#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sample of traffic goes through in its own directions and comes out equal. CORPUS=FILE takes another one."""
import json
import os

import traffic
import zajel
from zajel import QUICK, World, wait_for

LINES = 700 if QUICK else None


def test_every_line_comes_out_equal_once_and_in_order():
    sends, webhooks = traffic.read(LINES)
    with World(gateway_extra=traffic.number_sections(webhooks)) as w:
        w.control(fault="no_statuses", on=True)
        traffic.both_ways(w, sends, webhooks)
        patience = 60 + len(sends) // 20
        wait_for(lambda: len(w.received()) >= len(sends), patience, 0.5)
        wait_for(lambda: len(w.hooks()) >= len(webhooks), patience, 0.5)
        traffic.check_up(sends, [m["body"] for m in w.received()])
        hooks = w.hooks()
        assert len(hooks) == len(webhooks)
        assert all(h["signature_ok"] for h in hooks)
        assert all(h["body"].isascii() for h in hooks)
        traffic.check_down(webhooks, [json.loads(h["body"]) for h in hooks])
        print(f"      {len(sends)} up and {len(webhooks)} down, equal")
        assert w.branch.status()["queue"]["messages"] == 0


if __name__ == "__main__":
    zajel.main(globals())
