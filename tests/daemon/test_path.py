#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole path: a message waits, goes, is answered."""
import json
import time

import zajel
from zajel import NUMBER, World, request, wait_for

CUSTOMER = "254711000001"


def bodies(messages):
    return [m["body"] for m in messages]


def value_of(hook):
    return json.loads(hook["body"])["entry"][0]["changes"][0]["value"]


def statuses_of(world, message_id):
    return [s["status"] for h in world.hooks() for s in value_of(h).get("statuses", []) if s["id"] == message_id]


def inbound(world):
    return [m for h in world.hooks() for m in value_of(h).get("messages", [])]


def texts_at_phone(world):
    return [m["text"]["body"] for m in bodies(world.received()) if m["type"] == "text"]


def test_a_text_reaches_the_phone_and_its_answer_comes_back():
    with World() as w:
        message_id = w.branch.text("+254 711-000001", "Habari \u2014 your card is ready \u0645\u0631\u062d\u0628\u0627")
        wait_for(lambda: w.received())
        assert texts_at_phone(w) == ["Habari \u2014 your card is ready \u0645\u0631\u062d\u0628\u0627"]
        wait_for(lambda: statuses_of(w, message_id) == ["sent", "delivered", "read"])
        assert w.branch.message(message_id)["state"] == "read"
        w.answer(CUSTOMER, {"text": "Asante \U0001f600"})
        wait_for(lambda: inbound(w))
        got = inbound(w)[0]
        assert got["from"] == CUSTOMER and got["text"]["body"] == "Asante \U0001f600"
        assert got["id"].startswith("wamid.")
        assert all(h["signature_ok"] for h in w.hooks())
        # A reply to it, a reaction, a read mark: each names the customer's message by the id the branch saw.
        w.branch.post({"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text", "text": {"body": "Karibu"},
                       "context": {"message_id": got["id"]}})
        w.branch.post({"messaging_product": "whatsapp", "to": CUSTOMER, "type": "reaction",
                       "reaction": {"message_id": got["id"], "emoji": "\U0001f44d"}})
        read = w.branch.post({"messaging_product": "whatsapp", "status": "read", "message_id": got["id"]})
        assert read.json == {"success": True}
        wait_for(lambda: len(w.received()) == 4)
        by_type = {m.get("type", "read"): m for m in bodies(w.received())[1:]}
        metas = {by_type["text"]["context"]["message_id"], by_type["reaction"]["reaction"]["message_id"],
                 by_type["read"]["message_id"]}
        assert len(metas) == 1 and metas != {got["id"]}, metas


def test_ten_sent_while_the_link_is_down_arrive_once_in_order():
    with World() as w:
        w.link("down")
        ids = [w.branch.text(CUSTOMER, f"number {i}") for i in range(10)]
        time.sleep(1)
        assert texts_at_phone(w) == []
        assert w.branch.status()["queue"]["messages"] == 10
        assert w.branch.message(ids[3])["state"] == "queued"
        w.link("up")
        wait_for(lambda: len(w.received()) >= 10, 40)
        time.sleep(1)
        assert texts_at_phone(w) == [f"number {i}" for i in range(10)]
        wait_for(lambda: all("read" in statuses_of(w, i) for i in ids))
        status = w.branch.status()
        assert status["queue"]["messages"] == 0 and status["totals"]["accepted"] == 10
        assert w.gateway_status()["branches"][0]["received"] == 10


def test_an_urgent_message_overtakes_a_backlog():
    with World() as w:
        w.link("down")
        for i in range(300):
            w.branch.text(f"2547120{i:05d}", f"backlog {i}")
        w.branch.text(CUSTOMER, "code 123456", Zajel_Lane="urgent")
        w.link("2g")
        wait_for(lambda: "code 123456" in texts_at_phone(w), 60)
        assert len(w.received()) < 300, len(w.received())


def test_the_same_idempotency_key_gets_the_first_answer():
    with World() as w:
        body = {"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text", "text": {"body": "once"}}
        first = w.branch.post(body, Idempotency_Key="k-1")
        w.branch.relay.kill()
        w.branch.start()
        again = w.branch.post(body, Idempotency_Key="k-1")
        assert (first.status, first.json) == (again.status, again.json)
        body["text"]["body"] = "other"
        other = w.branch.post(body, Idempotency_Key="k-1")
        assert other.status == 422 and other.json["error"]["code"] == 100, other.body
        wait_for(lambda: w.received())
        time.sleep(1)
        assert texts_at_phone(w) == ["once"]


def test_an_expired_message_is_never_sent_and_its_sender_is_told():
    with World() as w:
        w.link("down")
        message_id = w.branch.text(CUSTOMER, "too late", Zajel_Expires_In="1")
        kept = w.branch.text(CUSTOMER, "in time")
        wait_for(lambda: w.branch.message(message_id)["state"] == "expired")
        told = wait_for(lambda: [s for h in w.hooks() for s in value_of(h).get("statuses", []) if s["id"] == message_id])
        assert told[0]["status"] == "failed" and told[0]["errors"][0]["code"] == 990001
        w.link("up")
        wait_for(lambda: "read" in statuses_of(w, kept), 40)
        assert texts_at_phone(w) == ["in time"]
        assert w.branch.status()["totals"]["expired"] == 1


