#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The doctors: each trouble is found under its name, with what to do next; and nothing is found where all is well."""
import json
import os
import socket
import threading
import time

import zajel
from zajel import ACCESS_TOKEN, QUICK, World, free_port, set_keys, wait_for

CUSTOMER = "254711000001"
RELAY_WELL = ["configuration", "state", "space", "store", "certificate", "branch", "name", "tcp", "tls", "daemon",
              "accepting", "damaged rows", "trusted time", "hello", "webhook"]
GATEWAY_WELL = ["configuration", "secrets", "numbers", "state", "space", "store", "ca certificate", "certificate",
                "name", "tcp", "number ..22", "daemon", "accepting", "hello", "held", "unknown", "unrouted"]


def ask(daemon):
    """(exit code, findings by check); the lines say the same as the JSON."""
    as_json, as_lines = daemon.verb("doctor", "--json", check=False), daemon.verb("doctor", check=False)
    findings = json.loads(as_json.stdout)
    assert as_json.returncode == as_lines.returncode == (1 if any(f["grade"] == "fail" for f in findings) else 0)
    lines = [line for line in as_lines.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in lines] == [f["grade"] for f in findings], as_lines.stdout
    assert all(line[6:].startswith(f["check"]) for line, f in zip(lines, findings)), as_lines.stdout
    for f in findings:
        assert set(f) == {"check", "grade", "found"} | ({"next"} if f["grade"] != "ok" else set()), f
        if "next" in f:
            assert f"-> {f['next']}" in as_lines.stdout
    return as_json.returncode, {f["check"]: f for f in findings}


def grades(findings, grade):
    return sorted(name for name, f in findings.items() if f["grade"] == grade)


def test_nothing_is_found_where_all_is_well():
    with World() as w:
        for daemon, well in ((w.branch.relay, RELAY_WELL), (w.gateway, GATEWAY_WELL)):
            code, found = ask(daemon)
            assert code == 0, found
            assert [name for name in found if name != "clock"] == well, list(found)
            # No clock of ours: whether NTP holds it is this machine's matter.
            assert not grades(found, "fail") and grades(found, "warn") in ([], ["clock"]), found
        # The doctor's own request leaves the link alone, and no secret is said.
        assert w.branch.status()["link"]["state"] == "up" and not w.gateway_status()["branches"][0]["clone_alarm"]
        for daemon in (w.branch.relay, w.gateway):
            said = daemon.verb("doctor").stdout
            assert not [s for s in (ACCESS_TOKEN, zajel.HOOK_SECRET, zajel.HOOK_VERIFY, w.branch.token) if s in said]


def test_both_work_without_their_daemons():
    with World() as w:
        w.branch.relay.stop()
        code, found = ask(w.branch.relay)
        assert code == 1 and grades(found, "fail") == ["daemon"], found
        assert "systemctl start" in found["daemon"]["next"]
        assert "hello" not in found
        w.gateway.stop()
        code, found = ask(w.gateway)
        assert code == 1 and grades(found, "fail") == ["daemon"], found
        set_keys(w.branch.relay.config, {"uplink": {"url": f"wss://127.0.0.1:{w.sync_port}/sync"}})
        code, found = ask(w.branch.relay)
        assert code == 1 and grades(found, "fail") == ["daemon", "tcp"], found


def test_a_configuration_that_cannot_be_read_is_a_finding_too():
    with World(start=False) as w:
        for daemon in (w.branch.relay, w.gateway):
            with open(daemon.config, "a", encoding="ascii") as f:
                f.write("\n[nonsense]\nkey = value\n")
            code, found = ask(daemon)
            assert code == 1 and list(found) == ["configuration"], found
            assert os.path.basename(daemon.config) in found["configuration"]["found"], found


def test_the_way_to_the_gateway_is_followed_step_by_step():
    with World(start=False) as w:
        w.sandbox.start()
        w.gateway.start()
        wait_for(w.gateway_ready)
        config, relay = w.branch.relay.config, w.branch.relay

        def steps(url=None, **files):
            set_keys(config, {"uplink": {**({"url": url} if url else {}), **files}})
            _, found = ask(relay)
            return {name: found[name]["grade"] if name in found else None for name in ("name", "tcp", "tls")}, found

        sync = f"wss://127.0.0.1:{w.sync_port}/sync"
        assert steps(sync)[0] == {"name": "ok", "tcp": "ok", "tls": "ok"}
        assert steps("wss://gateway.invalid:8443/sync")[0] == {"name": "fail", "tcp": None, "tls": None}
        got, found = steps(f"wss://127.0.0.1:{free_port()}/sync")
        assert got == {"name": "ok", "tcp": "fail", "tls": None} and "nothing listens" in found["tcp"]["next"], found
        # Another CA: the box's own certificate is none.
        got, found = steps(sync, ca_file="box.pem")
        assert got == {"name": "ok", "tcp": "ok", "tls": "fail"} and "ca_file" in found["tls"]["next"], found
        steps(sync, ca_file="ca.pem")
        # A key of another pair.
        os.rename(f"{w.branch.folder}/box.key", f"{w.branch.folder}/box.key.away")
        w.gateway.verb("branch", "add", "kisumu-02", "--out", f"{w.folder}/other")
        with open(f"{w.folder}/other/box.key", "rb") as there, open(f"{w.branch.folder}/box.key", "wb") as here:
            here.write(there.read())
        _, found = ask(relay)
        assert found["certificate"]["grade"] == "fail" and found["tls"]["grade"] == "fail", found
        # The whole pair of another branch.
        with open(f"{w.folder}/other/box.pem", "rb") as there, open(f"{w.branch.folder}/box.pem", "wb") as here:
            here.write(there.read())
        _, found = ask(relay)
        assert found["certificate"]["grade"] == "ok" and found["branch"]["grade"] == "fail", found


