# SPDX-License-Identifier: Apache-2.0
"""The daemons on loopback, as the tests drive them: a world of one gateway, one practice WhatsApp and some branches.

A test script defines functions test_* and ends with zajel.main(globals()). Each prints as it goes; the last line
counts. Everything of a world lies in one temporary folder; every process is ended by its own id."""
import hashlib
import hmac
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

BUILD = os.environ.get("ZAJEL_BUILD", "build/release")
QUICK = os.environ.get("QUICK") == "1"
NUMBER = "106540352242922"
APP_SECRET = "practice-app-secret"
VERIFY_TOKEN = "practice-verify"
ACCESS_TOKEN = "practice-access-token"
HOOK_SECRET = "practice-hook-secret"
HOOK_VERIFY = "practice-hook-verify"


class Skip(Exception):
    """This machine cannot run the test: said and counted."""


# Each script takes ports from a block of its own: scripts run side by side, and below 32768 no connection of
# somebody's own takes one meanwhile.
_tries = itertools.count(os.getpid() * 100)


def free_port():
    for n in itertools.islice(_tries, 20000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", 12000 + n % 20000))
                return s.getsockname()[1]
            except OSError:
                continue
    raise AssertionError("no free port")


def wait_for(what, seconds=20, every=0.02):
    """Polls what() until it gives something true, which is returned."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {getattr(what, '__name__', what)}")
        time.sleep(every)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, headers=None, timeout=20):
    """One HTTP request on a connection of its own. body: bytes, str, or what becomes JSON."""
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        r = connection.getresponse()
        return Answer(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
    finally:
        connection.close()


class Daemon:
    """One program with its configuration file and its log."""

    def __init__(self, program, config, log, env=None):
        self.program, self.config, self.log, self.env = program, config, log, env or {}
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [f"{BUILD}/{self.program}", "--config", self.config, "run"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.env})
        return self

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self):
        """SIGTERM; returns (exit status, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=30)
        self.process = None
        return status, time.monotonic() - began

    def verb(self, *args, stdin=None, check=True):
        done = subprocess.run([f"{BUILD}/{self.program}", "--config", self.config, *args], input=stdin,
                              stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60)
        if check and done.returncode:
            raise AssertionError(f"{self.program} {args}: exit {done.returncode}: {done.stderr}")
        return done

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


class Branch:
    def __init__(self, world, name, extra=""):
        self.world, self.name = world, name
        self.folder = f"{world.folder}/{name}"
        self.port = free_port()
        self.link_port = free_port()
        world.gateway.verb("branch", "add", name, "--out", self.folder)
        self._configure(extra)
        self.relay = Daemon("zajel-relay", f"{self.folder}/relay.conf", f"{self.folder}/relay.log")
        self.token = self.relay.verb("token", "add", "program").stdout.strip()

    def _configure(self, extra):
        with open(f"{self.folder}/hook.secret", "w", encoding="ascii") as f:
            f.write(HOOK_SECRET)
        with open(f"{self.folder}/hook.verify", "w", encoding="ascii") as f:
            f.write(HOOK_VERIFY)
        set_keys(f"{self.folder}/relay.conf", {
            "api": {"listen": f"127.0.0.1:{self.port}",
                    "webhook_url": f"http://127.0.0.1:{self.world.hook_port}/hook",
                    "webhook_secret_file": "hook.secret", "webhook_verify_token_file": "hook.verify"},
            "uplink": {"url": f"wss://127.0.0.1:{self.world.link_port}/sync"}}, extra)

    def keep_state_in(self, folder):
        """Before the start: the store lies there; the token is made anew in it."""
        set_keys(self.relay.config, {"relay": {"state": folder}})
        self.token = self.relay.verb("token", "add", "program").stdout.strip()

    def headers(self, **more):
        return {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in more.items()}}

    def post(self, body, path=None, **headers):
        return request(self.port, "POST", path or f"/v23.0/{NUMBER}/messages", body, self.headers(**headers))

    def text(self, to, text, **headers):
        """Sends a text; returns its id."""
        r = self.post({"messaging_product": "whatsapp", "to": to, "type": "text", "text": {"body": text}}, **headers)
        if r.status != 200:
            raise AssertionError(f"{r.status} {r.body!r}")
        return r.json["messages"][0]["id"]

    def get(self, path):
        return request(self.port, "GET", path, headers=self.headers())

    def message(self, message_id):
        return self.get(f"/zajel/v1/messages/{message_id}").json

    def status(self):
        return self.get("/status").json

    def ready(self):
        try:
            return request(self.port, "GET", "/readyz").status == 200
        except OSError:
            return False

    def start(self):
        self.relay.start()
        wait_for(self.ready)
        return self

    def linked(self):
        return self.ready() and self.status()["link"]["state"] == "up"


def set_keys(path, sections, extra=""):
    """Sets keys of an INI file, in place; adds sections that are not there; appends extra."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    for section, keys in sections.items():
        if f"[{section}]" not in lines:
            lines += ["", f"[{section}]"]
        begin = lines.index(f"[{section}]") + 1
        end = next((i for i in range(begin, len(lines)) if lines[i].startswith("[")), len(lines))
        kept = [line for line in lines[begin:end] if line.split("=")[0].strip(" ;") not in keys]
        lines[begin:end] = [f"{k} = {v}" for k, v in keys.items()] + kept
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n" + extra)


class World:
    def __init__(self, branches=("nyeri-03",), gateway_extra="", sandbox_extra="", relay_extra="", start=True):
        self.folder = tempfile.mkdtemp(prefix="zajel-test-")
        self.sync_port, self.webhook_port, self.board_port = free_port(), free_port(), free_port()
        self.sandbox_port, self.link_port, self.hook_port = free_port(), free_port(), free_port()
        self._write("gateway.conf", f"""[gateway]
