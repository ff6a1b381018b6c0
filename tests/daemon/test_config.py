#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Configuration and command line of the three programs: a mistake is told with file, line, key and what is allowed, and
ends with status 2."""
import os
import random
import signal
import subprocess
import tempfile

import zajel
from box import Box
from zajel import BUILD, NUMBER, QUICK, Daemon, World, request, wait_for

PROGRAMS = ("zajel-relay", "zajel-gateway", "zajel-sandbox")

GOOD = {
    "zajel-relay": f"""[relay]
branch = nyeri-03
branch_number = 1
state = state
[api]
listen = 127.0.0.1:8080
[numbers]
default = {NUMBER}
""",
    "zajel-gateway": f"""[gateway]
state = state
[whatsapp]
api_base = https://graph.facebook.com
app_secret_file = secret
verify_token_file = secret
[number {NUMBER}]
access_token_file = secret
""",
    "zajel-sandbox": f"""[sandbox]
listen = 127.0.0.1:8088
app_secret_file = secret
[number {NUMBER}]
display_phone_number = 254700000001
""",
}


def run(program, *args):
    done = subprocess.run([f"{BUILD}/{program}", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20)
    return done.returncode, done.stdout, done.stderr


class Folder:
    """A folder with a configuration and the files it names."""

    def __init__(self, program):
        self.program, self.name = program, program.removeprefix("zajel-") + ".conf"

    def __enter__(self):
        self.held = tempfile.TemporaryDirectory(prefix="zajel-test-")
        self.path = f"{self.held.name}/{self.name}"
        for name, words in (("secret", "a secret\n"), ("empty", ""), ("blank", " \n")):
            self.write(words, name)
        return self

    def __exit__(self, *_):
        self.held.cleanup()

    def write(self, words, name=None):
        with open(f"{self.held.name}/{name or self.name}", "w", encoding="utf-8") as f:
            f.write(words)

    def check(self, words, *expected, verb="check-config"):
        """The configuration is refused, in words that hold each of expected."""
        self.write(words)
        status, out, err = run(self.program, "--config", self.path, verb)
        said = f"{self.program} {verb}: exit {status}: {out}{err}"
        assert status == 2, said
        assert len(err.strip().splitlines()) == 1, said
        for word in (self.name, *expected):
            assert word in err, f"{word!r} is not in: {said}"

    def check_changed(self, section, line, *expected):
        """The good configuration with a line more, or one that stands for the line of its key. The error names that
        line, or the section's where the whole of it is wrong."""
        words, at = with_line(GOOD[self.program], section, line)
        self.check(words, *expected)
        heading = words.splitlines().index(f"[{section}]") + 1
        said = run(self.program, "--config", self.path, "check-config")[2]
        assert f"{self.name}:{at}:" in said or f"{self.name}:{heading}:" in said, f"line {at} is not in: {said}"


def with_line(words, section, line):
    """Puts a line into a section, in place of one with the same key; gives the text and the number of the line."""
    lines, key = words.splitlines(), line.split("=")[0].strip()
    if f"[{section}]" not in lines:
        lines.append(f"[{section}]")
    at = lines.index(f"[{section}]") + 1
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("[")), len(lines))
    same = next((i for i in range(at, end) if lines[i].split("=")[0].strip() == key), None)
    if same is None:
        lines.insert(end, line)
        same = end
    else:
        lines[same] = line
    return "\n".join(lines) + "\n", same + 1


