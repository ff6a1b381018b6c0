#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is installed: units that are hard to break out of, a service manager that is told the truth, manuals that agree
with the programs, and one place for each file."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time

import zajel
from box import Box
from zajel import BUILD, Skip, World, wait_for

SECURITY_MAX = 2.5  # What systemd-analyze calls OK ends at 5; a service of root's with nothing set has 9.6.
DAEMONS = ("zajel-relay", "zajel-gateway")
WATCHDOG_S = 2


class Manager:
    """The service manager's end of sd_notify(3)."""

    def __init__(self, folder):
        self.path = f"{folder}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.heard = []

    def env(self):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(WATCHDOG_S * 1000000)}

    def listen(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self.socket.recv(4096).decode())
        return self.heard

    def last_status(self):
        words = [h for h in self.listen() if h.startswith("STATUS=")]
        return words[-1].removeprefix("STATUS=") if words else ""

    def signs(self):
        return self.listen().count("WATCHDOG=1")

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def told(daemon):
    """The daemon, running under a service manager that listens."""
    with tempfile.TemporaryDirectory(prefix="zajel-test-") as folder:
        manager = Manager(folder)
        before = daemon.env
        daemon.env = {**before, **manager.env()}
        try:
            daemon.start()
            wait_for(lambda: "READY=1" in manager.listen())
            yield manager
        finally:
            daemon.env = before
            manager.close()


def test_tells_when_it_accepts_what_waits_and_that_it_ends():
    with Box() as box, told(box.relay) as manager:
        assert box.ready()  # Told ready, and not before it was.
        for _ in range(3):
            box.text("254711000111", "waits")
        wait_for(lambda: re.fullmatch(r"accepting; link off; 3 wait, oldest \d s", manager.last_status()))
        assert box.relay.stop()[0] == 0
        assert manager.listen()[-1] == "STOPPING=1", manager.heard


def test_tells_both_ends_of_a_link():
    with World() as world:
        world.branch.relay.stop()
        world.gateway.stop()
        with told(world.gateway) as centre, told(world.branch.relay) as box:
            wait_for(lambda: box.last_status() == "accepting; link up; nothing waits", 30)
            wait_for(lambda: centre.last_status() == "accepting; 1 of 1 branches linked; courier: 0 wait, 0 held, 0 unknown")


def test_gives_signs_of_life_from_a_loop_that_turns_and_no_other():
    with Box() as box, told(box.relay) as manager:
        wait_for(lambda: manager.signs() >= 3)
        box.relay.process.send_signal(signal.SIGSTOP)
        seen = manager.signs()
        time.sleep(1.5 * WATCHDOG_S)
        assert manager.signs() == seen
        box.relay.process.send_signal(signal.SIGCONT)
        wait_for(lambda: manager.signs() > seen)


def test_opens_a_store_anew_that_fails_the_probe():
    with Box() as box, told(box.relay) as manager:
        wait_for(lambda: manager.signs() >= 1)
        # The folder goes from under the daemon: what it promises now would be lost with it.
        os.rename(box.state, box.state + ".gone")
        wait_for(lambda: "turn_lost" in box.relay.log_text())
        assert box.ready() or box.post({}).status in (400, 503)
        wait_for(lambda: "WATCHDOG_USEC=1800000000" in manager.listen() and manager.signs() > 1)
        assert box.relay.alive


def test_units_leave_little_to_break_into():
    with tempfile.TemporaryDirectory(prefix="zajel-test-") as folder:
        for daemon in DAEMONS:
            unit = f"{folder}/{daemon}.service"
            with open(f"packaging/{daemon}.service", encoding="utf-8") as source, open(unit, "w", encoding="utf-8") as f:
                f.write(source.read().replace("@PREFIX@", "/usr"))
            try:
                done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
                                      capture_output=True, text=True, timeout=60)
            except FileNotFoundError:
                raise Skip("systemd-analyze is not installed") from None
            score = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
            assert score and float(score[1]) <= SECURITY_MAX, done.stdout + done.stderr


def test_reference_is_what_the_programs_say():
    said = subprocess.run(["packaging/reference", BUILD], capture_output=True, text=True, timeout=60, check=True).stdout
    with open("packaging/configuration.md", encoding="utf-8") as f:
        assert f.read() == said, "packaging/configuration.md is old: make reference"


def test_manuals_know_every_verb():
    for program in (*DAEMONS, "zajel-sandbox"):
        text = subprocess.run([f"{BUILD}/{program}", "--help"], capture_output=True, text=True, timeout=20, check=True)
        verbs = set(re.findall(r"^  ([a-z][a-z-]+(?: [a-z]+)?)(?= |$)", text.stdout.split("sections and keys")[0], re.M))
        assert "run" in verbs, text.stdout
        with open(f"packaging/man/{program}.8", encoding="utf-8") as f:
            page = re.sub(r"\.[A-Z][a-z] |\\&", "", f.read())
        missing = [verb for verb in verbs if not re.search(r"\b%s\b" % verb.split()[-1], page)]
        assert not missing, f"{program}.8 does not know {missing}"


def test_manuals_are_clean():
    for program in (*DAEMONS, "zajel-sandbox"):
        try:
            done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", f"packaging/man/{program}.8"],
                                  capture_output=True, text=True, timeout=20)
        except FileNotFoundError:
            raise Skip("mandoc is not installed") from None
        assert done.returncode == 0 and not done.stdout, done.stdout


def test_installs_what_a_service_needs():
    with tempfile.TemporaryDirectory(prefix="zajel-test-") as folder:
        subprocess.run(["make", "-s", "install", f"VARIANT={os.path.basename(BUILD)}", f"DESTDIR={folder}",
                        "PREFIX=/usr"], check=True, timeout=300, stdout=subprocess.DEVNULL,
                       env={**os.environ, "MAKEFLAGS": ""})
        found = {os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names}
        expected = {f"usr/bin/{program}" for program in (*DAEMONS, "zajel-sandbox")}
        for daemon in DAEMONS:
            expected |= {f"usr/lib/systemd/system/{daemon}.service", f"usr/lib/sysusers.d/{daemon}.conf",
                         f"usr/lib/tmpfiles.d/{daemon}.conf", f"usr/share/man/man8/{daemon}.8"}
        assert expected <= found, expected - found
        if BUILD.endswith("/release"):
            assert os.path.getsize(f"{folder}/usr/bin/zajel-relay") < 500000
        with open(f"{folder}/usr/lib/systemd/system/zajel-relay.service", encoding="utf-8") as f:
            unit = f.read()
        assert "@" not in re.sub(r"@(system-service|privileged|resources)", "", unit), unit
        assert "ExecStart=/usr/bin/zajel-relay " in unit


if __name__ == "__main__":
    zajel.main(globals())