state = gateway
[sync]
listen = 127.0.0.1:{self.sync_port}
url = wss://127.0.0.1:{self.sync_port}/sync
[whatsapp]
api_base = http://127.0.0.1:{self.sandbox_port}
api_version = v23.0
app_secret_file = app.secret
verify_token_file = verify.token
timeout_s = 3
pair_interval_ms = 0
[number {NUMBER}]
provider = meta
waba_id = 102310231023
display_phone_number = 254700000001
access_token_file = token
mps = 1000
[webhook]
listen = 127.0.0.1:{self.webhook_port}
[board]
listen = 127.0.0.1:{self.board_port}
{gateway_extra}""")
        self._write("sandbox.conf", f"""[sandbox]
listen = 127.0.0.1:{self.sandbox_port}
access_token_file = token
app_secret_file = app.secret
verify_token_file = verify.token
webhook_url = http://127.0.0.1:{self.webhook_port}/webhook
[number {NUMBER}]
display_phone_number = 254700000001
[link]
listen = 127.0.0.1:{self.link_port}
target = 127.0.0.1:{self.sync_port}
[hook]
listen = 127.0.0.1:{self.hook_port}
secret_file = hook.secret
verify_token_file = hook.verify
{sandbox_extra}""")
        for name, text in (("app.secret", APP_SECRET), ("verify.token", VERIFY_TOKEN), ("token", ACCESS_TOKEN),
                           ("hook.secret", HOOK_SECRET), ("hook.verify", HOOK_VERIFY)):
            self._write(name, text)
        self.gateway = Daemon("zajel-gateway", f"{self.folder}/gateway.conf", f"{self.folder}/gateway.log")
        self.sandbox = Daemon("zajel-sandbox", f"{self.folder}/sandbox.conf", f"{self.folder}/sandbox.log")
        self.gateway.verb("init")
        self.branches = [Branch(self, name, relay_extra) for name in branches]
        if start:
            try:
                self.start()
            except BaseException:  # Nobody has this world yet, to end it.
                self.__exit__(*sys.exc_info())
                raise

    def _write(self, name, text):
        with open(f"{self.folder}/{name}", "w", encoding="utf-8") as f:
            f.write(text)

    @property
    def branch(self):
        return self.branches[0]

    def daemons(self):
        return [self.sandbox, self.gateway] + [b.relay for b in self.branches]

    def start(self):
        self.sandbox.start()
        self.gateway.start()
        wait_for(self.gateway_ready, 30)  # A relay that finds no gateway tries again after 3 s: nothing to wait for here.
        for b in self.branches:
            b.relay.start()
        wait_for(self.up, 30)
        return self

    def up(self):
        return self.sandbox_ready() and self.gateway_ready() and all(b.linked() for b in self.branches)

    def gateway_ready(self):
        try:
            return request(self.board_port, "GET", "/readyz").status == 200
        except OSError:
            return False

    def sandbox_ready(self):
        try:
            return request(self.sandbox_port, "GET", "/control").status == 200
        except OSError:
            return False

    def gateway_status(self):
        return request(self.board_port, "GET", "/status").json

    # The practice WhatsApp.
    def control(self, **fault):
        r = request(self.sandbox_port, "POST", "/control", fault)
        assert r.status == 200, r.body

    def link(self, state):
        r = request(self.sandbox_port, "POST", "/link", {"state": state})
        assert r.status == 200, r.body

    def _pages(self, path, name, after):
        """All there is, a page at a time."""
        rows, more = [], True
        while more:
            r = request(self.sandbox_port, "GET", f"{path}?after={after}&limit=10000")
            assert r.status == 200, r.body
            page = r.json
            rows += page[name]
            after, more = page["last"], page["more"]
        return rows

    def received(self, after=0):
        """Every message WhatsApp took, in arrival order, repeats and all."""
        return self._pages("/received", "messages", after)

    def hooks(self, after=0):
        """Every webhook the branch's sample program got; "body" is its text."""
        return self._pages("/hook/received", "webhooks", after)

    def answer(self, phone, message):
        """The customer writes."""
        r = request(self.sandbox_port, "POST", f"/phone/{phone}/messages", message)
        assert r.status == 200, r.body
        return r.json

    def webhook(self, body):
        """A webhook body posted to the gateway as Meta would, signed."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return request(self.webhook_port, "POST", "/webhook", raw, {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": "sha256=" + hmac.new(APP_SECRET.encode(), raw, hashlib.sha256).hexdigest()})

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is not None and kind is not Skip:
            for d in self.daemons():
                print(f"--- the end of {d.log}")
                try:
                    print("\n".join(d.log_text().splitlines()[-25:]))
                except OSError as e:
                    print(e)
        for d in self.daemons():
            d.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def main(scope):
    """Runs every test_* of the script (or those named on the command line); exits non-zero when one failed."""
    passed = failed = skipped = 0
    chosen = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    for name, test in list(scope.items()):
        if not name.startswith("test_") or not callable(test) or (chosen and name not in chosen):
            continue
        seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
        random.seed(seed)
        began = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok    {name} ({time.monotonic() - began:.1f} s)")
        except Skip as e:
            skipped += 1
            print(f"SKIP {name}: {e}")
        except Exception:  # A failed test is reported with all that it says, and the next one runs.
            failed += 1
            print(f"FAIL  {name} (SEED={seed})")
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 0)
