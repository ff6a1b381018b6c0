#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a branch does to a box, and a centre to its gateway: disks that fail, databases that are damaged, clocks and
name servers that lie, a customer with a whole backlog. Each has its behaviour in status, readiness and log; none stops
what can still be done, and none loses what was promised."""
import glob
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time

import seen
import traffic
import zajel
from box import Box
from namespaces import Wrapped, may_unshare, named
from zajel import BUILD, NUMBER, QUICK, Daemon, Skip, World, request, set_keys, wait_for

CUSTOMER = "254711000001"
FAULTY_DISK = os.path.abspath(f"{BUILD}/tests/daemon/shim_eio.so")
DAY_S = 86400


def answers(port, path):
    try:
        return request(port, "GET", path, timeout=10).status
    except OSError:
        return 0


def try_text(box, words):
    return box.post({"messaging_product": "whatsapp", "to": CUSTOMER, "type": "text", "text": {"body": words}})


# --- Disks ---


class Disk:
    """The disk below a daemon's state folder, which fails when it is told to."""

    def __init__(self, daemon, path):
        if not os.path.exists(FAULTY_DISK):
            raise Skip(f"there is no {FAULTY_DISK}")
        self.path = path
        daemon.env = {**daemon.env, "LD_PRELOAD": FAULTY_DISK, "ZAJEL_EIO": path}
        self.tell("")

    def tell(self, words):
        with open(f"{self.path}.new", "w", encoding="ascii") as f:
            f.write(words)
        os.rename(f"{self.path}.new", self.path)


def test_a_box_whose_disk_fails_promises_nothing_and_goes_on_when_it_is_well():
    with Box() as box:
        disk = Disk(box.relay, f"{box.folder}/disk")
        box.start()
        accepted = [box.text(CUSTOMER, f"before {i}") for i in range(3)]
        for trouble in ("sync", "write", "write sync"):
            disk.tell(trouble)
            refused = try_text(box, trouble)
            assert refused.status == 503 and refused.json["error"]["error_data"]["details"], refused.body
            wait_for(lambda: answers(box.port, "/readyz") == 503)
            assert answers(box.port, "/healthz") == 200
            told = box.relay.verb("status", check=False)
            assert told.returncode == 1 or "accepting" in told.stdout, told
            doctor = {f["check"]: f for f in json.loads(box.relay.verb("doctor", "--json", check=False).stdout)}
            assert doctor["daemon"]["grade"] == "fail" or doctor["accepting"]["grade"] == "fail", doctor
            disk.tell("")
            wait_for(box.ready, 15)
            accepted.append(box.text(CUSTOMER, f"after {trouble}"))
            assert [box.message(i)["state"] for i in accepted] == ["queued"] * len(accepted)
        # Of what was answered 503 nothing is promised, and nothing is known: it may have reached the disk.
        status = box.status()
        assert len(accepted) <= status["queue"]["messages"] == status["totals"]["accepted"] <= len(accepted) + 3, status
        log = box.relay.log_text()
        assert "event=turn_lost" in log and "event=store_opened" in log
        # A disk that is away for long fills no log.
        lines = len(log.splitlines())
        disk.tell("write sync")
        try_text(box, "refused")
        time.sleep(1.5 if QUICK else 4)
        assert len(box.relay.log_text().splitlines()) - lines < 60
        # What was promised outlives a kill while it fails.
        box.relay.kill()
        disk.tell("")
        box.start()
        assert [box.message(i)["state"] for i in accepted] == ["queued"] * len(accepted)


