# SPDX-License-Identifier: Apache-2.0
"""The sample of traffic (tests/fixtures/corpus.jsonl.gz, or the file named by CORPUS): driving it through the daemons in
its own directions, and judging what came out. Nothing here knows how the daemons work: it is the judge outside."""
import collections
import gzip
import hashlib
import hmac
import http.client
import json
import os
import threading
import time

import zajel
from zajel import APP_SECRET, NUMBER

CORPUS = os.environ.get("CORPUS", os.path.join(os.path.dirname(__file__), "..", "fixtures", "corpus.jsonl.gz"))


def read(lines_max=None):
    """(sends, webhooks): the raw lines of each direction, in order."""
    sends, webhooks = [], []
    with gzip.open(CORPUS, "rb") as f:
        for i, line in enumerate(f):
            if lines_max and i >= lines_max:
                break
            (webhooks if b'"object"' in line[:12] else sends).append(line.rstrip(b"\n"))
    return sends, webhooks


def numbers(webhooks):
    return sorted({json.loads(w)["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] for w in webhooks})


def number_sections(webhooks):
    """Configuration of the gateway for the numbers of the sample."""
    return "".join(f"[number {n}]\nprovider = meta\nwaba_id = 1\ndisplay_phone_number = 254700000002\n"
                   f"access_token_file = token\nmps = 1000\n" for n in numbers(webhooks) if n != NUMBER)


class Poster:
    """One keep-alive connection that repeats a POST until it is answered with a wanted status: what a careful program
    does (with an Idempotency-Key), and what Meta does."""

    def __init__(self, port, give_up_s=120):
        self.port, self.give_up_s, self.connection = port, give_up_s, None
        self.repeats = 0

    def post(self, path, body, headers, wanted=(200,)):
        end = time.monotonic() + self.give_up_s
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                self.connection.request("POST", path, body, headers)
                r = self.connection.getresponse()
                data = r.read()
                if r.status in wanted:
                    return r.status, data
                if r.status < 500 and r.status != 429:
                    raise AssertionError(f"{r.status} {data!r} to {body!r}")
            except (OSError, http.client.HTTPException):
                self.connection.close()
                self.connection = None
            self.repeats += 1
            if time.monotonic() > end:
                raise AssertionError(f"no answer for {self.give_up_s} s to {path}")
            time.sleep(0.05)


def send_up(branch, sends, tag):
    """Posts the sends in order; returns the ids, None for read marks."""
    poster, ids = Poster(branch.port), []
    for i, line in enumerate(sends):
        _, data = poster.post(f"/v23.0/{NUMBER}/messages", line, branch.headers(Idempotency_Key=f"{tag}-{i}"))
        answer = json.loads(data)
        ids.append(answer["messages"][0]["id"] if "messages" in answer else None)
        assert ids[-1] or answer == {"success": True}, answer
    return ids


def send_down(world, webhooks):
    poster = Poster(world.webhook_port)
    for line in webhooks:
        poster.post("/webhook", line, {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": "sha256=" + hmac.new(APP_SECRET.encode(), line, hashlib.sha256).hexdigest()})


def both_ways(world, sends, webhooks, tag="t"):
    """Drives both directions at once; returns the ids of the sends."""
    failures, ids = [], []

    def guarded(work):
        try:
            work()
        except Exception as e:  # Told by the caller's thread.
            failures.append(e)

    threads = [threading.Thread(target=guarded, args=(lambda: ids.extend(send_up(world.branch, sends, tag)),)),
               threading.Thread(target=guarded, args=(lambda: send_down(world, webhooks),))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return ids


def without_token(body):
    body = dict(body)
    body.pop("biz_opaque_callback_data", None)  # The documented rewriting: the gateway's own token stands here.
    return body


def canonical(body):
    return json.dumps(body, sort_keys=True, ensure_ascii=False)


def lane_of(body):
    return "alert" if body.get("type") == "template" else "chat"


def check_up(sends, received, unknown=0):
    """What WhatsApp got is what was sent: equal as JSON, once, in order per customer and lane. With unknown outcomes
    so many messages may be missing (their senders are told); never is one there twice. A read mark may come again after an
    unknown outcome: it reaches nobody's phone."""
    expected = collections.Counter(canonical(json.loads(line)) for line in sends)
    got = collections.Counter(canonical(without_token(m)) for m in received)
    doubled = {b: n - expected[b] for b, n in got.items() if n > expected[b] and '"status": "read"' not in b or
               b not in expected}
    missing = {b: n - got[b] for b, n in expected.items() if n > got[b]}
    assert not doubled, f"{sum(doubled.values())} more than were sent, for example {next(iter(doubled))}"
    assert sum(missing.values()) <= unknown, f"{sum(missing.values())} missing, for example {next(iter(missing))}"

    def order(bodies):
        rows = collections.defaultdict(list)
        for b in bodies:
            if "to" in b:
                rows[b["to"], lane_of(b)].append(canonical(b))
        return rows
    want, have = order(json.loads(line) for line in sends), order(without_token(m) for m in received)
    for key, row in have.items():
        rest = iter(want[key])
        assert all(b in rest for b in row), f"out of order for {key[1]} of one customer"


def event_of(body):
    value = body["entry"][0]["changes"][0]["value"]
    return value, (value.get("messages") or value.get("statuses"))[0]


def customer_of(body):
    _, event = event_of(body)
    return event.get("from") or event.get("recipient_id")


def check_down(webhooks, hooks, known_ids=()):
    """What the program got is what Meta posted, after the documented rewriting; in order per customer. Repeats of one
    event to the program are allowed only where hooks hold them whole (a program killed before its answer)."""
    forward, backward = {}, {}

    def rewritten(original, body):
        """True when body is original after the rewriting; notes the conversation numbers."""
        a, b = json.loads(json.dumps(original)), json.loads(json.dumps(body))
        (_, ea), (_, eb) = event_of(a), event_of(b)
        if "from" in ea:
            if not eb["id"].startswith("wamid.") or eb["id"] == ea["id"]:
                return False
            ea["id"] = eb["id"]
        ca, cb = ea.get("conversation"), eb.get("conversation")
        if ca and cb and "id" in ca and "id" in cb:
            if len(cb["id"]) != 32 or forward.setdefault(ca["id"], cb["id"]) != cb["id"]:
                return False
            if backward.setdefault(cb["id"], ca["id"]) != ca["id"]:
                return False
            ca["id"] = cb["id"]
        return a == b

    want, have = collections.defaultdict(list), collections.defaultdict(list)
    for line in webhooks:
        body = json.loads(line)
        want[customer_of(body)].append(body)
    for body in hooks:
        if event_of(body)[1].get("id") in known_ids:
            continue  # Statuses of our own sends, not of the sample.
        have[customer_of(body)].append(body)
    count = 0
    for customer, bodies in want.items():
        got = have.get(customer, [])
        assert len(got) == len(bodies), f"{len(got)} of {len(bodies)} events of one customer"
        for original, body in zip(bodies, got):
            assert rewritten(original, body), f"{json.dumps(original)}\nbecame\n{json.dumps(body)}"
            count += 1
    return count


def unique(hooks):
    """Deliveries without the repeats that a crash between the program's answer and our commit makes (each whole)."""
    seen, out = set(), []
    for body in hooks:
        text = canonical(body)
        if text not in seen:
            seen.add(text)
            out.append(body)
    return out


assert zajel