def test_a_server_that_is_silent_is_given_up_in_time():
    """It accepts and says nothing, as behind a captive portal."""
    if QUICK:
        return
    began = time.monotonic()
    with World(start=False) as w, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        set_keys(w.branch.relay.config, {"uplink": {"url": f"wss://127.0.0.1:{silent.getsockname()[1]}/sync"},
                                         "api": {"webhook_url": "https://127.0.0.1:1/hook"}})
        done = w.branch.relay.verb("doctor", "--json", check=False)
        found = {f["check"]: f for f in json.loads(done.stdout)}
        assert found["tcp"]["grade"] == "ok" and found["tls"]["grade"] == "fail", found
        assert time.monotonic() - began < 40


def test_the_branchs_program_is_asked():
    with World() as w:
        # It is not there, or not ours, or answers something else.
        set_keys(w.branch.relay.config, {"api": {"webhook_url": f"http://127.0.0.1:{free_port()}/hook"}})
        _, found = ask(w.branch.relay)
        assert found["webhook"]["grade"] == "fail" and "7 days" in found["webhook"]["next"], found["webhook"]
        set_keys(w.branch.relay.config, {"api": {"webhook_url": f"http://127.0.0.1:{w.board_port}/hook"}})
        _, found = ask(w.branch.relay)
        assert found["webhook"]["grade"] == "warn" and "404" in found["webhook"]["found"], found["webhook"]


def test_whatsapps_answer_to_each_number_is_told():
    with World() as w:
        with open(f"{w.folder}/token", "w", encoding="ascii") as f:
            f.write("a token that is over")
        code, found = ask(w.gateway)
        assert code == 1 and grades(found, "fail") == ["number ..22"], found
        assert "190" in found["number ..22"]["found"] and "access_token_file" in found["number ..22"]["next"]
        with open(f"{w.folder}/token", "w", encoding="ascii") as f:
            f.write(ACCESS_TOKEN)
        with open(w.gateway.config, "a", encoding="ascii") as f:
            f.write("\n[number 999000111]\nprovider = meta\nwaba_id = 1\naccess_token_file = token\n")
        code, found = ask(w.gateway)
        assert code == 1 and grades(found, "fail") == ["number ..11"] and "33" in found["number ..11"]["found"], found
        os.unlink(f"{w.folder}/token")
        _, found = ask(w.gateway)
        assert found["secrets"]["grade"] == "fail" and "token" in found["secrets"]["found"], found["secrets"]
        w.sandbox.kill()
        _, found = ask(w.gateway)
        assert found["tcp"]["grade"] == "fail", found


def test_a_database_that_is_none_and_what_was_put_aside_are_seen():
    with World() as w:
        for daemon, name, state in ((w.branch.relay, "relay.db", f"{w.branch.folder}/state"),
                                    (w.gateway, "ledger.db", f"{w.folder}/gateway")):
            daemon.stop()
            state = state if os.path.isdir(state) else os.path.dirname(daemon.config)
            with open(f"{state}/{name}", "r+b") as f:
                f.write(b"\0" * 4096)
            with open(f"{state}/{name}.damaged-1", "wb"):
                pass
            os.chmod(state, 0o755)
            code, found = ask(daemon)
            assert code == 1 and found["store"]["grade"] == "fail", found
            assert found["damaged files"]["grade"] == "warn" and "1 " in found["damaged files"]["found"], found
            assert found["state"]["grade"] == "warn" and "chmod" in found["state"]["next"], found


def test_the_store_is_the_daemons_alone():
    """The doctor beside a busy relay: nothing is lost, nothing is locked."""
    with World() as w:
        ids, stop = [], threading.Event()

        def post():
            while not stop.is_set():
                ids.append(w.branch.text(CUSTOMER, f"number {len(ids)}"))
                time.sleep(0.01)

        poster = threading.Thread(target=post)
        poster.start()
        _, found = ask(w.branch.relay)
        stop.set()
        poster.join()
        assert found["accepting"]["grade"] == "ok" and len(ids) > 5
        assert w.branch.status()["totals"]["accepted"] == len(ids)


if __name__ == "__main__":
    zajel.main(globals())