def test_a_gateway_whose_disk_fails_takes_nothing_and_loses_nothing():
    """It cannot know what a failed commit left: it reads the ledger anew, or ends, for its supervisor to start it."""
    with World(start=False) as w:
        disk = Disk(w.gateway, f"{w.folder}/disk")
        w.start()
        w.branch.text(CUSTOMER, "before")
        wait_for(lambda: seen.texts(w) == ["before"])
        disk.tell("sync")
        held = [w.branch.text(CUSTOMER, f"meanwhile {i}") for i in range(3)]
        try:
            refused = w.webhook({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
                {"field": "account_update", "value": {"event": "DISABLED_UPDATE"}}]}]}).status
        except OSError:
            refused = 0
        assert refused not in (200, 201), "a webhook was taken that no disk holds"
        wait_for(lambda: "commit_failed" in w.gateway.log_text(), 20)
        assert seen.texts(w) == ["before"], seen.texts(w)
        assert all(w.branch.message(i)["state"] == "queued" for i in held)
        wait_for(lambda: not w.gateway.alive or answers(w.board_port, "/readyz") != 0, 10)
        if not w.gateway.alive:
            assert "ledger_lost" in w.gateway.log_text()
        disk.tell("")
        if not w.gateway.alive:
            w.gateway.start()
        wait_for(w.gateway_ready, 20)
        wait_for(lambda: len(seen.texts(w)) == 4, 60)
        assert seen.texts(w) == ["before"] + [f"meanwhile {i}" for i in range(3)]


def test_a_card_that_turns_read_only_is_told_and_over_once_it_is_writable():
    """As a kernel does it after an error: what is open fails, and nothing can be opened for writing any more."""
    if not may_unshare("-m"):
        raise Skip("mounting a file system needs root and namespaces")
    with Box("[limits]\nreserve_bytes = 262144\n") as box:
        disk = Disk(box.relay, f"{box.folder}/disk")
        box.relay.__class__ = Wrapped
        box.start()
        accepted = [box.text(CUSTOMER, f"before {i}") for i in range(5)]
        disk.tell("write sync")
        box.relay.inside(f"mount -o bind {box.state} {box.state} && mount -o remount,bind,ro {box.state}")
        assert try_text(box, "refused").status == 503
        disk.tell("")
        assert seen.stays(lambda: answers(box.port, "/readyz") == 503 and answers(box.port, "/healthz") == 200, 1.5)
        assert try_text(box, "refused").status == 503
        told = box.relay.verb("status", check=False)
        assert told.returncode == 1 and "store" in told.stderr, told
        found = json.loads(subprocess.run(
            ["nsenter", "-t", str(box.relay.process.pid), "-m", os.path.abspath(f"{BUILD}/zajel-relay"), "--config",
             box.relay.config, "doctor", "--json"], capture_output=True, text=True).stdout)
        state = next(f for f in found if f["check"] == "state")
        assert state["grade"] == "fail" and "read-only" in state["next"], state
        box.relay.inside(f"umount {box.state}")
        wait_for(box.ready, 10)
        accepted.append(box.text(CUSTOMER, "writable again"))
        assert [box.message(i)["state"] for i in accepted] == ["queued"] * len(accepted)
        # A start on such a card ends, and says why: its supervisor tries again.
        box.relay.kill()
        box.relay.script = f"mount -o bind {box.state} {box.state} && mount -o remount,bind,ro {box.state}"
        box.relay.start()
        assert box.relay.process.wait(20) == 1
        box.relay.process = None
        assert "event=start_failed part=store" in box.relay.log_text()


# --- Damaged databases ---


def noise(length):
    """Text that no compression makes small."""
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))


