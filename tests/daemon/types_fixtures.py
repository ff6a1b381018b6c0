# SPDX-License-Identifier: Apache-2.0
"""The fixtures of every type and event, tests/fixtures/types/{up,refused,down}/*.json: one JSON object each.

  direction  up: a program's send; refused: one that the relay refuses; down: WhatsApp's webhook
  name       what it is, in words
  body       the JSON body; raw: its text, where it is no JSON
  expected   passes: it comes out equal; kept: it stays at the centre; {http, code, field}: the refusal

Bodies hold words for what only a run knows, inside strings:

  @customer, @user       the customer's number and user id, each fixture's own
  @number, @waba         the bank's number; the account's id, each webhook's own
  @own                   Meta's id of the customer's message
  @inbound, @sent        a message of this customer, a message of the branch, that went before: each side's id
  @conversation, @token  Meta's conversation; what stands in biz_opaque_callback_data: our token for Meta
  @echo                  Meta's id of a message that is none of ours

and {"@repeat": [TEXT, N]} for a long string, {"@copies": [VALUE, N]} for a long list."""
import glob
import json
import os

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures", "types")
CUSTOMERS_FROM = 447700900000  # A range that belongs to nobody: it is kept for stories.


class Fixture:
    def __init__(self, path, serial):
        with open(path, encoding="utf-8") as f:
            self.text = f.read()
        read = json.loads(self.text)
        self.file = os.path.basename(path)
        self.direction, self.name, self.expected = read["direction"], read["name"], read["expected"]
        self.body, self.raw = read.get("body"), read.get("raw")
        self.serial = serial
        self.customer = str(CUSTOMERS_FROM + serial)
        self.user = f"GB.USER{serial:04d}"

    def needs(self, word):
        return word in self.text

    def words(self, **more):
        return {"@customer": self.customer, "@user": self.user, **{f"@{k}": v for k, v in more.items()}}

    def filled(self, words):
        return filled(self.body, words)

    def __repr__(self):
        return f"{self.direction}/{self.file} ({self.name})"


def filled(value, words):
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
        return value
    if isinstance(value, list):
        return [filled(v, words) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"@repeat"}:
        text, count = value["@repeat"]
        return text * count
    if set(value) == {"@copies"}:
        return [filled(value["@copies"][0], words)] * value["@copies"][1]
    return {k: filled(v, words) for k, v in value.items()}


def load():
    """{"up": [...], "refused": [...], "down": [...]}, each with a customer of his own."""
    paths = sorted(glob.glob(f"{FOLDER}/*/*.json"))
    out = {"up": [], "refused": [], "down": []}
    for serial, path in enumerate(paths):
        fixture = Fixture(path, serial)
        assert os.path.basename(os.path.dirname(path)) == fixture.direction, path
        out[fixture.direction].append(fixture)
    return out


def canonical(value):
    """Equal texts are equal JSON: 1 and 1.0 differ, the order of keys does not."""
    return json.dumps(value, sort_keys=True)


def change_of(body):
    return body["entry"][0]["changes"][0]


def value_of(body):
    value = change_of(body).get("value")
    return value if isinstance(value, dict) else {}
