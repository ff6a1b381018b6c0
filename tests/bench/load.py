# SPDX-License-Identifier: Apache-2.0
"""The load of the benches: the sample's sends, posted by tests/bench/load.c."""
import gzip
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "daemon"))
import zajel  # noqa: E402
from zajel import NUMBER, World, wait_for  # noqa: E402

CORPUS = os.path.join(os.path.dirname(__file__), "..", "fixtures", "corpus.jsonl.gz")


def _bodies():
    """The sample's messages as programs post them, read marks left out."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as f:
        return "".join(line for line in f if '"object"' not in line[:12] and '"status"' not in line)


BODIES = _bodies()


def run(branch, clients, count):
    done = subprocess.run([f"{zajel.BUILD}/tests/bench/load", str(branch.port), branch.token, NUMBER, str(clients),
                           str(count)], input=BODIES, capture_output=True, text=True, check=True)
    return {"clients": clients, **json.loads(done.stdout)}


def describe(got):
    return (f"{got['clients']:3} clients {got['per_second']:6} /s  p50 {got['p50_us'] / 1000:.2f} ms  "
            f"p99 {got['p99_us'] / 1000:.2f} ms  p99.9 {got['p999_us'] / 1000:.2f} ms  refused {got['refused']}")


assert World and wait_for
