#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every type and event there is goes its own way through the daemons and comes out equal as JSON after the documented
rewriting; what WhatsApp would refuse is refused with its code and a message that names the field."""
import json

import types_fixtures
import zajel
from seen import Id, metric, stays
from traffic import without_token
from types_fixtures import canonical, change_of, value_of
from zajel import NUMBER, World, wait_for

OPAQUE = "the program's own"


def send(world, fixture, words):
    """Posts a send; returns (what WhatsApp should get, our id or None), having judged the answer."""
    body = fixture.filled(words)
    r = world.branch.post(body)
    assert r.status == 200, f"{fixture}: {r.status} {r.body!r}"
    if body.get("status") == "read":
        assert r.json == {"success": True}, f"{fixture}: {r.json}"
        return body, None
    answer = r.json
    assert set(answer) == {"messaging_product", "contacts", "messages"}, f"{fixture}: {answer}"
    (contact,) = answer["contacts"]
    if "to" in body:
        digits = body["to"] if body.get("recipient_type") == "group" else body["to"].lstrip("+")
        assert contact == {"input": body["to"], "wa_id": digits}, f"{fixture}: {contact}"
    else:
        assert contact == {"input": body["recipient"], "user_id": body["recipient"]}, f"{fixture}: {contact}"
    return body, answer["messages"][0]["id"]


def our_id_of(received):
    token = received["body"].get("biz_opaque_callback_data")
    return token.removeprefix("zj1.") if token else None


class Past:
    """What went before: for each fixture that speaks of earlier messages, one of its customer and one of the branch."""

    def __init__(self, world, fixtures):
        self.world = world
        self.inbound, self.sent = {}, {}  # by serial: (Meta's id, ours)
        self._hear([f for f in fixtures if f.needs("@inbound")])
        self._say([f for f in fixtures if f.needs("@sent")])

    def _hear(self, fixtures):
        metas = {f.customer: f"wamid.PAST{f.serial}" for f in fixtures}
        self.world.webhook({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{
            "field": "messages", "value": {"messaging_product": "whatsapp", "metadata": {"phone_number_id": NUMBER},
            "messages": [{"from": c, "id": m, "timestamp": "1795400000", "type": "text", "text": {"body": "before"}}
                         for c, m in metas.items()]}}]}]})
        wait_for(lambda: len(self.world.hooks()) >= len(fixtures))
        ours = {}
        for h in self.world.hooks():
            message = value_of(json.loads(h["body"]))["messages"][0]
            ours[message["from"]] = message["id"]
        self.inbound = {f.serial: (metas[f.customer], ours[f.customer]) for f in fixtures}

    def _say(self, fixtures):
        ours = {}
        for f in fixtures:
            body = {"messaging_product": "whatsapp", "to": f.customer, "type": "text", "text": {"body": "before"}}
            if f.needs("@token"):
                body["biz_opaque_callback_data"] = OPAQUE
            ours[f.serial] = self.world.branch.post(body).json["messages"][0]["id"]
        wait_for(lambda: len(self.world.received()) >= len(fixtures))
        metas = {our_id_of(m): m["id"] for m in self.world.received()}
        self.sent = {f.serial: (metas[ours[f.serial]], ours[f.serial]) for f in fixtures}

    def words(self, fixture, side):
        """side 0: Meta's ids; 1: the branch's."""
        inbound, sent = self.inbound.get(fixture.serial, ("", "")), self.sent.get(fixture.serial, ("", ""))
        return {"inbound": inbound[side], "sent": sent[side], "token": (f"zj1.{sent[1]}", OPAQUE)[side]}


def test_every_send_reaches_whatsapp_equal():
    fixtures = types_fixtures.load()["up"]
    with World() as w:
        w.control(fault="no_statuses", on=True)
        past = Past(w, fixtures)
        before = max((m["n"] for m in w.received()), default=0)
        want, marks = {}, {}
        for f in fixtures:
            _, our_id = send(w, f, f.words(**past.words(f, 1)))
            body = f.filled(f.words(**past.words(f, 0)))
            body.pop("biz_opaque_callback_data", None)  # It never leaves the box: design, "Ids".
            if our_id:
                want[our_id] = (f, body)
            else:
                marks[body["message_id"]] = (f, body)
        wait_for(lambda: len(w.received(before)) >= len(fixtures), 60)
        for m in w.received(before):
            our_id = our_id_of(m)
            f, body = want.pop(our_id) if our_id else marks.pop(m["body"]["message_id"])
            got = without_token(m["body"])
            assert canonical(got) == canonical(body), f"{f}\n{canonical(body)}\nbecame\n{canonical(got)}"
            assert json.loads(m["raw"]) == m["body"]
        assert not want and not marks, f"missing: {want} {marks}"
        assert w.branch.status()["totals"]["refused"] == 0
        print(f"      {len(fixtures)} sends, equal")


def test_what_whatsapp_would_refuse_is_refused_naming_the_field():
    fixtures = types_fixtures.load()["refused"]
    with World() as w:
        wrong = []
        for f in fixtures:
            words = f.words(inbound="wamid.BEFORE")
            r = w.branch.post(f.raw if f.raw is not None else f.filled(words))
            told = r.json.get("error", {})
            details = told.get("error_data", {}).get("details", "")
            e = f.expected
            if (r.status, told.get("code")) != (e["http"], e["code"]) or e["field"] not in details or \
                    f.raw is None and not details.startswith(e["field"] + ":") or \
                    not told.get("message", "").startswith(f"(#{e['code']}) "):
                wrong.append(f"{f}: {r.status} {r.body.decode()}")
        assert not wrong, f"{len(wrong)} of {len(fixtures)}:\n" + "\n".join(wrong)
        status = w.branch.status()
        assert status["totals"]["accepted"] == 0 and status["queue"]["messages"] == 0
        assert w.received() == []
        print(f"      {len(fixtures)} refused, each by its field")


class Downward:
    """Webhooks on their way: what Meta posts, and what the program should get of it."""

    def __init__(self, world, fixtures, run):
        self.world, self.posted, self.want = world, {}, {}
        past = Past(world, fixtures)
        for f in fixtures:
            own = {"waba": f"{run}{f.serial:06d}", "number": NUMBER, "own": f"wamid.OWN{run}N{f.serial}",
                   "echo": f"wamid.ECHO{run}N{f.serial}", "conversation": f"conversation-{run}-{f.serial}"}
            self.posted[own["waba"]] = f.filled(f.words(**own, **past.words(f, 0)))
            if f.expected == "passes":
                self.want[own["waba"]] = (f, f.filled(f.words(**own, **past.words(f, 1))))
        self.kept = len(fixtures) - len(self.want)
        self.begin = max((h["n"] for h in world.hooks()), default=0)
        self.unrouted = world.gateway_status()["webhooks"]["account"]

    def judge(self):
        w = self.world
        wait_for(lambda: len(w.hooks(self.begin)) >= len(self.want), 60)
        assert w.gateway_status()["webhooks"]["account"] == self.unrouted + self.kept
        assert w.gateway_status()["webhooks"]["unrouted"] == 0
        hooks = w.hooks(self.begin)
        left = dict(self.want)
        for h in hooks:
            assert h["signature_ok"] and h["body"].isascii(), h
            body = json.loads(h["body"])
            assert body["entry"][0]["id"] in left, f"not asked for, or twice: {h['body']}"
            f, expected = left.pop(body["entry"][0]["id"])
            self._rewrite(f, expected, body)
            assert canonical(body) == canonical(expected), f"{f}\n{canonical(expected)}\nbecame\n{canonical(body)}"
        assert not left, f"missing: {left}"

    @staticmethod
    def _rewrite(fixture, expected, got):
        """Puts into expected the ids that only the centre could choose, when they are of the right kind."""
        if "messages" in value_of(expected) and value_of(expected)["messages"]:
            (ours,), (theirs,) = value_of(expected)["messages"], value_of(got)["messages"]
            assert Id(theirs["id"]).version == 1 and Id(theirs["id"]).branch == 1, fixture
            ours["id"] = theirs["id"]
        for ours, theirs in zip(value_of(expected).get("statuses", []), value_of(got).get("statuses", [])):
            if "id" in ours.get("conversation", {}):
                number = theirs["conversation"]["id"]
                assert len(number) == 32 and int(number, 16) < 1000, fixture  # Counted from 1 by branch.
                ours["conversation"]["id"] = number


def test_every_event_reaches_the_program_equal():
    fixtures = types_fixtures.load()["down"]
    with World() as w:
        w.control(fault="no_statuses", on=True)
        d = Downward(w, fixtures, 1)
        for body in d.posted.values():
            assert w.webhook(body).status == 200
        d.judge()
        log = w.gateway.log_text()
        for f in fixtures:
            if f.expected == "kept":
                field = change_of(f.body)["field"]
                assert f'event=account_event field="{field}"' in log, f"{f}: nothing in the log"
        # The same again, as Meta does when our answer was lost: nothing comes twice.
        for body in d.posted.values():
            assert w.webhook(body).status == 200
        time_less = sum(1 for b in d.posted.values() if not known_again(b))
        assert stays(lambda: len(w.hooks(d.begin)) <= len(d.want) + time_less, 1)
        print(f"      {len(d.want)} events equal, {d.kept} kept at the centre")


def known_again(body):
    """A repeat can be told from a second event: it has an id or a time."""
    value = value_of(body)
    lists = ("messages", "statuses", "calls", "message_echoes")
    return "time" in body["entry"][0] or any("id" in item for name in lists for item in value.get(name, []))


def test_every_event_in_one_post_reaches_the_program_by_itself():
    fixtures = types_fixtures.load()["down"]
    with World() as w:
        w.control(fault="no_statuses", on=True)
        d = Downward(w, fixtures, 2)
        entries = [b["entry"][0] for b in d.posted.values()]
        assert w.webhook({"object": "whatsapp_business_account", "entry": entries}).status == 200
        d.judge()
        print(f"      {len(entries)} entries in one post")


def test_each_element_of_a_list_goes_to_its_customers_branch():
    north, south = "447700900101", "447700900201"
    lists = {"calls": [{"id": f"wacid.{c}", "from": c, "event": "connect"} for c in (north, south)],
             "message_echoes": [{"id": f"wamid.ECHO{c}", "from": "254700000001", "to": c} for c in (north, south)],
             "user_preferences": [{"wa_id": c, "value": "stop"} for c in (north, south)]}
    with World(branches=("north", "south"), gateway_extra="[routing]\norder = prefix\nprefix_4477009001 = north\n"
               "prefix_4477009002 = south\n") as w:
        contacts = [{"wa_id": north}, {"wa_id": south}]
        assert w.webhook({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
            {"field": name, "value": {"metadata": {"phone_number_id": NUMBER}, "contacts": contacts, name: items}}
            for name, items in lists.items()]}]}).status == 200
        wait_for(lambda: len(w.hooks()) >= 6)
        got = [value_of(json.loads(h["body"])) for h in w.hooks()]
        for name, items in lists.items():
            for item, contact in zip(items, contacts):
                assert {"metadata": {"phone_number_id": NUMBER}, "contacts": [contact], name: [item]} in got, got
        for b in w.branches:
            wait_for(lambda b=b: metric(b.get("/metrics").body.decode(), "zajel_relay_received_total") == 3)
        assert w.gateway_status()["webhooks"]["unrouted"] == 0


if __name__ == "__main__":
    zajel.main(globals())
