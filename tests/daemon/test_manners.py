#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The many ways in which programs speak HTTP to a branch, byte by byte: each is answered, as WhatsApp would."""
import json
import os
import socket
import ssl
import subprocess
import warnings

import zajel
from box import Box
from zajel import BUILD, NUMBER

SEND = f"/v23.0/{NUMBER}/messages"
ACCOUNT = "102310231023"
MEDIA = "1479537139650973"


def text(words="hello", **more):
    return json.dumps({"messaging_product": "whatsapp", "to": "254711000001", "type": "text",
                       "text": {"body": words}, **more}, ensure_ascii=False).encode()


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def id(self):
        assert self.status == 200, (self.status, self.body)
        return self.json["messages"][0]["id"]

    def allows(self):
        return set(self.headers["allow"].split(", "))


class Caller:
    """One connection, on which bytes are written as they are given."""

    def __init__(self, port, host="127.0.0.1", context=None):
        self.socket = socket.create_connection((host, port), timeout=20)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.rest = b""

    def write(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("hung up")
        self.rest += data

    def read(self, has_body=True):
        """The next answer, and nothing beyond it."""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("ascii").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        length = int(headers.get("content-length", 0)) if has_body and status != 100 else 0
        while len(self.rest) < length:
            self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return Reply(status, headers, body)

    def ends(self):
        """Nothing more was said, and they hung up."""
        try:
            return not self.rest and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def ask(self, method, path, *lines, body=b"", version="1.1"):
        self.write(head(method, path, *lines, version=version, length=len(body) if body else None) + body)
        return self.read(has_body=method != "HEAD")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def head(method, path, *lines, version="1.1", length=None):
    lines = [f"{method} {path} HTTP/{version}", "Host: graph.facebook.com", *lines]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def bearer(box):
    return f"Authorization: Bearer {box.token}"


def check_refused(reply, status, code, word=None):
    """Shaped as Graph's errors are."""
    assert reply.status == status, (reply.status, reply.body)
    error = reply.json["error"]
    assert error["code"] == code and f"(#{code})" in error["message"] and error["type"] == "OAuthException", error
    assert reply.headers["content-type"].startswith("application/json"), reply.headers
    assert not word or word in error["error_data"]["details"], (word, error)


def test_takes_any_version_and_none():
    with Box().start() as box, Caller(box.port) as caller:
        paths = [f"{version}/{NUMBER}/messages{end}" for version in ("", "/v2.0", "/v13.0", "/v25.0", "/v27.0", "/v100.0")
                 for end in ("", "/", "?messaging_product=whatsapp")]
        ids = {caller.ask("POST", path, bearer(box), body=text()).id for path in paths}
        assert len(ids) == len(paths)
        for path in (f"/v25/{NUMBER}/messages", f"/latest/{NUMBER}/messages", f"/v25.0/v25.0/{NUMBER}/messages"):
            check_refused(caller.ask("POST", path, bearer(box), body=text()), 404, 100)
        assert box.status()["totals"]["accepted"] == len(paths)


def test_reads_headers_however_they_are_written():
    with Box().start() as box, Caller(box.port) as caller:
        token = box.token
        for lines in ([f"AUTHORIZATION: Bearer {token}", "CONTENT-TYPE: application/json"],
                      [f"authorization: bearer {token}", "content-type: application/json; charset=utf-8"],
                      [f"Authorization:BEARER   {token}", "Content-Type: text/plain"],
                      [f"aUtHoRiZaTiOn: \t Bearer {token}  ", "Accept: */*", "Accept-Encoding: gzip, deflate, br"],
                      [f"Authorization: Bearer {token}", "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1)",
                       "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]):
            assert caller.ask("POST", SEND, *lines, body=text()).id
        for query, status in ((f"access_token={token}", 200), (f"a=1&access_token={token}&b=2", 200),
                              ("access_token=wrong", 401), ("access_token", 401), ("access_token=", 401)):
            assert caller.ask("POST", f"{SEND}?{query}", body=text()).status == status, query
        for header in ("Authorization: Bearer wrong", f"Authorization: Basic {token}", "Authorization:"):
            check_refused(caller.ask("POST", f"{SEND}?access_token={token}", header, body=text()), 401, 190)
        urgent = caller.ask("POST", SEND, bearer(box), "zajel-LANE: urgent", "ZAJEL-EXPIRES-IN: 60",
                            body=text()).id
        assert box.message(urgent)["lane"] == "urgent"
        keyed = [caller.ask("POST", SEND, bearer(box), f"{name}: once", body=text()).id
                 for name in ("idempotency-key", "IDEMPOTENCY-KEY")]
        assert keyed[0] == keyed[1]


def test_keeps_the_connection_whatever_was_asked_on_it():
    with Box().start() as box, Caller(box.port) as caller:
        for _ in range(3):
            assert caller.ask("POST", SEND, bearer(box), body=text()).id
            check_refused(caller.ask("POST", SEND, bearer(box), body=b"{"), 400, 100)
            check_refused(caller.ask("POST", SEND, body=text()), 401, 190)
            check_refused(caller.ask("POST", f"/v23.0/{NUMBER}/letters", bearer(box), body=text()), 404, 100)
            check_refused(caller.ask("POST", f"/v23.0/{NUMBER}/media", bearer(box), body=b"x" * 300000), 400, 100)
            check_refused(caller.ask("PUT", SEND, bearer(box), body=text()), 405, 100)
            assert caller.ask("GET", "/healthz").body == b"ok\n"
        # Two at once: answered in their order.
        caller.write(head("POST", SEND, bearer(box), length=len(text("one"))) + text("one") + head("GET", "/healthz"))
        first, second = caller.read(), caller.read()
        assert first.id and second.body == b"ok\n"
        # The last one says so.
        assert caller.ask("POST", SEND, bearer(box), "Connection: close", body=text()).id
        assert caller.ends()


def test_speaks_http_1_0():
    with Box().start() as box:
        with Caller(box.port) as caller:
            assert caller.ask("POST", SEND, bearer(box), body=text(), version="1.0").id
            assert caller.ends()
        with Caller(box.port) as caller:
            for _ in range(2):
                assert caller.ask("POST", SEND, bearer(box), "Connection: Keep-Alive", body=text(), version="1.0").id


def test_takes_bodies_in_chunks_of_any_kind():
    body = text("Habari \u2014 \u0645\u0631\u062d\u0628\u0627 \U0001f600")
    chunked = "Transfer-Encoding: chunked"
    with Box().start() as box, Caller(box.port) as caller:
        def chunks(size, form="%x"):
            pieces = [body[at:at + size] for at in range(0, len(body), size)]
            return [(form % len(piece)).encode() + b"\r\n" + piece + b"\r\n" for piece in pieces] + [b"0\r\n\r\n"]

        for pieces in (chunks(len(body)), chunks(1), chunks(7), chunks(len(body), "%X"), chunks(30, "%08x"),
                       [b"".join(chunks(5))],  # In one write.
                       chunks(20, "%x;name=value"),  # Extensions mean nothing.
                       chunks(20)[:-1] + [b"0\r\nX-Trailer: yes\r\n\r\n"]):
            caller.write(head("POST", SEND, bearer(box), chunked), *pieces)
            assert caller.read().id
        # Every byte in a packet of its own, between characters and in them.
        whole = head("POST", SEND, bearer(box), "TRANSFER-ENCODING: Chunked") + b"".join(chunks(9))
        caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller.write(*(whole[i:i + 1] for i in range(len(whole))))
        assert caller.read().id
        # Without a type, and nothing in it.
        caller.write(head("POST", SEND, bearer(box), chunked), b"0\r\n\r\n")
        check_refused(caller.read(), 400, 100)


def test_says_100_to_who_waits_for_it():
    with Box().start() as box, Caller(box.port) as caller:
        for expect in ("Expect: 100-continue", "expect: 100-Continue"):
            caller.write(head("POST", SEND, bearer(box), expect, length=len(text())))
            assert caller.read().status == 100
            caller.write(text())
            assert caller.read().id
        caller.write(head("POST", SEND, bearer(box), "Expect: 100-continue", "Transfer-Encoding: chunked"))
        assert caller.read().status == 100
        caller.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text()), text()))
        assert caller.read().id
        # Whoever does not wait is not made to.
        caller.write(head("POST", SEND, bearer(box), "Expect: 100-continue", length=len(text())) + text())
        replies = [caller.read()]
        if replies[0].status == 100:
            replies.append(caller.read())
        assert replies[-1].id


