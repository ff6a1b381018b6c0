#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bad input from programs and from the internet: said what is wrong, and nothing that was accepted is touched."""
import hashlib
import hmac
import json
import socket
import threading
import time

import seen
import zajel
from box import Box
from zajel import APP_SECRET, BUILD, NUMBER, QUICK, VERIFY_TOKEN, World, request, wait_for

CUSTOMER = "254711000001"
MIB = 1 << 20
BAD_PARAMETER = (100, 131008, 131009)  # Invalid, missing, of a wrong value: WhatsApp has a code for each.


def text(**more):
    return {"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text", "text": {"body": "hello"}, **more}


def buttons(count):
    return text(type="interactive", text=None, interactive={
        "type": "button", "body": {"text": "Which?"}, "action": {"buttons": [
            {"type": "reply", "reply": {"id": f"b{i}", "title": f"Button {i}"}} for i in range(count)]}})


def check_graph_error(answer, http, code, field=None):
    """Shaped as WhatsApp's own errors, so that any client shows it; the field at fault is named. code: one or some."""
    assert answer.status == http, f"{answer.status} instead of {http}: {answer.body[:300]!r}"
    error = answer.json["error"]
    assert error["code"] in (code if isinstance(code, tuple) else (code,)), error
    assert isinstance(error["message"], str) and isinstance(error["type"], str), error
    assert f"(#{error['code']})" in error["message"], error
    details = error["error_data"]["details"]
    assert len(details) > 10 and answer.headers["content-type"].startswith("application/json")
    if field:
        assert field in details, f"{field} is not named in {details!r}"


# What is wrong with it, the body, the word that the error must hold.
BAD_BODIES = [
    ("no body", b"", "JSON"),
    ("not JSON", b"hello", "JSON"),
    ("an open object", b'{"messaging_product": "whatsapp",', "JSON"),
    ("two objects", b"{}{}", "JSON"),
    ("an array", b"[]", "object"),
    ("a word", b'"whatsapp"', None),
    ("NaN", b'{"messaging_product":"whatsapp","to":"254711000001","type":"text","text":{"body":NaN}}', "JSON"),
    ("a key twice", b'{"messaging_product":"whatsapp","to":"254711000001","to":"254711000002","type":"text",'
                    b'"text":{"body":"x"}}', "duplicate"),
    ("too deep", b'{"a":' * 5000 + b"1" + b"}" * 5000, None),
    ("too deep and open", b"[" * 100000, None),
    ("a lone surrogate", b'{"messaging_product":"whatsapp","to":"254711000001","type":"text",'
                         b'"text":{"body":"\\ud83d"}}', None),
    ("surrogates in the wrong order", b'{"messaging_product":"whatsapp","to":"254711000001","type":"text",'
                                      b'"text":{"body":"\\ude00\\ud83d"}}', None),
    ("no UTF-8", b'{"messaging_product":"whatsapp","to":"254711000001","type":"text","text":{"body":"\xff\xfe"}}', None),
    ("a NUL outside", b"\0{}", "JSON"),
    ("more than an integer holds", b'{"messaging_product":"whatsapp","to":9223372036854775808,"type":"text"}', None),
    ("an exponent beyond all", b'{"messaging_product":"whatsapp","to":"254711000001","type":"text","n":1e999}', None),
    ("no product", {"to": CUSTOMER, "type": "text", "text": {"body": "x"}}, "messaging_product"),
    ("another product", text(messaging_product="sms"), "messaging_product"),
    ("to missing", {"messaging_product": "whatsapp", "type": "text", "text": {"body": "x"}}, "to"),
    ("to a number", text(to=254711000001), "to"),
    ("to an array", text(to=[CUSTOMER]), "to"),
    ("to no number", text(to="the manager"), "to"),
    ("to too short", text(to="12"), "to"),
    ("to too long", text(to="1" * 40), "to"),
    ("type missing", {"messaging_product": "whatsapp", "to": CUSTOMER, "text": {"body": "x"}}, "type"),
    ("type a number", text(type=7), "type"),
    ("text missing", {"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text"}, "text"),
    ("text a string", text(text="hello"), "text"),
    ("text without body", text(text={}), "text.body"),
    ("text empty", text(text={"body": ""}), "text.body"),
    ("text too long", text(text={"body": "x" * 4097}), "4096"),
    ("caption too long", text(type="image", image={"link": "https://bank.example/a.png", "caption": "x" * 1025}),
     "image.caption"),
    ("image without source", text(type="image", image={}), "image"),
    ("caption of a sticker", text(type="audio", audio={}), "audio"),
    ("latitude of words", text(type="location", location={"latitude": "north", "longitude": 36.9}), "location.latitude"),
    ("longitude missing", text(type="location", location={"latitude": 1}), "location.longitude"),
    ("contacts an object", text(type="contacts", contacts={}), "contacts"),
    ("too many contacts", text(type="contacts", contacts=[{"name": {"formatted_name": "A", "first_name": "A"}}] * 258),
     "contacts"),
    ("four buttons", buttons(4), "buttons"),
    ("no buttons", buttons(0), "buttons"),
    ("template without name", text(type="template", template={"language": {"code": "en"}}), "template.name"),
    ("template without language", text(type="template", template={"name": "otp"}), "template.language"),
    ("reaction to nothing", text(type="reaction", reaction={"emoji": "x"}), "reaction.message_id"),
    ("context a string", text(context="wamid.x"), "context"),
    ("callback data too long", text(biz_opaque_callback_data="x" * 513), "biz_opaque_callback_data"),
    ("read without id", {"messaging_product": "whatsapp", "status": "read"}, "message_id"),
    ("another status", {"messaging_product": "whatsapp", "status": "unread", "message_id": "wamid.x"}, "status"),
]