# Section, line, words that the error must hold.
WRONG = {
    "zajel-relay": [
        ("api", "listn = 127.0.0.1:8080", "[api]", "listn", "no such key", "listen"),
        ("api", "listen = 8080", "[api]", "listen", "HOST:PORT"),
        ("api", "listen = 127.0.0.1:70000", "[api]", "listen", "HOST:PORT"),
        ("api", "listen = 0.0.0.0:8080", "[api]", "listen", "loopback", "tls_certificate_file", "behind_proxy"),
        ("api", "listen_tls = 127.0.0.77:443", "listen_tls", "tls_certificate_file"),
        ("api", "webhook_secret_file = nowhere", "webhook_secret_file", "cannot be read"),
        ("api", "webhook_secret_file = empty", "webhook_secret_file", "holds nothing"),
        ("api", "webhook_secret_file = blank", "webhook_secret_file", "holds nothing"),
        ("api", "webhook_url = ftp://127.0.0.1/", "webhook_url", "http"),
        ("api", "webhook_url = http://192.0.2.1/hook", "webhook_url", "loopback"),
        ("api", "behind_proxy = maybe", "behind_proxy", "yes", "no"),
        ("api", "webhook_parallel = 65", "webhook_parallel", "1 to 64"),
        ("desk", "listen = 0.0.0.0:8081", "[desk]", "listen", "loopback"),
        ("relay", "branch_number = 0", "branch_number", "1 to 4294967295"),
        ("relay", "branch_number = one", "branch_number", "whole number"),
        ("relay", "branch = ", "branch", "no value"),
        ("uplink", "url = https://gw.example/sync", "[uplink]", "url", "wss://"),
        ("uplink", "url = wss://gw.example:8443/sync", "[uplink]", "ca_file"),
        ("numbers", "default = +254700000001", "[numbers]", "default", "PHONE_NUMBER_ID"),
        ("limits", "store_bytes_max = 1000", "store_bytes_max", "1048576"),
        ("limits", "store_bytes_max = 99999999999999999999", "store_bytes_max", "whole number"),
        ("limits", "request_bytes_max = 3000000", "request_bytes_max", "1024 to 2097152"),
        ("template otp", "lane = fast", "[template otp]", "lane", "urgent", "bulk"),
        ("template otp", "expires_in = 0", "expires_in", "1 to 2592000"),
        ("lane bulk", "hours = 25:00-06:00", "hours", "HH:MM"),
        ("lane chat", "hours = 20:00-06:00", "hours", "bulk"),
        ("lane fast", "expires_in = 5", "urgent"),
        ("number abc", "waba_id = 1", "PHONE_NUMBER_ID"),
    ],
    "zajel-gateway": [
        ("gateway", "stat = x", "[gateway]", "stat", "no such key", "state"),
        ("sync", "listen = nowhere", "[sync]", "listen", "HOST:PORT"),
        ("sync", "url = ws://gw.example:8443/sync", "[sync]", "url", "wss://"),
        ("whatsapp", "api_base = http://graph.facebook.com", "api_base", "loopback", "https"),
        ("whatsapp", "api_base = graph.facebook.com", "api_base", "https"),
        ("whatsapp", "api_version = 25", "api_version", "v25.0"),
        ("whatsapp", "app_secret_file = nowhere", "app_secret_file"),
        ("whatsapp", "app_secret_file = empty", "app_secret_file"),
        ("whatsapp", "verify_token_file = nowhere", "verify_token_file"),
        ("whatsapp", "timeout_s = 0", "timeout_s", "1 to 600"),
        ("webhook", "listen = 0.0.0.0:8444", "[webhook]", "listen", "loopback", "tls_certificate_file", "behind_proxy"),
        ("webhook", "tls_key_file = secret", "[webhook]", "together"),
        ("board", "listen = 0.0.0.0:8090", "[board]", "listen", "loopback"),
        (f"number {NUMBER}", "access_token_file = nowhere", "access_token_file"),
        (f"number {NUMBER}", "provider = twilio", "provider", "meta"),
        (f"number {NUMBER}", "mps = 0", "mps", "1 to 10000"),
        ("branch nyeri-03", "numbers = 1234", "[branch nyeri-03]", "numbers", "[number"),
        ("routing", "order = nearest", "[routing]", "order", "last_served"),
        ("routing", "prefix_x = nyeri-03", "[routing]", "prefix_254"),
        ("number abc", "access_token_file = secret", "[number abc]", "digits"),
        ("branch a/b", f"numbers = {NUMBER}", "[branch a/b]", "letters"),
        ("limits", "store_bytes_max = 5", "store_bytes_max", "1048576"),
    ],
    "zajel-sandbox": [
        ("sandbox", "listne = 127.0.0.1:1", "[sandbox]", "listne", "no such key", "listen"),
        ("sandbox", "listen = 127.0.0.1", "[sandbox]", "listen", "HOST:PORT"),
        ("sandbox", "app_secret_file = nowhere", "app_secret_file", "cannot be read"),
        ("sandbox", "sent_ms = soon", "sent_ms", "whole number"),
        ("link", "listen = x", "[link]", "listen", "HOST:PORT", "off"),
    ],
}


def test_good_configurations_are_fine():
    for program in PROGRAMS:
        with Folder(program) as f:
            f.write(GOOD[program] + "; a comment\n# and another\n\n")
            status, _, err = run(program, "--config", f.path, "check-config")
            assert status == 0, (program, err)