def test_answers_head_as_get_without_a_body():
    with Box().start() as box, Caller(box.port) as caller:
        sent = caller.ask("POST", SEND, bearer(box), body=text()).id
        for path in ("/healthz", "/readyz", "/status", "/metrics", f"/zajel/v1/messages/{sent}"):
            got, asked = caller.ask("GET", path, bearer(box)), caller.ask("HEAD", path, bearer(box))
            assert (asked.status, asked.body) == (200, b""), (path, asked.status)
            assert asked.headers["content-type"] == got.headers["content-type"]
            assert int(asked.headers["content-length"]) > 0
        for path, status in ((SEND, 405), (f"/v23.0/{MEDIA}", 400), ("/nothing", 404)):
            asked = caller.ask("HEAD", path, bearer(box))
            assert (asked.status, asked.body) == (status, b""), (path, asked.status)
        assert caller.ask("GET", "/healthz").body == b"ok\n"  # No body of those before lies in between.


def test_says_which_methods_a_path_takes():
    with Box().start() as box, Caller(box.port) as caller:
        for path, methods in ((SEND, {"POST", "OPTIONS"}), (f"/{NUMBER}/messages", {"POST", "OPTIONS"}),
                              ("/healthz", {"GET", "HEAD", "OPTIONS"}), ("/status", {"GET", "HEAD", "OPTIONS"}),
                              ("/zajel/v1/messages/wamid.x", {"GET", "HEAD", "DELETE", "OPTIONS"})):
            options = caller.ask("OPTIONS", path)  # Whoever asks this has no token yet.
            assert (options.status, options.body, options.allows()) == (204, b"", methods), (path, options.status)
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
                refused = caller.ask(method, path, bearer(box), body=text() if method != "GET" else b"")
                check_refused(refused, 405, 100, "takes")
                assert refused.allows() == methods, (method, path)
        every = caller.ask("OPTIONS", "*")
        assert every.status == 204 and "POST" in every.allows()


