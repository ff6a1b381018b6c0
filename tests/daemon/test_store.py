#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The box's store: what it keeps through SIGKILL, damage, a quota and a full disk; and that nobody can read it."""
import glob
import os
import random
import sqlite3
import subprocess
import time

import seen
import zajel
from box import Box
from zajel import BUILD, Daemon, Skip, World, wait_for

CUSTOMER = "254711000001"


def state_of(branch):
    """The state folder that relay.conf names."""
    with open(branch.relay.config, encoding="utf-8") as f:
        named = next(line.split("=")[1].strip() for line in f if line.split("=")[0].strip() == "state")
    return os.path.join(branch.folder, named)


def try_text(branch, words, **headers):
    """Posts a text to one of many customers; gives the whole answer."""
    to = f"2547110{random.randrange(50):05d}"
    return branch.post({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": words}},
                       **headers)


def noise(length):
    """Text that no compression makes small."""
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-", k=length))


def test_what_was_accepted_outlives_sigkill_and_each_start_numbers_anew():
    with World() as w:
        w.link("down")
        ids = []
        for start in range(3):
            ids.append([w.branch.text(CUSTOMER, f"start {start} number {i}") for i in range(4)])
            w.branch.relay.kill()
            w.branch.start()
        parts = [[seen.Id(i) for i in row] for row in ids]
        assert all((p.version, p.branch) == (1, 1) for row in parts for p in row)
        assert [[p.seq for p in row] for row in parts] == [[1, 2, 3, 4]] * 3
        assert [len({p.epoch for p in row}) for row in parts] == [1] * 3 and len({row[0].epoch for row in parts}) == 3
        assert w.branch.status()["queue"]["messages"] == 12
        assert all(w.branch.message(i)["state"] == "queued" for row in ids for i in row)
        # Status shows what was accepted in its own words, before and after.
        listed = w.branch.relay.verb("queue", "list").stdout
        assert [i for i in listed.split() if i.startswith("wamid.")] == [i for row in ids for i in row]
        w.link("up")
        wait_for(lambda: len(seen.texts(w)) >= 12, 60)
        time.sleep(0.5)
        assert seen.texts(w) == [f"start {s} number {i}" for s in range(3) for i in range(4)]
        wait_for(lambda: all("read" in seen.words(w, i) for row in ids for i in row), 30)
        assert w.branch.status()["totals"]["accepted"] == 12


def damage(state, lane_rows, which):
    """Flips bits in the sealed body of one waiting message, on the disk of the stopped relay."""
    db = sqlite3.connect(f"{state}/relay.db")
    rows = db.execute("SELECT lane, epoch, seq, body FROM msg ORDER BY lane, epoch, seq").fetchall()
    assert len(rows) == lane_rows, rows
    lane, epoch, seq, body = rows[which]
    at = len(body) // 2
    body = body[:at] + bytes([body[at] ^ 0x11]) + body[at + 1:]
    db.execute("UPDATE msg SET body = ? WHERE lane = ? AND epoch = ? AND seq = ?", (body, lane, epoch, seq))
    db.commit()
    db.close()


def test_a_damaged_row_is_put_aside_alone():
    with World() as w:
        w.link("down")
        time.sleep(0.2)
        ids = [w.branch.text(CUSTOMER, f"row {i}") for i in range(5)]
        w.branch.relay.kill()
        damage(state_of(w.branch), 5, 2)
        w.branch.start()
        assert w.branch.status()["queue"]["messages"] == 5
        w.link("up")
        wait_for(lambda: len(seen.texts(w)) >= 4, 60)
        wait_for(lambda: w.branch.status()["queue"]["messages"] == 0, 20)
        assert seen.texts(w) == ["row 0", "row 1", "row 3", "row 4"]
        status = w.branch.status()
        assert status["store"]["quarantined"] == 1 and status["totals"]["dropped"] == 1, status
        assert w.branch.message(ids[2])["state"] == "failed", w.branch.message(ids[2])
        assert w.branch.message(ids[2])["error"]["code"] == 990004
        assert "row_quarantined" in w.branch.relay.log_text()
        w.branch.text(CUSTOMER, "after all")
        wait_for(lambda: seen.texts(w)[-1] == "after all")
        w.branch.relay.kill()
        w.branch.start()
        assert w.branch.status()["store"]["quarantined"] == 1


def test_a_store_that_is_garbage_is_put_aside_and_the_box_goes_on():
    with World() as w:
        w.branch.text(CUSTOMER, "before")
        wait_for(lambda: seen.texts(w) == ["before"])
        state = state_of(w.branch)
        for garbage in (random.randbytes(200000), b"", b"SQLite format 3\0" + random.randbytes(5000)):
            w.branch.relay.stop()
            for name in glob.glob(f"{state}/relay.db-*"):
                os.unlink(name)
            with open(f"{state}/relay.db", "wb") as f:
                f.write(garbage)
            before = set(glob.glob(f"{state}/relay.db.damaged-*"))
            w.branch.start()
            if garbage:
                aside = set(glob.glob(f"{state}/relay.db.damaged-*")) - before
                assert any(open(name, "rb").read() == garbage for name in aside), aside
            # The tokens lay in the store, too.
            w.branch.token = w.branch.relay.verb("token", "add", f"again-{len(garbage)}").stdout.strip()
            w.branch.text(CUSTOMER, f"after {len(garbage)} bytes of garbage")
            wait_for(lambda: seen.texts(w)[-1] == f"after {len(garbage)} bytes of garbage", 40)
        assert len(seen.texts(w)) == 4


def fill(branch, lane, words, accepted, at_most=3000):
    """Posts to a lane until it is refused; checks the refusal."""
    for _ in range(at_most):
        answer = try_text(branch, words(), Zajel_Lane=lane)
        if answer.status != 200:
            break
        accepted.append(answer.json["messages"][0]["id"])
    assert answer.status == 507, (lane, answer.status, answer.body)
    assert isinstance(answer.json["error"]["code"], int) and answer.json["error"]["error_data"]["details"], answer.body


def test_a_full_store_refuses_first_what_can_wait_and_loses_nothing():
    with World(relay_extra="[limits]\nstore_bytes_max = 6291456\nreserve_bytes = 65536\n") as w:
        w.link("down")
        counts, accepted = {}, []
        for lane in ("bulk", "document", "chat", "alert", "urgent"):
            before = len(accepted)
            fill(w.branch, lane, lambda: noise(1000), accepted)
            counts[lane] = len(accepted) - before
            # What may wait longer stays out.
            assert try_text(w.branch, noise(1000), Zajel_Lane="bulk").status == 507
        print(f"      {counts} of 1 KB in 6 MiB")
        assert all(counts[lane] > 0 for lane in counts), counts
        assert counts["bulk"] > 200
        status = w.branch.status()
        assert status["queue"]["messages"] == len(accepted) == status["totals"]["accepted"], status
        assert status["store"]["quota_bytes"] == 6291456 and status["store"]["bytes"] <= 6291456
        assert not w.branch.ready()
        assert w.branch.get("/healthz").status == 200
        w.branch.relay.kill()
        w.branch.relay.start()
        wait_for(lambda: is_healthy(w.branch))
        assert w.branch.status()["queue"]["messages"] == len(accepted)
        w.link("up")
        # Urgent ones may be too old by now; nothing else may be missing.
        least = len(accepted) - counts["urgent"]
        wait_for(lambda: len(w.received()) >= least, 90, 0.3)
        wait_for(lambda: w.branch.status()["queue"]["messages"] == 0, 30)
        wait_for(w.branch.ready, 20)
        assert try_text(w.branch, "room again", Zajel_Lane="bulk").status == 200
        wait_for(lambda: seen.texts(w)[-1] == "room again", 30)
        assert len(seen.texts(w)) == len(set(seen.texts(w)))
        totals = w.branch.status()["totals"]
        assert len(w.received()) + totals["expired"] == len(accepted) + 1, totals


class OnTmpfs(Daemon):
    """The relay with its state folder on a small file system that only its own processes see."""

    def start(self):
        state = os.path.join(os.path.dirname(self.config), "state")
        script = (f"mkdir -p {state} && cp -a {state} {state}.kept && mount -t tmpfs -o size={self.size} tmpfs {state} && "
                  f"cp -a {state}.kept/. {state} && chmod 700 {state} && exec {BUILD}/{self.program} --config {self.config} run")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        return self

    def path(self, name):
        """Where a file of the state folder is seen from here."""
        return f"/proc/{self.process.pid}/root{os.path.dirname(os.path.abspath(self.config))}/state/{name}"


def may_mount():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"], capture_output=True).returncode == 0


def test_a_full_disk_is_told_and_over_once_there_is_room():
    if not may_mount():
        raise Skip("mounting a file system needs root and namespaces")
    with Box("[limits]\nreserve_bytes = 262144\n") as box:
        box.relay.__class__, box.relay.size = OnTmpfs, "6m"
        box.start()
        accepted = [box.text(CUSTOMER, "while there was room")]
        filler = box.relay.path("filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"\0" * 4096)
            except OSError:
                pass
            f.truncate(f.tell() - (400 << 10))
        refused = []
        for _ in range(3000):
            answer = try_text(box, noise(2000))
            if answer.status == 200:
                accepted.append(answer.json["messages"][0]["id"])
                refused.clear()
                continue
            assert answer.status in (503, 507), (answer.status, answer.body)
            assert isinstance(answer.json["error"]["code"], int) and answer.json["error"]["error_data"]["details"]
            refused.append(answer.status)
            if len(refused) == 20:
                break
        assert len(refused) == 20 and refused[-1] == 507, refused
        assert box.get("/healthz").status == 200 and not box.ready()
        assert box.status()["queue"]["messages"] == len(accepted), (box.status()["queue"], len(accepted))
        assert [box.message(i)["state"] for i in accepted] == ["queued"] * len(accepted)
        os.unlink(filler)
        wait_for(box.ready, 60)
        accepted.append(box.text(CUSTOMER, "there is room again"))
        assert box.status()["queue"]["messages"] == len(accepted)
        print(f"      {len(accepted)} accepted around a full disk; all are there")


def test_a_box_starts_on_a_disk_that_is_full():
    if not may_mount():
        raise Skip("mounting a file system needs root and namespaces")
    with Box("[limits]\nreserve_bytes = 262144\n") as box:
        # Its store is made while there is room, and found full at the next start.
        box.start()
        accepted = [box.text(CUSTOMER, noise(2000)) for _ in range(20)]
        box.relay.stop()
        with open(f"{box.state}/filler", "wb") as f:
            f.write(b"\0" * (1 << 20))
        used = sum(os.path.getsize(p) for p in glob.glob(f"{box.state}/**", recursive=True) if os.path.isfile(p))
        box.relay.__class__, box.relay.size = OnTmpfs, str(used + 5 * 4096)
        box.relay.start()
        wait_for(lambda: not box.relay.alive or is_healthy(box), 20)
        assert box.relay.alive, "the relay gave up"
        answers = [try_text(box, noise(4000)).status for _ in range(20)]
        assert set(answers) <= {200, 503, 507} and answers[-1] in (503, 507), answers
        os.unlink(box.relay.path("filler"))
        wait_for(box.ready, 60)
        assert all(box.message(i)["state"] == "queued" for i in accepted)
        box.text(CUSTOMER, "room again")


def is_healthy(box):
    try:
        return zajel.request(box.port, "GET", "/healthz").status == 200
    except OSError:
        return False


SECRETS = ["254799123456", "Wanjiku", "PIN 5512 balance 17,350", "ledger note 8841", "Achieng says hello", "opaque 99917"]


def find_in(folder, words):
    """The words that can be read in the files of a folder."""
    found = set()
    for path in glob.glob(f"{folder}/**", recursive=True):
        if not os.path.isfile(path):
            continue
        with open(path, "rb") as f:
            data = f.read()
        found |= {w for w in words if w.encode() in data or w.encode("utf-16-le") in data}
    return found


def test_nobody_can_read_the_card():
    with World() as w:
        w.branch.post({"messaging_product": "whatsapp", "to": SECRETS[0], "type": "text", "text": {"body": SECRETS[2]},
                       "biz_opaque_callback_data": SECRETS[5]}, Idempotency_Key="key 254799123456")
        wait_for(lambda: len(w.received()) == 1)
        w.control(fault="hook_down", on=True)
        w.answer(SECRETS[0], {"text": SECRETS[4], "name": SECRETS[1]})
        wait_for(lambda: w.branch.status()["webhooks"]["waiting"] > 0, 20)
        w.link("down")
        for lane in ("urgent", "chat", "bulk"):
            w.branch.post({"messaging_product": "whatsapp", "to": SECRETS[0], "type": "text", "text": {"body": SECRETS[3]},
                           "biz_opaque_callback_data": SECRETS[5]}, Zajel_Lane=lane)
        state, secrets = state_of(w.branch), SECRETS + [w.branch.token]
        assert os.path.getsize(f"{state}/relay.db-wal") > 0
        for moment in ("running", "killed", "stopped"):
            assert not find_in(state, secrets), (moment, find_in(state, secrets))
            # The search itself works: the schema is no secret.
            assert find_in(state, ["CREATE TABLE msg"])
            if moment == "running":
                w.branch.relay.kill()
            elif moment == "killed":
                w.branch.start()
                w.branch.relay.stop()
        assert not find_in(os.path.dirname(w.branch.relay.log), [s for s in secrets if s != w.branch.token])
        for root, folders, files in os.walk(state):
            for name in folders + files:
                mode = os.stat(os.path.join(root, name)).st_mode
                assert mode & 0o077 == 0, (name, oct(mode))


if __name__ == "__main__":
    zajel.main(globals())