def test_each_mistake_is_told_with_line_key_and_what_is_allowed():
    failures = []
    for program, mistakes in WRONG.items():
        with Folder(program) as f:
            for section, line, *expected in random.sample(mistakes, 5) if QUICK else mistakes:
                try:
                    f.check_changed(section, line, *expected)
                except AssertionError as e:
                    failures.append(f"[{section}] {line}: {e}")
    assert not failures, "\n".join(failures)


def test_lines_that_the_library_would_misread_are_refused():
    for program in PROGRAMS[:1] if QUICK else PROGRAMS:  # One reader serves them all.
        good = GOOD[program]
        section, key, last = good.splitlines()[0], good.splitlines()[1], len(good.splitlines())
        with Folder(program) as f:
            at = f"{f.name}:{last + 1}:"
            f.check(good + "[nowhere]\nx = 1\n", at, "[nowhere]", "no such section")
            f.check(good + f"{section}\n{key}\n", at, "already", "line 1")
            f.check(good.replace(key, f"{key}\n{key}"), f"{f.name}:3:", "already", "line 2")
            f.check(good + "; " + "x" * 190 + "\n", at, "190")
            f.check(good + "  indented = 1\n", at, "indented")
            f.check(good + "\tindented = 1\n", at, "indented")
            f.check(good + "neither this nor that\n", at, "key = value")
            f.check(good + "[open\n", at, "]")
            f.check("x = 1\n" + good, f"{f.name}:1:", "section")
            f.check(good + "a\x01b = 1\n", at, "control character")
            f.check(good.replace(good.splitlines()[1] + "\n", ""), key.split(" =")[0]) if "branch =" in key else None


def test_a_missing_file_and_a_wrong_verb_end_with_two():
    for program in PROGRAMS:
        for verb in ("check-config", "run"):
            status, _, err = run(program, "--config", "/nonexistent/zajel.conf", verb)
            assert status == 2 and "/nonexistent/zajel.conf" in err, (program, verb, status, err)
        with Folder(program) as f:
            f.write(GOOD[program])
            for args in (["fly"], [], ["run", "fast"], ["--config"], ["--confg", f.path, "run"], ["-x"]):
                status, out, err = run(program, *(["--config", f.path] if args[:1] in (["fly"], ["run"]) else []), *args)
                assert status == 2 and ("usage" in err or "--help" in err), (program, args, status, out, err)
            # A daemon refuses the same mistakes as check-config, before it touches anything.
            f.check(with_line(GOOD[program], GOOD[program].splitlines()[0].strip("[]"), "typo = 1")[0], "typo", verb="run")
            assert not os.path.exists(f"{f.held.name}/state")


def test_help_and_version_are_there():
    for program in PROGRAMS:
        status, out, _ = run(program, "--help")
        assert status == 0 and program in out and "check-config" in out and "--config" in out, out
        status, out, _ = run(program, "--version")
        assert status == 0 and out.startswith(program) and any(c.isdigit() for c in out), out


def make_gateway(folder):
    """A gateway's configuration whose ports nobody listens on."""
    path = f"{folder}/gateway.conf"
    with open(path, "w", encoding="ascii") as f:
        f.write(GOOD["zajel-gateway"])
    with open(f"{folder}/secret", "w", encoding="ascii") as f:
        f.write("a secret")
    return Daemon("zajel-gateway", path, f"{folder}/gateway.log")


def test_the_gateway_is_made_once_and_each_branch_once():
    with tempfile.TemporaryDirectory(prefix="zajel-test-") as folder:
        gateway = make_gateway(folder)
        for args in (["run"], ["branch", "add", "nyeri-03", "--out", f"{folder}/early"], ["branch", "list"]):
            done = gateway.verb(*args, check=False)
            assert done.returncode == 1 and "init" in done.stderr, (args, done)
        gateway.verb("init")
        again = gateway.verb("init", check=False)
        assert again.returncode == 1 and again.stderr.strip(), again
        gateway.verb("branch", "add", "nyeri-03", "--out", f"{folder}/nyeri")
        for name in ("relay.conf", "box.key", "box.pem", "ca.pem"):
            assert os.path.exists(f"{folder}/nyeri/{name}"), os.listdir(f"{folder}/nyeri")
        assert os.stat(f"{folder}/nyeri/box.key").st_mode & 0o077 == 0
        status, _, err = run("zajel-relay", "--config", f"{folder}/nyeri/relay.conf", "check-config")
        assert status == 0, err
        twice = gateway.verb("branch", "add", "nyeri-03", "--out", f"{folder}/twice", check=False)
        assert twice.returncode == 1 and "nyeri-03" in twice.stderr, twice
        assert not os.path.exists(f"{folder}/twice/box.key")
        for bad in ("", "-nyeri", "ny eri", "ny/eri", "../nyeri", "nyeri\n", "x" * 65, "nyérí", "a;b", "a=b"):
            done = gateway.verb("branch", "add", bad, "--out", f"{folder}/bad", check=False)
            assert done.returncode in (1, 2) and done.stderr.strip(), (bad, done)
        assert not os.path.exists(f"{folder}/bad/box.key")
        listed = gateway.verb("branch", "list").stdout
        assert listed.count("nyeri-03") == 1 and "bad" not in listed, listed
        for args in (["branch", "show", "nowhere"], ["branch", "revoke", "nowhere"]):
            assert gateway.verb(*args, check=False).returncode == 1, args
        assert gateway.verb("branch", check=False).returncode == 2
        assert gateway.verb("branch", "fly", "x", check=False).returncode == 2