UNSUPPORTED = [
    ("POST", f"/v23.0/{NUMBER}/media", "uploading media"),
    ("POST", f"/v24.0/{NUMBER}/media?messaging_product=whatsapp", "uploading media"),
    ("GET", f"/v23.0/{MEDIA}", "reading media"),
    ("GET", f"/{MEDIA}?phone_number_id={NUMBER}", "reading media"),
    ("DELETE", f"/v23.0/{MEDIA}", "deleting media"),
    ("GET", f"/v23.0/{NUMBER}?fields=status,display_phone_number", "phone number"),
    ("POST", f"/v23.0/{NUMBER}/", "PIN"),
    ("GET", f"/v23.0/{NUMBER}/whatsapp_business_profile?fields=about", "business profile"),
    ("GET", f"/v14.0/{ACCOUNT}/message_templates?limit=100", "templates"),
    ("POST", f"/v23.0/{ACCOUNT}/message_templates", "templates"),
    ("DELETE", f"/v23.0/{ACCOUNT}/message_templates?name=otp", "templates"),
    ("GET", f"/v23.0/{ACCOUNT}/phone_numbers", "phone numbers"),
    ("POST", f"/v23.0/{ACCOUNT}/subscribed_apps", "webhooks"),
    ("POST", f"/v23.0/{NUMBER}/register", "registering"),
    ("POST", f"/v23.0/{NUMBER}/deregister", "deregistering"),
    ("POST", f"/{NUMBER}/calls", "calls"),
    ("GET", f"/v23.0/{NUMBER}/call_permissions?user_wa_id=254711000001", "calls"),
    ("DELETE", f"/{NUMBER}/block_users", "blocking"),
    ("GET", f"/v24.0/{NUMBER}/message_qrdls/", "QR codes"),
    ("POST", f"/v24.0/{NUMBER}/message_qrdls/ABC123?prefilled_message=hello%20there", "QR codes"),
    ("GET", f"/v23.0/{ACCOUNT}/flows", "flows"),
    ("POST", "/v23.0/1234567890/publish", "flows"),
    ("GET", "/v23.0/message_template_library?search=otp", "template library"),
    ("GET", f"/v23.0/{NUMBER}/messages/wamid.x", "history"),
    ("GET", "/v23.0/debug_token?input_token=x", "tokens"),
]


