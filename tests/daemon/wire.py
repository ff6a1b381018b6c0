# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy between two daemons, that a test can make misbehave: cut at a byte, crawl, fall silent."""
import random
import select
import socket
import struct
import threading
import time

RESET = struct.pack("ii", 1, 0)  # SO_LINGER that makes close() send a RST.


class Connection(threading.Thread):
    """One connection through the proxy. It alone touches its two sockets, so that close() closes at once."""

    def __init__(self, near, far, fate):
        super().__init__(daemon=True)
        self.pair, self.fate = (near, far), fate
        self.passed = 0  # Bytes of both directions.
        self.order = None  # How to end, said by another thread.

    def run(self):
        sources = list(self.pair)
        try:
            while sources and self.order is None:
                for source in select.select(sources, [], [], 0.05)[0]:
                    data = source.recv(16384)
                    if not data:
                        sources.remove(source)
                        self._other(source).shutdown(socket.SHUT_WR)
                    elif not self._pass(source, data):
                        return
        except OSError:
            self.order = self.order or "reset"
        self._end(self.order or "close")

    def _other(self, source):
        return self.pair[1] if source is self.pair[0] else self.pair[0]

    def _pass(self, source, data):
        """False: the connection has met its fate."""
        limit = self.fate.get("cut", self.fate.get("stall"))
        room = len(data) if limit is None else max(0, min(len(data), limit - self.passed))
        self.passed += len(data)
        if "trickle" in self.fate:
            for i in range(len(data)):
                self._other(source).sendall(data[i:i + 1])
                time.sleep(self.fate["trickle"])
            return True
        self._other(source).sendall(data[:room])
        if room == len(data):
            return True
        how = self.fate.get("how", "reset")
        if "stall" in self.fate or how.startswith("half"):
            if how.startswith("half"):
                self.pair[how == "half_target"].shutdown(socket.SHUT_WR)
            while self.order is None:
                time.sleep(0.05)
            how = self.order
        self._end(how)
        return False

    def _end(self, how):
        for s in self.pair:
            try:
                if how == "reset":
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                s.close()
            except OSError:
                pass


class Proxy:
    """Leads 127.0.0.1:port to target. What `plan` gives for each new connection is how that one goes:

    None            bytes pass
    {"cut": N}      after N bytes of both directions together the connection ends, in the way of "how": "reset" (RST),
                    "close" (FIN to both), "half" (FIN to who called, bytes stop), "half_target" (FIN to the other)
    {"stall": N}    after N bytes nothing passes any more, and nobody is told
    {"trickle": S}  bytes pass one by one, with S seconds between
    """

    def __init__(self, target, plan=None):
        self.target, self.plan = target, plan or (lambda: None)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(near, far, self.plan() or {})
            self.connections.append(connection)
            connection.start()

    @property
    def accepted(self):
        return len(self.connections)

    def cut_all(self, how="reset"):
        """Ends all connections that are open now."""
        for c in self.connections:
            c.order = how

    def close(self):
        self.listener.close()
        self.cut_all()


def random_cut(least=300, most=30000):
    return {"cut": random.randrange(least, most), "how": random.choice(["reset", "close"])}