def may_send(box, token):
    answer = request(box.port, "POST", f"/{NUMBER}/messages",
                     {"messaging_product": "whatsapp", "to": "254711000001", "type": "text", "text": {"body": "x"}},
                     {"Authorization": f"Bearer {token}"})
    assert answer.status in (200, 401), answer.status
    if answer.status == 401:
        assert answer.json["error"]["code"] == 190
    return answer.status == 200


def test_tokens_are_made_listed_and_revoked_with_and_without_the_daemon():
    with Box() as box:
        before = box.relay.verb("token", "add", "before").stdout
        assert before.count("\n") == 1 and len(before.strip()) >= 32 and " " not in before.strip(), before
        twice = box.relay.verb("token", "add", "before", check=False)
        assert twice.returncode == 1 and "name" in twice.stderr and not twice.stdout, twice
        box.relay.verb("token", "add", "short-lived")
        box.relay.verb("token", "revoke", "short-lived")
        box.start()
        live = box.relay.verb("token", "add", "live").stdout.strip()
        assert may_send(box, before.strip()) and may_send(box, live)
        listed = box.relay.verb("token", "list").stdout
        assert "before" in listed and "live\n" in listed.replace(" ", "\n") and "short-lived" not in listed, listed
        assert live not in listed and before.strip() not in listed
        box.relay.verb("token", "revoke", "live")
        assert not may_send(box, live) and may_send(box, before.strip())
        assert box.relay.verb("token", "revoke", "live", check=False).returncode == 1
        box.relay.stop()
        box.relay.verb("token", "revoke", "before")
        box.start()
        assert not may_send(box, before.strip()) and not may_send(box, live) and may_send(box, box.token)
        for args in (["token"], ["token", "add"], ["token", "fly", "x"], ["token", "add", "a", "b"]):
            assert box.relay.verb(*args, check=False).returncode == 2, args
        bad = box.relay.verb("token", "add", "x" * 200, check=False)
        assert bad.returncode in (1, 2) and bad.stderr.strip(), bad


def test_live_verbs_say_when_there_is_no_daemon():
    with Box() as box:
        for args in (["status"], ["status", "--json"], ["queue", "list"], ["send", "--to", "254711000001", "--text", "x"]):
            done = box.relay.verb(*args, check=False)
            assert done.returncode == 1 and done.stderr.strip(), (args, done)
        box.start()
        second = Daemon("zajel-relay", box.relay.config, f"{box.folder}/second.log")
        second.start()
        wait_for(lambda: not second.alive, 10)
        assert second.process.returncode == 1, second.process.returncode
        assert box.ready() and box.relay.verb("status").stdout


def test_sighup_takes_a_renewed_token_and_says_what_it_cannot_take():
    with World() as w:
        # WhatsApp knows only the new token; the gateway holds what it cannot send, and nobody is told of a failure.
        with open(f"{w.folder}/token", "w", encoding="ascii") as f:
            f.write("renewed-token")
        w.sandbox.stop()
        w.sandbox.start()
        wait_for(w.up, 40)
        w.branch.text("254711000001", "with the new token")
        wait_for(lambda: w.gateway_status()["courier"]["held"] == 1, 20)
        for daemon in (w.gateway, w.branch.relay):
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda d=daemon: "event=reload" in d.log_text(), 10)
        wait_for(w.received)
        assert w.gateway_status()["courier"]["held"] == 0
        assert w.branch.linked() and len(w.received()) == 1


if __name__ == "__main__":
    zajel.main(globals())