def test_names_what_it_does_not_support_yet():
    with Box().start() as box, Caller(box.port) as caller:
        for method, path, word in UNSUPPORTED:
            body = b"{}" if method != "GET" else b""
            check_refused(caller.ask(method, path, bearer(box), body=body), 400, 100, word)
            check_refused(caller.ask(method, path, body=body), 401, 190)
        assert box.status()["totals"]["accepted"] == 0


def test_refuses_a_file_once_it_is_through():
    parts = [b'name="messaging_product"\r\n\r\nwhatsapp', b'name="type"\r\n\r\nimage/png',
             b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n' + os.urandom(5 << 20)]
    with Box().start() as box, Caller(box.port) as caller:
        for order in (parts, parts[::-1]):
            body = b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in order) + b"--x--\r\n"
            kind = "Content-Type: multipart/form-data; boundary=x"
            check_refused(caller.ask("POST", f"/v23.0/{NUMBER}/media", bearer(box), kind, body=body), 400, 100,
                          "uploading media")
            caller.write(head("POST", f"/v23.0/{NUMBER}/media", bearer(box), kind, "Transfer-Encoding: chunked"),
                         b"%x\r\n" % len(body), body, b"\r\n0\r\n\r\n")
            check_refused(caller.read(), 400, 100, "uploading media")


def tls_1_1():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def test_speaks_tls_to_those_who_can_nothing_else():
    box, port = Box(), zajel.free_port()
    subprocess.run([f"{BUILD}/tests/daemon/authority", box.folder, "graph.facebook.com", "127.0.0.77"], check=True)
    zajel.set_keys(box.relay.config, {"api": {"listen_tls": f"127.0.0.77:{port}", "tls_certificate_file": "server.pem",
                                              "tls_key_file": "server.key"}})
    with box.start():
        trusting = ssl.create_default_context(cafile=f"{box.folder}/ca.pem")
        with Caller(port, "127.0.0.77", trusting) as caller, Caller(box.port) as plain:
            assert caller.socket.version() in ("TLSv1.2", "TLSv1.3")
            for _ in range(3):
                assert caller.ask("POST", SEND, bearer(box), body=text()).id
                check_refused(caller.ask("POST", SEND, body=text()), 401, 190)
                assert plain.ask("POST", SEND, bearer(box), body=text()).id
            caller.write(head("POST", SEND, bearer(box), "Transfer-Encoding: chunked"),
                         b"%x\r\n%s\r\n0\r\n\r\n" % (len(text()), text()))
            assert caller.read().id
            caller.write(head("POST", SEND, bearer(box), "Expect: 100-continue", length=len(text())))
            assert caller.read().status == 100
            caller.write(text())
            assert caller.read().id
        try:
            with Caller(port, "127.0.0.77", ssl.create_default_context()):
                raise AssertionError("taken for somebody whom it cannot be")
        except ssl.SSLCertVerificationError:
            pass
        with Caller(port, "127.0.0.77") as caller:  # Plain HTTP at the door of the others: no hanging.
            caller.write(head("GET", "/healthz"))
            try:
                assert b"HTTP/1.1 200" not in caller.socket.recv(4096)
            except ConnectionResetError:
                pass
        try:
            with Caller(port, "127.0.0.77", tls_1_1()):
                raise AssertionError("spoke TLS 1.1")
        except (ssl.SSLError, ConnectionResetError):
            pass
        assert box.status()["totals"]["accepted"] == 8


if __name__ == "__main__":
    zajel.main(globals())
