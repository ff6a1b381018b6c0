# SPDX-License-Identifier: Apache-2.0
"""Daemons in mount namespaces of their own: with file systems and name servers that nobody else sees."""
import os
import subprocess

from zajel import BUILD, Daemon, Skip


def may_unshare(*kinds):
    """Whether this machine lets us have namespaces of our own."""
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", *kinds, "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"], capture_output=True).returncode == 0


class Wrapped(Daemon):
    """A daemon that a shell script starts, in namespaces of its own."""
    script = ""
    kinds = ("-m",)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", *self.kinds, "sh", "-c", f"{self.script}\nexec {BUILD}/{self.program} --config {self.config} run"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.env})
        return self

    def inside(self, script):
        subprocess.run(["nsenter", "-t", str(self.process.pid), "-m", "sh", "-c", script], check=True)


def named(w, resolver, hosts):
    """The relay in namespaces of its own, with these name servers and hosts; the gateway is reached by localhost."""
    if not may_unshare("-m"):
        raise Skip("its own name servers need root and namespaces")
    for name, text in (("resolv.conf", resolver), ("hosts", hosts), ("nsswitch.conf", "hosts: files dns\n")):
        with open(f"{w.folder}/{name}", "w", encoding="ascii") as f:
            f.write(text)
    relay = w.branch.relay
    relay.__class__ = Wrapped
    relay.script = "\n".join(f"mount --bind {w.folder}/{name} /etc/{name}"
                             for name in ("resolv.conf", "hosts", "nsswitch.conf") if os.path.exists(f"/etc/{name}"))
