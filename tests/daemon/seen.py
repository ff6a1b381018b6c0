# SPDX-License-Identifier: Apache-2.0
"""What was seen outside: by customers on their phones, by the branch's program in its webhooks. And the parts of ids."""
import base64
import json
import time


def value_of(hook):
    return json.loads(hook["body"])["entry"][0]["changes"][0]["value"]


def statuses(world, message_id):
    """All statuses the branch's program got about one message, in their order."""
    return [s for h in world.hooks() for s in value_of(h).get("statuses", []) if s["id"] == message_id]


def words(world, message_id):
    return [s["status"] for s in statuses(world, message_id)]


def inbound(world):
    """All messages of customers that the branch's program got, in their order."""
    return [m for h in world.hooks() for m in value_of(h).get("messages", [])]


def texts(world, to=None):
    """The texts that arrived on phones, repeats and all, in the order of arrival."""
    return [m["body"]["text"]["body"] for m in world.received()
            if m["body"].get("type") == "text" and to in (None, m["body"]["to"])]


def stays(what, seconds, every=0.1):
    """what() is true now and for so long: for what must not happen, of which no event tells."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not what():
            return False
        time.sleep(every)
    return True


class Id:
    """The parts of an id of ours: version, branch, epoch, lane, seq."""

    def __init__(self, text):
        raw = base64.urlsafe_b64decode(text.removeprefix("wamid.") + "==")
        self.version, self.branch, self.epoch, self.lane = raw[0], int.from_bytes(raw[1:5], "big"), raw[5:13], raw[13]
        self.seq = 0
        for shift, byte in enumerate(raw[14:]):
            self.seq |= (byte & 127) << 7 * shift


def metric(text, name):
    """The sum of a metric over its labels; None when it is not there."""
    found = None
    for line in text.splitlines():
        if line.split("{")[0].split(" ")[0] == name:
            found = (found or 0) + float(line.rsplit(" ", 1)[1])
    return found