BAD_HEADERS = [
    ("Zajel-Lane", "express"), ("Zajel-Lane", ""), ("Zajel-Lane", "URGENT,bulk"),
    ("Zajel-Expires-In", "0"), ("Zajel-Expires-In", "-5"), ("Zajel-Expires-In", "soon"), ("Zajel-Expires-In", "1e3"),
    ("Zajel-Expires-In", "99999999999999999999"), ("Zajel-Expires-In", "2592001"), ("Zajel-Expires-In", ""),
    ("Idempotency-Key", ""), ("Idempotency-Key", "k" * 256),
]


def try_bodies(box):
    for name, body, field in BAD_BODIES:
        answer = box.post(body)
        try:
            check_graph_error(answer, 400, BAD_PARAMETER, field)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from e
    check_graph_error(box.post(text(type="system", system={})), 400, 131051, "type")


def try_heads(box):
    for name, value in BAD_HEADERS:
        check_graph_error(box.post(text(), **{name: value}), 400, 100, name)
    path, good = f"/v23.0/{NUMBER}/messages", json.dumps(text())
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": box.token},
                    {"Authorization": f"Basic {box.token}"}, {"Authorization": "Bearer " + "x" * 5000},
                    {"Authorization": f"Bearer {box.token}x"}, {"Authorization": f"Bearer {box.token[:-1]}"}):
        check_graph_error(request(box.port, "POST", path, good, headers), 401, 190, "Authorization")
    for number in ("1", "106540352242923", "x", "0", "-1", NUMBER + "0", "9" * 30):
        check_graph_error(box.post(text(), path=f"/v23.0/{number}/messages"), 400, 33)
    for method in ("GET", "PUT", "DELETE", "PATCH", "BREW"):
        answer = request(box.port, method, path, headers=box.headers())
        assert answer.status in (400, 405) and answer.json["error"]["code"] == 100, (method, answer.status, answer.body)
    for unknown in ("/", "/v23.0", f"/v23.0/{NUMBER}", f"/v23.0/{NUMBER}/letters", f"/{NUMBER}/messages/x/y",
                    f"/v23/{NUMBER}/messages", "/../../etc/passwd", "/zajel/v1", "//", "/v23.0//messages",
                    "/" + "a" * 4000):
        answer = box.post(text(), path=unknown)
        assert answer.status in (400, 404) and "error" in answer.json, (unknown, answer.status, answer.body)
    for unknown in ("wamid.x", "wamid." + "A" * 22, "", "%00", "x" * 1000):
        answer = request(box.port, "GET", f"/zajel/v1/messages/{unknown}", headers=box.headers())
        assert answer.status in (400, 404) and "error" in answer.json, (unknown, answer.status, answer.body)


def chunked(body, sizes):
    out, at = b"", 0
    while at < len(body):
        piece = body[at:at + sizes]
        out += b"%x\r\n%s\r\n" % (len(piece), piece)
        at += sizes
    return out + b"0\r\n\r\n"


