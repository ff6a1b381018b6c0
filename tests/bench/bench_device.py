#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bytes that reach the card for each message: the relay's store on an ext4 file system of its own, on a loop device whose
block statistics are read before and after. Needs root and a loop device; says so where they are refused."""
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))
import load  # noqa: E402
import zajel  # noqa: E402
from load import World, wait_for  # noqa: E402

IMAGE_BYTES = 1 << 30
WARM = 1500  # Commits that give the log file its size: from then on it is written over.


class Card:
    """A loop device with ext4 on it, mounted; put away at the end."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="zajel-card-", dir="build")
        self.image, self.mount = f"{self.folder}/image", f"{self.folder}/mount"
        os.mkdir(self.mount)
        with open(self.image, "wb") as f:
            f.truncate(IMAGE_BYTES)
        self.device = self._run("losetup", "-f", "--show", self.image).strip()
        self._run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.device)
        self._run("mount", self.device, self.mount)
        return self

    def __exit__(self, *_):
        self._run("umount", self.mount)
        self._run("losetup", "-d", self.device)
        os.unlink(self.image)
        os.rmdir(self.mount)
        os.rmdir(self.folder)

    @staticmethod
    def _run(*command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def written_bytes(self):
        os.sync()
        with open(f"/sys/block/{os.path.basename(self.device)}/stat", encoding="ascii") as f:
            return int(f.read().split()[6]) * 512


def accepts(w, card):
    for clients, count in ((1, 2000), (16, 20000), (256, 50000)):
        before = card.written_bytes()
        load.run(w.branch, clients, count)
        print(f"card: {clients:3} clients {(card.written_bytes() - before) / count:7.0f} bytes written an accepted message")


def whole_life(w, card):
    """One message at a time, from its accept to its read status: what a quiet branch does to its card."""
    before = card.written_bytes()
    lives = 20  # Statuses sent, delivered and read come one by one, as in life.
    for n in range(lives):
        message_id = w.branch.text("254711000001", f"one a minute {n}")
        wait_for(lambda i=message_id: w.branch.message(i)["state"] == "read", 30)
        time.sleep(0.2)
    print(f"card: one at a time {(card.written_bytes() - before) / lives:7.0f} bytes written in a message's whole life")


def main():
    try:
        card = Card().__enter__()
    except (OSError, subprocess.CalledProcessError) as e:
        print(f"card: not measured, needs root and a loop device ({e})")
        return
    try:
        with World(start=False, relay_extra="[limits]\nstore_bytes_max = 734003200\n") as w:
            zajel.set_keys(w.sandbox.config, {"sandbox": {"read_ms": 500}})
            w.branch.keep_state_in(f"{os.path.abspath(card.mount)}/state")
            w.start()
            load.run(w.branch, 1, WARM)
            wait_for(lambda: w.gateway_status()["courier"]["pending"] == 0, 120)
            wait_for(lambda: w.branch.status()["queue"]["messages"] + w.branch.status()["webhooks"]["waiting"] == 0, 120)
            time.sleep(3)  # The last statuses come down.
            whole_life(w, card)
            w.link("down")
            accepts(w, card)
    finally:
        card.__exit__()


if __name__ == "__main__":
    main()
