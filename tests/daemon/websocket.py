# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client over TLS that does what it is told, right or wrong: written from RFC 6455 alone, so that it shares
no mistake with the library the daemons use."""
import base64
import hashlib
import os
import socket
import ssl
import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """No link came of it: the HTTP status, 0 when the connection just ended."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


def mask(payload, key):
    """Masks and unmasks: the payload xor the key, over and over."""
    if not payload:
        return b""
    stream = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def frame(opcode, payload=b"", fin=True, rsv=0, masked=True, declared=None, form=None):
    """One frame as bytes. declared: a length that is not the payload's. form: 126 or 127, a wider length than needed."""
    length = len(payload) if declared is None else declared
    form = form or (length if length < 126 else 126 if length < 65536 else 127)
    out = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | form])
    if form >= 126:
        out += struct.pack(">H" if form == 126 else ">Q", length)
    if not masked:
        return out + payload
    key = os.urandom(4)
    return out + key + mask(payload, key)


def tls(folder):
    """The TLS identity that lies in a branch's folder."""
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    context.load_cert_chain(f"{folder}/box.pem", f"{folder}/box.key")
    return context


class Client:
    """A link, up when this returns. source: the loopback address to come from."""

    def __init__(self, port, context, source="127.0.0.1", timeout=10, path="/sync", protocol="zajel.1", more=b""):
        self.buffer = b""
        raw = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket = context.wrap_socket(raw, server_hostname="127.0.0.1")
        except (OSError, ValueError) as e:  # ssl.SSLError is an OSError.
            raw.close()
            raise Refused(0) from e
        try:
            self._upgrade(path, protocol, more)
        except BaseException:
            self.drop()
            raise

    def _upgrade(self, path, protocol, more):
        key = base64.b64encode(os.urandom(16))
        try:
            self.socket.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
                                b"\r\nSec-WebSocket-Protocol: " + protocol.encode() + b"\r\n" + more + b"\r\n")
            while b"\r\n\r\n" not in self.buffer:
                data = self.socket.recv(4096)
                if not data:
                    raise Refused(0)
                self.buffer += data
        except OSError as e:
            raise Refused(0) from e
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ")[1])
        if status != 101:
            raise Refused(status)
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).lower()
        assert b"sec-websocket-accept: " + accept in head.lower(), head

    def send(self, *frames):
        """False: the other side has hung up already; what it said can still be heard."""
        try:
            self.socket.sendall(b"".join(frames))
            return True
        except OSError:
            return False

    def message(self, payload):
        return self.send(frame(BINARY, payload))

    def _take(self, count):
        while len(self.buffer) < count:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("ended in a frame")
            self.buffer += data
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def hear(self):
        """The next frame: (opcode, payload). (None, why) when the connection ends without one."""
        try:
            first, second = self._take(2)
            assert first & 0x70 == 0 and second & 0x80 == 0, "a server sets no RSV bit and masks nothing"
            length = second & 127
            if length >= 126:
                length = int.from_bytes(self._take(2 if length == 126 else 8), "big")
            return first & 15, self._take(length)
        except (TimeoutError, socket.timeout):
            return None, "silence"
        except OSError as e:
            return None, str(e)

    def hear_close(self, seconds=5):
        """Hears until the end: (close code, reason). Code 0: hung up on without one. None: nothing ended in time."""
        self.socket.settimeout(seconds)
        while True:
            opcode, payload = self.hear()
            if opcode is None:
                return (None, "") if payload == "silence" else (0, payload)
            if opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                return code, payload[2:].decode("utf-8", "replace")

    def hear_message(self, seconds=5):
        """The next whole binary message; None when none comes."""
        self.socket.settimeout(seconds)
        whole = b""
        while True:
            opcode, payload = self.hear()
            if opcode in (None, CLOSE):
                return None
            if opcode in (BINARY, CONTINUATION):
                whole += payload
                return whole  # The tests send little: what comes back fits one frame.

    def drop(self):
        """Ends the connection without a word."""
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()
