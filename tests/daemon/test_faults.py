#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What may go wrong with WhatsApp: it takes a message and does not say so, refuses, is slow, repeats and muddles its
webhooks, is away. No phone gets a message twice, no sender waits for a word that never comes."""
import time

import seen
import zajel
from zajel import NUMBER, QUICK, World, request, set_keys, wait_for

# Codes of WhatsApp that pass, and how often each comes in a row.
PASSING = ((130429, 1), (131056, 1)) if QUICK else ((130429, 1), (131056, 1), (2, 1), (131000, 2), (131016, 1))
CUSTOMER, OTHER = "254711000001", "254711000002"


def courier(world):
    return world.gateway_status()["courier"]


def once(world, *words):
    """Each of these texts is on a phone, and none is there twice."""
    there = seen.texts(world)
    assert len(there) == len(set(there)), there
    missing = [word for word in words if word not in there]
    assert not missing, missing


def unknown_outcome_is_reconciled(fault):
    with World() as w:
        # Webhooks are held up, so that nothing tells for a while.
        w.control(fault="webhook_outage", on=True)
        w.control(fault=fault, count=1)
        lost = w.branch.text(CUSTOMER, "nobody answers this")
        wait_for(w.received)
        same, other = w.branch.text(CUSTOMER, "same customer"), w.branch.text(OTHER, "another customer")
        # Others go on meanwhile; those of the same customer come at the latest when the outcome is parked.
        wait_for(lambda: "another customer" in seen.texts(w), 3)
        wait_for(lambda: courier(w)["unknown"] == 1, 10)
        wait_for(lambda: "same customer" in seen.texts(w), 10)
        assert w.branch.message(lost)["state"] in ("synced", "unknown"), w.branch.message(lost)
        assert seen.stays(lambda: seen.texts(w).count("nobody answers this") == 1, 1 if QUICK else 5)
        assert courier(w)["unknown"] == 1
        w.control(fault="webhook_outage", on=False)
        wait_for(lambda: courier(w)["unknown"] == 0, 20)
        wait_for(lambda: all("read" in seen.words(w, i) for i in (lost, same, other)), 20)
        assert "failed" not in seen.words(w, lost), seen.words(w, lost)
        assert w.branch.message(lost)["state"] == "read"
        assert w.branch.status()["totals"]["unknown"] == 0
        once(w, "nobody answers this", "same customer", "another customer")
        assert len(w.received()) == 3
        # With webhooks at once it is known before anybody asks.
        w.control(fault=fault, count=3)
        quick = [w.branch.text(f"25471200000{i}", f"told at once {i}") for i in range(3)]
        wait_for(lambda: all("read" in seen.words(w, i) for i in quick), 20)
        wait_for(lambda: courier(w)["unknown"] == 0 and courier(w)["pending"] == 0, 10)
        time.sleep(0.5)
        once(w, *(f"told at once {i}" for i in range(3)))
        assert len(w.received()) == 6


def test_a_message_taken_without_an_answer_is_never_sent_again():
    unknown_outcome_is_reconciled("accept_then_hang")


def test_a_message_taken_before_a_reset_is_never_sent_again():
    unknown_outcome_is_reconciled("accept_then_reset")


def test_what_stays_unknown_is_told_at_its_deadline_and_corrected_by_a_late_webhook():
    with World() as w:
        w.control(fault="no_statuses", on=True)
        w.control(fault="accept_then_reset", count=1)
        lost = w.branch.text(CUSTOMER, "of unknown outcome", Zajel_Expires_In="4")
        wait_for(lambda: courier(w)["unknown"] == 1, 5)
        told = wait_for(lambda: seen.statuses(w, lost), 15)
        assert told[0]["status"] == "failed" and told[0]["errors"][0]["code"] == 990002, told
        wait_for(lambda: courier(w)["unknown"] == 0, 5)
        assert w.branch.message(lost)["state"] == "unknown", w.branch.message(lost)
        assert w.branch.status()["totals"]["unknown"] == 1
        # Meta speaks after all, by our token.
        m = w.received()[0]
        late = {"object": "whatsapp_business_account", "entry": [{"id": "102310231023", "changes": [{
            "field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {
                "display_phone_number": "254700000001", "phone_number_id": NUMBER}, "statuses": [{
                    "id": m["id"], "status": "delivered", "timestamp": "1700000000", "recipient_id": CUSTOMER,
                    "biz_opaque_callback_data": m["body"]["biz_opaque_callback_data"]}]}}]}]}
        assert w.webhook(late).status == 200
        wait_for(lambda: "delivered" in seen.words(w, lost), 10)
        assert w.branch.message(lost)["state"] == "delivered", w.branch.message(lost)
        assert len(w.received()) == 1


def test_errors_that_pass_are_retried_and_those_that_stay_are_told_once():
    with World() as w:
        for code, count in PASSING:
            w.control(fault="error", code=code, count=count)
            message_id = w.branch.text(f"2547130{code % 100000:05d}", f"after error {code}")
            wait_for(lambda t=f"after error {code}": t in seen.texts(w), 20)
            wait_for(lambda i=message_id: "read" in seen.words(w, i), 10)
            assert "failed" not in seen.words(w, message_id)
        for code in (131047, 100, 131051, 132000):
            w.control(fault="error", code=code, count=1)
            message_id = w.branch.text(f"2547140{code % 100000:05d}", f"refused by {code}")
            told = wait_for(lambda i=message_id: seen.statuses(w, i))
            assert [s["status"] for s in told] == ["failed"] and told[0]["errors"][0]["code"] == code, told
            assert told[0]["recipient_id"] == f"2547140{code % 100000:05d}"
            assert w.branch.message(message_id)["state"] == "failed"
            assert w.branch.message(message_id)["error"]["code"] == code
        # One that comes back again and again is given up after some tries, and told.
        hopeless_code = 135000 if QUICK else 131000
        w.control(fault="error", code=hopeless_code, count=20)
        hopeless = w.branch.text(OTHER, "hopeless")
        told = wait_for(lambda: seen.statuses(w, hopeless), 30)
        assert told[0]["status"] == "failed" and told[0]["errors"][0]["code"] == hopeless_code, told
        w.control(fault="none")
        w.control(fault="delay", ms=1500, count=5)
        slow = [w.branch.text(f"25471500000{i}", f"slow {i}") for i in range(5)]
        wait_for(lambda: all("read" in seen.words(w, i) for i in slow), 20)
        once(w, *(f"slow {i}" for i in range(5)), *(f"after error {c}" for c, _ in PASSING))
        assert not [t for t in seen.texts(w) if t.startswith("refused") or t == "hopeless"]
        assert all(len([s for s in seen.words(w, i) if s == "failed"]) <= 1 for i in (hopeless, *slow))
        assert w.branch.status()["totals"]["refused"] == 5, w.branch.status()["totals"]


def test_an_expired_token_holds_the_messages_until_it_is_mended():
    with World() as w:
        w.control(fault="error", code=190, count=1000000)
        ids = [w.branch.text(f"25471600000{i}", f"held {i}") for i in range(5)]
        wait_for(lambda: courier(w)["held"] == 5, 20)
        assert any(alarm in w.gateway.log_text() for alarm in ("level=error", "level=warning"))
        assert b"190" in request(w.board_port, "GET", "/status").body
        assert seen.stays(lambda: not seen.texts(w) and not any(seen.words(w, i) for i in ids), 2)
        # The gateway started anew holds them again, and still tells nobody that they failed.
        w.gateway.kill()
        w.gateway.start()
        wait_for(w.gateway_ready)
        wait_for(lambda: courier(w)["held"] == 5, 20)
        w.control(fault="none")
        assert "released" in w.gateway.verb("courier", "release").stdout
        wait_for(lambda: all("read" in seen.words(w, i) for i in ids), 20)
        once(w, *(f"held {i}" for i in range(5)))
        assert courier(w)["held"] == 0 and courier(w)["failed"] == 0


def test_repeated_and_muddled_webhooks_reach_the_program_once_and_whole():
    with World() as w:
        w.control(fault="webhooks_duplicated", on=True)
        ids = [w.branch.text(f"25471700000{i}", f"twice told {i}") for i in range(5)]
        for i in range(5):
            w.answer(CUSTOMER, {"text": f"answer {i}"})
        wait_for(lambda: all("read" in seen.words(w, i) for i in ids) and len(seen.inbound(w)) >= 5, 20)
        time.sleep(0.5)
        for i in ids:
            assert seen.words(w, i) == ["sent", "delivered", "read"], seen.words(w, i)
        assert [m["text"]["body"] for m in seen.inbound(w)] == [f"answer {i}" for i in range(5)]
        w.control(fault="none")
        w.control(fault="webhooks_reordered", on=True)
        ids = [w.branch.text(f"25471800000{i}", f"muddled {i}") for i in range(5)]
        for i in range(6):
            w.answer(OTHER, {"text": f"muddled answer {i}"})
        wait_for(lambda: all({"sent", "delivered", "read"} <= set(seen.words(w, i)) for i in ids), 30)
        wait_for(lambda: len(seen.inbound(w)) >= 11, 20)
        assert all(w.branch.message(i)["state"] == "read" for i in ids)
        assert all(len(seen.words(w, i)) == 3 for i in ids)
        assert sorted(m["text"]["body"] for m in seen.inbound(w)[5:]) == [f"muddled answer {i}" for i in range(6)]
        assert len({m["id"] for m in seen.inbound(w)}) == 11


def test_outages_of_webhooks_program_and_relay_only_delay():
    with World() as w:
        w.control(fault="webhook_outage", on=True)
        message_id = w.branch.text(CUSTOMER, "sent in the outage")
        for i in range(5):
            w.answer(CUSTOMER, {"text": f"written in the outage {i}"})
        wait_for(lambda: seen.texts(w) == ["sent in the outage"])
        assert seen.stays(lambda: not w.hooks(), 2)
        # It ends, but now the branch's program is down; and then the relay dies.
        w.control(fault="hook_down", on=True)
        w.control(fault="webhook_outage", on=False)
        wait_for(lambda: w.branch.status()["webhooks"]["waiting"] >= 8, 20)
        assert w.gateway_status()["branches"][0]["pending_down"] == 0
        w.branch.relay.kill()
        w.branch.start()
        assert w.branch.status()["webhooks"]["waiting"] == 8, w.branch.status()["webhooks"]
        w.control(fault="hook_down", on=False)
        wait_for(lambda: len(w.hooks()) >= 8, 40)
        assert [m["text"]["body"] for m in seen.inbound(w)] == [f"written in the outage {i}" for i in range(5)]
        assert seen.words(w, message_id) == ["sent", "delivered", "read"]
        assert all(h["signature_ok"] for h in w.hooks()) and len(w.hooks()) == 8


def test_a_gateway_killed_in_the_middle_of_a_submission_doubles_nothing():
    with World() as w:
        rounds = (False,) if QUICK else (False, True)
        for moment, no_statuses in enumerate(rounds):
            w.control(fault="none")
            w.control(fault="no_statuses", on=no_statuses)
            w.control(fault="accept_then_hang", count=4)
            ids = [w.branch.text(f"2547190000{moment}{i}", f"in flight {moment} {i}", Zajel_Expires_In="20")
                   for i in range(4)]
            wait_for(lambda m=moment: len(w.received()) >= 6 * m + 4)
            w.gateway.kill()
            behind = [w.branch.text(f"2547190000{moment}{i}", f"behind {moment} {i}") for i in range(2)]
            w.gateway.start()
            wait_for(w.gateway_ready)
            wait_for(lambda b=f"behind {moment} 1": b in seen.texts(w), 60)
            if no_statuses:
                # Nobody will ever know: each is told so, at its deadline.
                wait_for(lambda i=ids: all(seen.words(w, one) == ["failed"] for one in i), 40)
                assert {seen.statuses(w, i)[0]["errors"][0]["code"] for i in ids} == {990002}
            else:
                wait_for(lambda i=ids + behind: all("read" in seen.words(w, one) for one in i), 30)
                assert courier(w)["unknown"] == 0
        once(w, *(f"in flight {m} {i}" for m in range(len(rounds)) for i in range(4)))
        assert len(w.received()) == 6 * len(rounds)


def test_while_whatsapp_cannot_be_reached_everything_waits():
    with World(start=False) as w:
        # The link does not go through the practice WhatsApp's own switch, which goes away with it.
        set_keys(w.branch.relay.config, {"uplink": {"url": f"wss://127.0.0.1:{w.sync_port}/sync"}})
        w.start()
        w.branch.text(CUSTOMER, "before")
        wait_for(lambda: seen.texts(w) == ["before"])
        w.sandbox.kill()
        ids = [w.branch.text(CUSTOMER, f"nobody there {i}") for i in range(5)]
        wait_for(lambda: courier(w)["pending"] == 5, 10)
        time.sleep(1 if QUICK else 5)
        assert courier(w)["pending"] == 5 and courier(w)["unknown"] == 0 and courier(w)["failed"] == 0, courier(w)
        w.sandbox.start()
        wait_for(w.sandbox_ready)
        wait_for(lambda: all("read" in seen.words(w, i) for i in ids), 90, 0.1)
        assert seen.texts(w) == [f"nobody there {i}" for i in range(5)]


if __name__ == "__main__":
    zajel.main(globals())