def test_a_message_can_be_taken_back_while_it_is_here():
    with World() as w:
        w.link("down")
        first = w.branch.text(CUSTOMER, "on its way when the link went")
        wait_for(lambda: w.branch.status()["link"]["state"] != "up")
        # The link is known to be down: what comes now has surely not left.
        message_id = w.branch.text(CUSTOMER, "to the wrong customer")
        gone = request(w.branch.port, "DELETE", f"/zajel/v1/messages/{message_id}", headers=w.branch.headers())
        assert gone.status == 200 and gone.json["state"] == "withdrawn", gone.body
        after = w.branch.text(CUSTOMER, "to the right one")
        w.link("up")
        wait_for(lambda: "sent" in statuses_of(w, after), 40)
        assert texts_at_phone(w) == ["on its way when the link went", "to the right one"], first
        told = [s for h in w.hooks() for s in value_of(h).get("statuses", []) if s["id"] == message_id]
        assert told and told[0]["errors"][0]["code"] == 990003
        late = request(w.branch.port, "DELETE", f"/zajel/v1/messages/{after}", headers=w.branch.headers())
        assert late.status == 409, late.body


def test_opaque_data_stays_at_the_branch_and_comes_back():
    with World() as w:
        r = w.branch.post({"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text", "text": {"body": "hi"},
                           "biz_opaque_callback_data": "account 12345"})
        message_id = r.json["messages"][0]["id"]
        wait_for(lambda: "read" in statuses_of(w, message_id))
        assert "account 12345" not in json.dumps(w.received())
        for h in w.hooks():
            for s in value_of(h).get("statuses", []):
                assert s["biz_opaque_callback_data"] == "account 12345"


def test_what_whatsapp_refuses_comes_back_as_failed():
    with World() as w:
        w.control(fault="error", code=131026, count=1)
        message_id = w.branch.text(CUSTOMER, "not on WhatsApp")
        told = wait_for(lambda: [s for h in w.hooks() for s in value_of(h).get("statuses", []) if s["id"] == message_id])
        assert told[0]["status"] == "failed" and told[0]["errors"][0]["code"] == 131026
        assert w.branch.message(message_id)["state"] == "failed"
        assert w.branch.status()["totals"]["refused"] == 1


def test_status_and_metrics_name_what_they_should():
    with World() as w:
        w.branch.text(CUSTOMER, "hello")
        wait_for(lambda: w.received())
        s = w.branch.status()
        for path in ("branch", "version", "uptime_s", "link.state", "link.since_s", "link.rtt_ms",
                     "link.goodput_bytes_per_s", "link.sent_bytes", "link.received_bytes", "queue.messages",
                     "queue.bytes", "queue.oldest_age_s", "queue.lanes.urgent.messages", "queue.lanes.bulk.oldest_age_s",
                     "queue.lanes.chat.eta_s", "totals.accepted", "totals.synced", "totals.refused", "totals.expired",
                     "totals.withdrawn", "totals.unknown", "totals.dropped", "store.bytes", "store.quota_bytes",
                     "store.free_bytes", "clock.trusted", "clock.offset_ms", "certificate.expires_at"):
            at = s
            for key in path.split("."):
                assert key in at, path
                at = at[key]
        g = w.gateway_status()
        for key in ("id", "state", "connected", "last_seen_s", "queue", "received", "pending_down"):
            assert key in g["branches"][0], key
        for key in ("pending", "held", "unknown", "submitted", "failed"):
            assert key in g["courier"], key
        assert b"zajel_relay_" in w.branch.get("/metrics").body
        assert b"zajel_gateway_" in request(w.board_port, "GET", "/metrics").body
        assert request(w.branch.port, "GET", "/healthz").status == 200
        assert json.loads(w.branch.relay.verb("status", "--json").stdout)["branch"] == "nyeri-03"
        page = request(w.board_port, "GET", "/")
        assert page.status == 200 and b"nyeri-03" in page.body + request(w.board_port, "GET", "/status").body


def test_sigterm_ends_each_daemon_within_two_seconds():
    with World() as w:
        w.branch.text(CUSTOMER, "hello")
        for daemon in (w.branch.relay, w.gateway, w.sandbox):
            status, took = daemon.stop()
            assert status == 0 and took < 2, (daemon.program, status, took)


def test_the_command_line_sends_and_lists():
    with World() as w:
        message_id = w.branch.relay.verb("send", "--to", CUSTOMER, "--text", "from the shell").stdout.strip()
        wait_for(lambda: "read" in statuses_of(w, message_id))
        w.link("down")
        waiting = w.branch.relay.verb("send", stdin=json.dumps({
            "messaging_product": "whatsapp", "to": CUSTOMER, "type": "text", "text": {"body": "from stdin"}})).stdout.strip()
        assert waiting in w.branch.relay.verb("queue", "list").stdout
        assert CUSTOMER not in w.branch.relay.verb("queue", "list").stdout
        assert "chat" in w.branch.relay.verb("queue", "shape").stdout
        assert NUMBER


def test_a_box_reads_its_number_from_its_certificate():
    with World(start=False) as w:
        with open(w.branch.relay.config, encoding="utf-8") as f:
            lines = [line for line in f if "branch_number" not in line]
        with open(w.branch.relay.config, "w", encoding="utf-8") as f:
            f.writelines(lines)
        w.start()
        w.branch.text(CUSTOMER, "hello")
        wait_for(w.received)


if __name__ == "__main__":
    zajel.main(globals())