def scribble(path, pages):
    """Overwrites pages in the second half of a file, where the messages are, as a dying card does."""
    size = os.path.getsize(path) // 4096
    with open(path, "r+b") as f:
        for page in random.sample(range(size // 2, size), pages):
            f.seek(4096 * page)
            f.write(random.randbytes(4096))


def test_a_damaged_store_gives_back_what_can_be_read():
    with Box() as box:
        box.start()
        ids = [box.text(f"2547110{i % 40:05d}", f"number {i} {noise(400)}") for i in range(300 if QUICK else 600)]
        box.relay.stop()
        scribble(f"{box.state}/relay.db", pages=2 if QUICK else 4)
        box.start()
        kept = box.status()["queue"]["messages"]
        print(f"      {kept} of {len(ids)} outlived some pages of noise")
        # Either the pages were met at the start (salvaged) or they will be by those who read them.
        states = [box.get(f"/zajel/v1/messages/{i}").status for i in ids]
        assert set(states) <= {200, 404, 503}, set(states)
        wait_for(box.ready, 20)
        box.text(CUSTOMER, "after the damage")
        if "store_damaged" in box.relay.log_text():
            assert glob.glob(f"{box.state}/relay.db.damaged-*")
            doctor = {f["check"]: f for f in json.loads(box.relay.verb("doctor", "--json", check=False).stdout)}
            assert doctor["damaged files"]["grade"] == "warn", doctor
        # A page of messages costs some ten of them, one of the tree above it some sixty.
        assert kept >= 0.4 * len(ids)


def test_a_damaged_log_costs_at_most_what_it_held():
    with Box() as box:
        box.start()
        before = [box.text(CUSTOMER, f"checkpointed {i}") for i in range(20)]
        box.relay.stop()  # Closing moves the log into the database.
        box.start()
        after = [box.text(CUSTOMER, f"in the log {i}") for i in range(20)]
        box.relay.kill()
        log = f"{box.state}/relay.db-wal"
        assert os.path.getsize(log) > 0
        with open(log, "r+b") as f:
            f.seek(os.path.getsize(log) // 2)
            f.write(random.randbytes(8192))
        box.start()
        assert [box.message(i)["state"] for i in before] == ["queued"] * len(before)
        there = [box.get(f"/zajel/v1/messages/{i}").status == 200 for i in after]
        # A log is read up to its first bad frame: what is there is the beginning, without holes.
        assert there == sorted(there, reverse=True) and not all(there), there
        box.text(CUSTOMER, "after the damage")
        # Nothing of a promised number is used twice.
        assert len({seen.Id(i).epoch for i in before + [box.text(CUSTOMER, "one more")]}) == 2


def test_a_store_that_is_damaged_while_it_runs_is_salvaged_in_service():
    with Box() as box:
        box.start()
        for i in range(150):
            box.text(f"2547110{i % 40:05d}", f"number {i} " + "x" * 3000)
        box.restart()
        size = os.path.getsize(f"{box.state}/relay.db")
        with open(f"{box.state}/relay.db", "r+b") as f:
            for page in range(3, size // 4096):
                f.seek(4096 * page)
                f.write(random.randbytes(4096))
        # Reading what waits (listing it) meets the damage; so do new messages, sooner or later.
        wait_for(lambda: trouble(box), 30, 0.05)
        wait_for(box.ready, 30)
        assert box.relay.alive and glob.glob(f"{box.state}/relay.db.damaged-*")
        box.token = box.relay.verb("token", "add", "again").stdout.strip() if try_text(box, "x").status == 401 else box.token
        box.text(CUSTOMER, "in service again")


def trouble(box):
    box.relay.verb("queue", "list", check=False)
    try:
        try_text(box, "y" * 5000)
    except OSError:
        pass
    return "store_salvaged" in box.relay.log_text()


def test_a_gateway_refuses_a_damaged_ledger_and_goes_on_with_a_sound_one():
    """Nothing is salvaged there by itself: what a centre has sent must not be guessed. Branches keep what they have."""
    with World() as w:
        w.branch.text(CUSTOMER, "before")
        wait_for(lambda: seen.texts(w) == ["before"])
        w.gateway.stop()
        ledger = f"{w.folder}/gateway/ledger.db"
        shutil.copy(ledger, f"{w.folder}/backup.db")
        with open(ledger, "r+b") as f:
            f.write(random.randbytes(8192))
        held = w.branch.text(CUSTOMER, "waits for the gateway")
        w.gateway.start()
        assert w.gateway.process.wait(20) != 0
        w.gateway.process = None
        log = w.gateway.log_text()
        assert "event=start_failed what=ledger why=corrupt" in log, log[-2000:]
        found = {f["check"]: f for f in json.loads(w.gateway.verb("doctor", "--json", check=False).stdout)}
        assert found["store"]["grade"] == "fail" and "backup" in found["store"]["next"], found
        assert w.branch.message(held)["state"] == "queued"
        for name in glob.glob(f"{ledger}-*"):
            if not name.endswith(".reserve"):
                os.unlink(name)
        shutil.copy(f"{w.folder}/backup.db", ledger)
        w.gateway.start()
        wait_for(w.gateway_ready, 20)
        wait_for(lambda: seen.texts(w) == ["before", "waits for the gateway"], 60)


# --- Clocks ---

def faketime_library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not found or not os.path.exists(FAULTY_DISK):
        raise Skip("libfaketime (package faketime) is not there")
    return found[0]


class Clock:
    """The wall clock of one daemon, set by a file; elapsed time goes on as it does, and no NTP holds it."""

    def __init__(self, daemon, path):
        self.path = path
        daemon.env = {**daemon.env, "LD_PRELOAD": f"{FAULTY_DISK} {faketime_library()}", "FAKETIME_TIMESTAMP_FILE": path,
                      "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}

    def set(self, year):
        """A year, or None for the true time."""
        self.set_seconds(0 if year is None else int((year - time.gmtime().tm_year) * 365.25 * DAY_S))

    def set_seconds(self, seconds):
        with open(f"{self.path}.new", "w", encoding="ascii") as f:
            f.write(f"{seconds:+d}\n")
        os.rename(f"{self.path}.new", self.path)


def stopped_at(year, fresh):
    """A box whose clock says that year when it starts; fresh: it never knew the time. Nothing expires by it, what waited
    is delivered, and the gateway's clock is taken at the first link."""
    with World(start=False) as w:
        clock = Clock(w.branch.relay, f"{w.folder}/clock")
        clock.set(None)
        w.start()
        if fresh:
            w.branch.relay.stop()
            w.gateway.stop()
            for name in glob.glob(f"{w.branch.folder}/*/relay.db*"):
                os.unlink(name)
            w.branch.token = w.branch.relay.verb("token", "add", "anew").stdout.strip()
        else:
            w.gateway.stop()
            before = w.branch.text(CUSTOMER, "from a boot that knew the time")
            w.branch.relay.stop()
        clock.set(year)
        w.branch.start()
        status = w.branch.status()
        assert status["clock"]["trusted"] is False, status["clock"]
        key = {"Idempotency_Key": "once"}
        during = w.branch.text(CUSTOMER, f"in {year}", **key)
        time.sleep(1.2)
        if not fresh:
            assert w.branch.message(before)["state"] == "queued", w.branch.message(before)
        doctor = {f["check"]: f for f in json.loads(subprocess.run(
            [f"{BUILD}/zajel-relay", "--config", w.branch.relay.config, "doctor", "--json"], capture_output=True,
            env={**os.environ, **w.branch.relay.env}, text=True).stdout)}
        assert doctor["clock"]["grade"] == "fail" and str(year)[:3] in doctor["clock"]["found"], doctor["clock"]
        w.gateway.start()
        texts = ([] if fresh else ["from a boot that knew the time"]) + [f"in {year}"]
        wait_for(lambda: seen.texts(w) == texts, 60)
        status = wait_for(lambda: (lambda s: s["clock"]["trusted"] and s)(w.branch.status()), 20)
        offset_s = status["clock"]["offset_ms"] / 1000
        assert abs(offset_s - (time.gmtime().tm_year - year) * 365.25 * DAY_S) < 2 * DAY_S, status["clock"]
        # The same key is the same message, whatever the clock said.
        assert w.branch.text(CUSTOMER, f"in {year}", **key) == during
        # What programs are told from now on has the true time.
        w.answer(CUSTOMER, {"text": "hello"})
        wait_for(lambda: seen.inbound(w), 20)
        assert w.branch.status()["totals"]["expired"] == 0
        later = w.branch.text(CUSTOMER, "after the truth")
        wait_for(lambda: seen.texts(w)[-1] == "after the truth", 30)
        at = w.branch.message(later)["at"]
        at = at / 1000 if isinstance(at, (int, float)) and at > 1e11 else at
        assert not isinstance(at, (int, float)) or abs(at - time.time()) < 2 * DAY_S, at


def test_a_box_that_starts_in_1970_goes_by_the_gateways_clock():
    stopped_at(1970, fresh=True)
    if not QUICK:
        stopped_at(1970, fresh=False)


def test_a_box_that_starts_in_2050_goes_by_the_gateways_clock():
    stopped_at(2050, fresh=False)
    if not QUICK:
        stopped_at(2050, fresh=True)


def test_a_clock_that_jumps_while_it_runs_changes_nothing():
    with World(start=False) as w:
        clock = Clock(w.branch.relay, f"{w.folder}/clock")
        clock.set(None)
        w.start()
        w.link("down")
        ids = []
        for year in (2050, 1970, 2031, None):
            clock.set(year)
            ids.append(w.branch.text(CUSTOMER, f"in {year}", Zajel_Expires_In="600"))
            time.sleep(1.1)  # A tick of the sweep.
        assert [w.branch.message(i)["state"] for i in ids] == ["queued"] * 4
        assert w.branch.status()["totals"]["expired"] == 0
        clock.set(2050)
        brief = w.branch.text(CUSTOMER, "not worth sending later", Zajel_Expires_In="1")
        wait_for(lambda: w.branch.message(brief)["state"] == "expired", 10)
        w.link("up")
        wait_for(lambda: len(seen.texts(w)) == 4, 60)
        assert seen.texts(w) == [f"in {year}" for year in (2050, 1970, 2031, None)]
        assert w.branch.status()["link"]["state"] == "up"


# --- A program that is away ---


def test_webhooks_wait_a_day_for_their_program_and_are_given_up_after_seven():
    """The days go by in the relay alone: its elapsed time jumps too, as over a suspend."""
    with World(start=False) as w:
        clock = Clock(w.branch.relay, f"{w.folder}/clock")
        del w.branch.relay.env["FAKETIME_DONT_FAKE_MONOTONIC"]
        del w.branch.relay.env["DONT_FAKE_MONOTONIC"]
        clock.set_seconds(0)
        w.start()
        w.control(fault="hook_down", on=True)
        w.answer(CUSTOMER, {"text": "a day early"})
        wait_for(lambda: w.branch.status()["webhooks"]["waiting"] == 1, 20)
        wait_for(lambda: "webhook_failed" in w.branch.relay.log_text(), 20)
        assert w.branch.status()["webhooks"]["paused"] in (True, False)
        clock.set_seconds(DAY_S)
        w.branch.text(CUSTOMER, "accepted meanwhile")
        assert w.branch.status()["webhooks"]["waiting"] >= 1 and w.branch.ready()
        w.control(fault="hook_down", on=False)
        clock.set_seconds(DAY_S + 600)  # Beyond the longest pause between tries.
        wait_for(lambda: [m["text"]["body"] for m in seen.inbound(w)] == ["a day early"], 20)
        wait_for(lambda: w.branch.status()["webhooks"]["waiting"] == 0, 20)
        w.control(fault="hook_down", on=True)
        w.answer("254711000002", {"text": "eight days early"})
        wait_for(lambda: w.branch.status()["webhooks"]["waiting"] >= 1, 20)
        clock.set_seconds(9 * DAY_S)
        wait_for(lambda: w.branch.status()["totals"]["dropped_by_reason"]["undeliverable"] == 1, 20)
        assert "event=webhook_dropped reason=undeliverable" in w.branch.relay.log_text()
        w.control(fault="hook_down", on=False)
        w.answer("254711000003", {"text": "in time"})
        clock.set_seconds(9 * DAY_S + 600)
        wait_for(lambda: [m["text"]["body"] for m in seen.inbound(w)] == ["a day early", "in time"], 30)


# --- Names ---


def test_a_name_server_that_is_silent_holds_up_nobody():
    with World(start=False) as w, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        # Port 53 of an address of loopback of our own: it takes questions and never answers.
        silent.bind(("127.0.77.53", 0))
        try:
            silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            silent.bind(("127.0.77.53", 53))
        except OSError as e:
            raise Skip("port 53 of a loopback address cannot be had") from e
        named(w, "nameserver 127.0.77.53\noptions timeout:30 attempts:2\n", "127.0.0.1 elsewhere\n")
        set_keys(w.branch.relay.config, {"uplink": {"url": f"wss://gateway.zajel.test:{w.sync_port}/sync"}})
        w.sandbox.start()
        w.gateway.start()
        w.branch.start()
        silent.settimeout(20)
        assert silent.recv(512), "no question came"
        slowest = 0
        for i in range(40):
            began = time.monotonic()
            w.branch.text(CUSTOMER, f"number {i}")
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2, f"an accept took {slowest:.1f} s"
        status = w.branch.status()
        assert status["link"]["state"] in ("down", "connecting") and status["queue"]["messages"] == 40
        assert answers(w.branch.port, "/readyz") == 200
        # Nor does it hold up the end.
        code, took = w.branch.relay.stop()
        assert code == 0 and took < 3, (code, took)
        silent.close()


# --- Much of one thing ---


class Filler(threading.Thread):
    """Posts messages of one customer over some connections."""

    def __init__(self, box, to, count, lane="bulk", connections=16):
        super().__init__()
        self.box, self.to, self.count, self.lane, self.connections = box, to, count, lane, connections
        self.failures = []

    def client(self, n):
        try:
            poster = traffic.Poster(self.box.port)
            headers = self.box.headers(Zajel_Lane=self.lane)
            for i in range(n, self.count, self.connections):
                body = {"messaging_product": "whatsapp", "to": self.to if isinstance(self.to, str) else self.to(i),
                        "type": "text", "text": {"body": f"{i}"}}
                poster.post(f"/v23.0/{NUMBER}/messages", json.dumps(body).encode(), headers)
        except Exception as e:  # Told by the caller's thread.
            self.failures.append(e)

    def run(self):
        threads = [threading.Thread(target=self.client, args=(n,)) for n in range(self.connections)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def done(self):
        self.join()
        if self.failures:
            raise self.failures[0]


def test_one_customers_backlog_slows_nobody_else():
    """At the gateway, whose pair limit lets that customer's messages out one by one, and at the relay."""
    count = 2000 if QUICK else 30000
    with World(start=False) as w:
        set_keys(w.gateway.config, {"whatsapp": {"pair_interval_ms": "1000"}})
        w.start()
        filler = Filler(w.branch, CUSTOMER, count, lane="chat")
        filler.start()
        accepts = []
        while filler.is_alive():
            began = time.monotonic()
            w.branch.text(f"25472100{len(accepts):04d}", "meanwhile")
            accepts.append(time.monotonic() - began)
            time.sleep(0.05)
        filler.done()
        assert max(accepts) < 2, f"an accept beside them took {max(accepts):.1f} s"
        wait_for(lambda: w.branch.status()["queue"]["messages"] == 0, 60, 0.2)
        backlog = w.gateway_status()["courier"]["pending"]
        assert backlog > count * 0.9, backlog
        took = []
        for i in range(5):
            began = time.monotonic()
            w.branch.text(f"25472200{i:04d}", f"other {i}")
            wait_for(lambda i=i: f"other {i}" in seen.texts(w, f"25472200{i:04d}"), 30)
            took.append(time.monotonic() - began)
        print(f"      others, beside {backlog} of one customer: {max(took):.2f} s at most")
        assert max(took) < 5, took
        # His own come once, at their pace.
        his = seen.texts(w, CUSTOMER)
        assert len(his) < count / 2 and len(set(his)) == len(his)


def test_many_that_wait_cost_no_memory_and_little_time():
    count = 8000 if QUICK else 100000
    with Box() as box:
        box.start()
        box.text(CUSTOMER, "first")
        before = box.rss_anon()
        filler = Filler(box, lambda i: f"2547{i:08d}", count)
        began = time.monotonic()
        filler.start()
        filler.done()
        print(f"      {count} accepted in {time.monotonic() - began:.1f} s")
        assert box.status()["queue"]["messages"] == count + 1
        grown = box.rss_anon() - before
        assert "asan" in BUILD or grown < 4 << 20, f"{grown >> 10} KB more for {count} waiting"
        box.relay.kill()
        began = time.monotonic()
        box.start()
        took = time.monotonic() - began
        print(f"      ready {took:.2f} s after a kill, {box.rss_anon() >> 10} KB of its own")
        assert took < 5 and ("asan" in BUILD or box.rss_anon() < 8 << 20), (took, box.rss_anon())
        assert box.status()["queue"]["messages"] == count + 1


if __name__ == "__main__":
    zajel.main(globals())
