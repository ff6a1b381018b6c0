# SPDX-License-Identifier: Apache-2.0
"""A browser, driven over WebDriver (W3C): headless Chromium through Debian's chromedriver, with nothing but the standard
library in between. Each browser has a profile of its own, which is removed with it."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
import zajel  # noqa: E402

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # The name that the W3C gave to a reference to an element.
# No sandbox of its own under root, which it refuses; and nothing that asks for the world outside.
ARGUMENTS = ["--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,800"]


class Browser:
    def __enter__(self):
        driver = shutil.which("chromedriver")
        if not driver:
            raise zajel.Skip("no chromedriver on this machine")
        self.profile = tempfile.mkdtemp(prefix="zajel-browser-")
        self.port = zajel.free_port()
        self.driver = subprocess.Popen([driver, f"--port={self.port}"], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        zajel.wait_for(self._is_ready)
        arguments = ARGUMENTS + [f"--user-data-dir={self.profile}"] + (["--no-sandbox"] if os.geteuid() == 0 else [])
        self.session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments}}}})["sessionId"]
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", f"/session/{self.session}")
        finally:
            self.driver.terminate()
            self.driver.wait(timeout=20)
            shutil.rmtree(self.profile, ignore_errors=True)

    def _is_ready(self):
        try:
            return self._call("GET", "/status")["ready"]
        except OSError:
            return False

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        call = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"},
                                      method=method)
        try:
            with urllib.request.urlopen(call, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError(json.load(e)["value"]["message"]) from e

    def _in_session(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self._in_session("POST", "/url", {"url": url})

    def script(self, code, *args):
        return self._in_session("POST", "/execute/sync", {"script": code, "args": list(args)})

    def find(self, selector):
        return self._in_session("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self._in_session("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        """Puts the text in place of what stands there; a final newline is the Enter key."""
        element = self.find(selector)
        self._in_session("POST", f"/element/{element}/clear", {})
        self._in_session("POST", f"/element/{element}/value", {"text": text.replace("\n", "\ue007")})

    def text(self, selector):
        # In one step: a page that refreshes itself may be another one by the next.
        return self.script("const e = document.querySelector(arguments[0]); return e ? e.innerText : '';", selector)

    def complaints(self):
        """What the page's console holds of errors, a blocked script or style among them."""
        return [e["message"] for e in self._in_session("POST", "/se/log", {"type": "browser"}) if e["level"] == "SEVERE"]
