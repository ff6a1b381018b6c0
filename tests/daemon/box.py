# SPDX-License-Identifier: Apache-2.0
"""A relay alone, without link or gateway: for what a branch's box does by itself."""
import os
import shutil
import tempfile

from zajel import NUMBER, Branch, Daemon, free_port


class Box(Branch):
    """The branch's programs, verbs and status work as in a World; everything accepted waits."""

    def __init__(self, extra=""):
        self.world, self.name = None, "nyeri-03"
        self.folder = tempfile.mkdtemp(prefix="zajel-test-")
        self.port = free_port()
        self.state = f"{self.folder}/state"
        self.relay = Daemon("zajel-relay", f"{self.folder}/relay.conf", f"{self.folder}/relay.log")
        with open(self.relay.config, "w", encoding="ascii") as f:
            f.write(f"[relay]\nbranch = nyeri-03\nbranch_number = 1\nstate = state\n"
                    f"[api]\nlisten = 127.0.0.1:{self.port}\n[numbers]\ndefault = {NUMBER}\n{extra}")
        self.token = self.relay.verb("token", "add", "program").stdout.strip()

    def rss_anon(self):
        """Bytes of memory of the relay's own."""
        with open(f"/proc/{self.relay.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon"))

    def restart(self):
        self.relay.kill()
        return self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is not None and os.path.exists(self.relay.log):
            print("\n".join(self.relay.log_text().splitlines()[-25:]))
        self.relay.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