def talk(port, raw, timeout=20, pieces=None):
    """Sends raw bytes and gives (HTTP status or 0, all that came back)."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as s:
        try:
            for piece in pieces or [raw]:
                s.sendall(piece)
        except OSError:
            pass  # Hung up on before it was through: what it said before stands.
        got = b""
        try:
            while data := s.recv(65536):
                got += data
                if len(got) > 65536:
                    break
        except OSError:
            pass
    words = got.split(b" ", 2)
    return (int(words[1]) if words[0].startswith(b"HTTP/1.") else 0), got


def head(box, *lines):
    return "\r\n".join([f"POST /v23.0/{NUMBER}/messages HTTP/1.1", "Host: 127.0.0.1", "Connection: close",
                        f"Authorization: Bearer {box.token}", *lines, "", ""]).encode()


def try_sizes(box):
    for size in (MIB + 1, 2 * MIB, 15 * MIB):
        body = json.dumps(text(note="x" * size)).encode()
        check_graph_error(box.post(body), 413, 100)
        status, got = talk(box.port, head(box, "Transfer-Encoding: chunked") + chunked(body, 65536))
        assert status == 413, (size, got[:200])
    # Announced, it need not be sent at all.
    status, got = talk(box.port, head(box, f"Content-Length: {2 * MIB}", "Expect: 100-continue"))
    assert status == 413, got[:200]
    # Beyond 16 MiB nobody reads on: an answer or a hang-up, and soon.
    began = time.monotonic()
    status, got = talk(box.port, head(box, f"Content-Length: {1 << 40}"), pieces=[
        head(box, f"Content-Length: {1 << 40}")] + [b"x" * MIB] * 40)
    assert status in (0, 413) and time.monotonic() - began < 15, (status, got[:200])


def try_framing(box):
    """Heads that two readers may take for two different requests, and heads of any size."""
    good = json.dumps(text()).encode()
    for lines in (["Content-Length: -1"], ["Content-Length: 5x"], ["Content-Length: 5", "Content-Length: 6"],
                  ["Content-Length: 5", "Transfer-Encoding: chunked"], ["Transfer-Encoding: gzip"],
                  ["Host: other", f"Content-Length: {len(good)}"], ["X" * 20000 + ": y"],
                  [f"X-{i}: {'y' * 100}" for i in range(2000)], ["no colon here"], ["\x01: \x02"]):
        status, got = talk(box.port, head(box, *lines) + good, timeout=0.3 if QUICK else 1)
        assert status in (0, 400, 411, 413, 431, 501, 505), (lines[0][:60], status, got[:200])
    for raw in (b"\r\n" * 1000, b"\0" * 1000, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"x" * 100000):
        status, _ = talk(box.port, raw, timeout=0.3 if QUICK else 1)
        assert status == 0 or status >= 400, (raw[:20], status)


def try_patience(box):
    """Half requests, dribbled or abandoned, while others are served."""
    slow = []
    for i in range(40):
        s = socket.create_connection(("127.0.0.1", box.port))
        s.sendall(head(box, "Content-Length: 100")[:20 + 5 * i])
        slow.append(s)
    began, served = time.monotonic(), 0
    while time.monotonic() - began < (1 if QUICK else 3):
        for s in slow:
            try:
                s.send(b"x")
            except OSError:
                pass
        check_graph_error(box.post(b"{"), 400, 100)
        served += 1
    assert served > 10, served
    for i, s in enumerate(slow):
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()


def try_many_at_once(box):
    def bombard():
        for i in range(10):
            talk(box.port, head(box, "Content-Length: 100000") + b"{" * (i * 1000), pieces=None, timeout=0.2)
    threads = [threading.Thread(target=bombard) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def test_programs_are_told_what_is_wrong_and_nothing_accepted_is_touched():
    with Box() as box:
        box.start()
        accepted = [box.text(CUSTOMER, f"accepted {i}") for i in range(3)]
        before, queue = box.rss_anon(), box.status()["queue"]
        for attack in (try_bodies, try_heads, try_sizes, try_framing, try_patience) + (() if QUICK else (try_many_at_once,)):
            attack(box)
            assert box.relay.alive, f"the relay did not outlive {attack.__name__}"
        if not QUICK:
            for _ in range(5):
                try_bodies(box)
                try_sizes(box)
        status = box.status()
        assert status["queue"]["messages"] == 3 and status["queue"]["bytes"] == queue["bytes"], status["queue"]
        assert status["totals"]["accepted"] == 3, status["totals"]
        assert [box.message(i)["state"] for i in accepted] == ["queued"] * 3
        grown = box.rss_anon() - before
        if "asan" not in BUILD:  # Its quarantine keeps what was freed.
            assert grown < 8 * MIB, f"{grown} bytes more than before"
        box.restart()
        assert box.status()["queue"]["messages"] == 3
        assert [box.message(i)["state"] for i in accepted] == ["queued"] * 3
        for path in (f"/{NUMBER}/messages", f"/v13.0/{NUMBER}/messages", f"/v99.9/{NUMBER}/messages"):
            assert box.post(text(), path=path).status == 200, path


def test_what_real_clients_send_is_taken():
    with Box() as box:
        box.start()
        body = json.dumps(text(text={"body": "chunked \u0645 \U0001f600"}), ensure_ascii=False).encode()
        for size in (1, 7, 1000):
            status, got = talk(box.port, head(box, "Transfer-Encoding: chunked") + chunked(body, size))
            assert status == 200, got[:300]
        # With Expect the body comes after the 100.
        with socket.create_connection(("127.0.0.1", box.port), timeout=10) as s:
            s.sendall(head(box, f"Content-Length: {len(body)}", "Expect: 100-continue"))
            got = s.recv(1000)
            assert got.startswith(b"HTTP/1.1 100"), got
            s.sendall(body)
            got = b""
            while data := s.recv(65536):
                got += data
            assert got.startswith(b"HTTP/1.1 200"), got
        # Byte by byte, and two requests one after the other in one piece.
        request_bytes = head(box, f"Content-Length: {len(body)}") + body
        status, got = talk(box.port, None, pieces=[request_bytes[i:i + 1] for i in range(len(request_bytes))])
        assert status == 200, got[:300]
        keep = (head(box, f"Content-Length: {len(body)}") + body).replace(b"Connection: close\r\n", b"")
        status, got = talk(box.port, keep + request_bytes)
        assert got.count(b"HTTP/1.1 200") == 2, got
        taken = [text(text={"body": "\0 and \u2028"}), text(to="+254 (711) 000-001"), text(n=9223372036854775807),
                 text(n=-0.0), text(n=1e300), text(text={"body": "x" * 4096}), text(text={"body": "\U0001f600" * 4096}),
                 text(unknown={"a": [None, True, {}, []]}), buttons(3), text(type="hologram", hologram={"depth": 3}),
                 text(to=None, recipient="KE.abc123")]
        for message in taken:
            message = {k: v for k, v in message.items() if v is not None}
            answer = box.post(message)
            assert answer.status == 200 and answer.json["messages"][0]["id"].startswith("wamid."), (message, answer.body)
        assert box.post(text(), Idempotency_Key="k" * 255).status == 200
        assert box.post(text(), Zajel_Lane="bulk", Zajel_Expires_In="2592000").status == 200
        read = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.X",
                "typing_indicator": {"type": "text"}}
        for path in (f"/{NUMBER}/messages", f"/v21.0/{NUMBER}/messages"):
            answer = box.post(read, path=path)
            assert answer.status == 200 and answer.json == {"success": True}, answer.body


def envelope(**value):
    return {"object": "whatsapp_business_account", "entry": [{"id": "102310231023", "changes": [{
        "field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {
            "display_phone_number": "254700000001", "phone_number_id": NUMBER}, **value}}]}]}


def customer_text(i, customer=None, words="hello"):
    return {"from": customer or f"2547110{i:05d}", "id": f"wamid.meta-{i}", "timestamp": "1700000000", "type": "text",
            "text": {"body": words}}


def signed(body, secret=APP_SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post_hook(world, body, signature):
    headers = {"Content-Type": "application/json"}
    if signature is not None:
        headers["X-Hub-Signature-256"] = signature
    return request(world.webhook_port, "POST", "/webhook", body, headers)


def test_only_whatsapp_is_believed_on_the_webhook():
    with World() as w:
        body = json.dumps(envelope(messages=[customer_text(1)])).encode()
        for signature in (None, "", "sha256=", "sha256=" + "0" * 64, signed(body + b" "), signed(body, "other secret"),
                          signed(body)[:-1], signed(body) + "0", signed(body).removeprefix("sha256="),
                          signed(body).replace("sha256", "sha1"), "sha256=" + "zz" * 32):
            answer = post_hook(w, body, signature)
            assert answer.status in (401, 403), (signature, answer.status)
        verify = f"/webhook?hub.mode=subscribe&hub.verify_token={VERIFY_TOKEN}&hub.challenge=1158201444"
        answer = request(w.webhook_port, "GET", verify)
        assert (answer.status, answer.body) == (200, b"1158201444")
        for wrong in (verify.replace(VERIFY_TOKEN, "guess"), verify.replace("subscribe", "other"), "/webhook",
                      verify.replace(f"hub.verify_token={VERIFY_TOKEN}&", "")):
            answer = request(w.webhook_port, "GET", wrong)
            assert 400 <= answer.status < 500 and b"1158201444" not in answer.body, (wrong, answer.status, answer.body)
        for path in ("/", "/status", "/other"):
            assert request(w.webhook_port, "GET", path).status == 404, path
        assert request(w.webhook_port, "DELETE", "/webhook").status in (400, 404, 405)
        # Nothing of that went anywhere; the true one does, in upper-case hex too.
        assert post_hook(w, body, signed(body)).status == 200
        wait_for(lambda: seen.inbound(w))
        assert seen.stays(lambda: len(w.hooks()) == 1, 1)


def test_batches_are_split_and_odd_webhooks_harm_nobody():
    with World() as w:
        count = 200 if QUICK else 1000
        filler = "x" * (2900000 // count - 300)
        messages = envelope(messages=[customer_text(i, f"2547110{i % 50:05d}", f"{i} {filler}") for i in range(count)])
        statuses = envelope(statuses=[{"id": f"wamid.foreign-{i}", "status": "delivered", "timestamp": "1700000000",
                                       "recipient_id": f"2547110{i % 50:05d}"} for i in range(count)])
        assert len(json.dumps(messages)) > 2500000
        assert w.webhook(messages).status == 200
        assert w.webhook(statuses).status == 200
        wait_for(lambda: len(w.hooks()) >= 2 * count, 60, 0.3)
        got, told = [], []
        for hook in w.hooks():
            value = seen.value_of(hook)
            assert len(value.get("messages", []) + value.get("statuses", [])) == 1
            got += value.get("messages", [])
            told += value.get("statuses", [])
        assert len(got) == count and {s["id"] for s in told} == {f"wamid.foreign-{i}" for i in range(count)}
        for customer in {m["from"] for m in got}:
            order = [int(m["text"]["body"].split()[0]) for m in got if m["from"] == customer]
            assert order == sorted(order) and len(order) == len(set(order)), order
        assert len({m["id"] for m in got}) == count
        # Meta repeats what it thinks was not heard: nobody hears it again.
        assert w.webhook(messages).status == 200

        odd = [b"{}", b"[]", b"null", b"7", b'{"object":"page","entry":[]}', b'{"object":"whatsapp_business_account"}',
               b'{"object":"whatsapp_business_account","entry":{}}', b'{"object":"whatsapp_business_account","entry":[7]}',
               b'{"entry":[{"changes":7}]}', b'{"entry":[{"changes":[null]}]}', b'{"entry":[{"changes":[{"value":[]}]}]}',
               json.dumps(envelope(messages=7)).encode(), json.dumps(envelope(messages=[7, None, []])).encode(),
               json.dumps(envelope(statuses=[{"id": 7, "status": []}])).encode(),
               json.dumps(envelope(messages=[{"from": 7, "id": {}, "type": None}])).encode(),
               json.dumps(envelope(messages=[{"id": "wamid." + "x" * 5000, "from": "1" * 5000}])).encode(),
               b'{"entry":' + b"[" * 3000 + b"]" * 3000 + b"}", b"not JSON", b"", b"\0\0", b"\xff\xfe"]
        for body in odd:
            answer = post_hook(w, body, signed(body))
            # 200: taken; 400: no webhook at all. Never what makes Meta repeat it for a week.
            assert answer.status in (200, 400), (body[:80], answer.status, answer.body)
        news = {"object": "whatsapp_business_account", "entry": [{"id": "102310231023", "changes": [
            {"field": "field_of_next_year", "value": {"metadata": {"phone_number_id": NUMBER}, "a": [1, {"b": None}]}}]}]}
        assert w.webhook(news).status == 200
        w.answer(CUSTOMER, {"text": "still here"})
        wait_for(lambda: any(m.get("text", {}).get("body") == "still here" for m in texts_of(w)), 30)
        wait_for(lambda: any(json.loads(h["body"]) == news for h in w.hooks() if h["body"].startswith("{")), 20)
        assert w.gateway.alive and w.branch.relay.alive
        assert w.webhook(b"x" * (4 << 20)).status == 413


def texts_of(world):
    """Messages of all webhooks that are of the known shape."""
    out = []
    for hook in world.hooks():
        try:
            value = seen.value_of(hook)
            out += [m for m in value.get("messages", []) if isinstance(m, dict) and isinstance(m.get("text", {}), dict)]
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return out


if __name__ == "__main__":
    zajel.main(globals())
