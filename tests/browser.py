"""A headless Chromium, driven through its own pipe: real keys and pointer, and pictures of what it shows."""

import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Home": (36, ""), "End": (35, "")} | {
    f"Arrow{name}": (37 + k, "") for k, name in enumerate(("Left", "Up", "Right", "Down"))
}
"""Codes of keys, and what they write."""


def find_browser():
    """Return the program; skip the test without one, or fail it where DEFOCAL_BROWSER asks for one."""
    asked = os.environ.get("DEFOCAL_BROWSER")
    found = next(filter(None, map(shutil.which, [asked] if asked else NAMES)), None)
    if found is None:
        reason = f"needs a browser, {asked or 'such as chromium'}: `apt-get install chromium`, or set DEFOCAL_BROWSER"
        if asked:
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Browser:
    """One page of a browser of its own.

    `requests` are the addresses that it asked for, `errors` what went wrong in the page.
    """

    def __init__(self, profile, timeout=120):
        self.timeout, self.requests, self.errors = timeout, [], []
        self._numbers, self._buffer, self._events = itertools.count(1), b"", []
        theirs, self._to = os.pipe()
        self._from, answers = os.pipe()

        def ends():
            # Far from 3 and 4 first: either may be one of these pipes.
            ours = os.dup2(theirs, 103), os.dup2(answers, 104)
            for number, end in zip((3, 4), ours, strict=True):
                os.dup2(end, number)
                os.set_inheritable(number, True)
                os.close(end)

        self.process = subprocess.Popen(
            [find_browser(), *FLAGS, f"--user-data-dir={profile}"],
            close_fds=False, preexec_fn=ends, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(answers)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        os.close(self._to)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._from)

    def _message(self, until):
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], max(0.0, until - time.monotonic()))[0]:
                raise AssertionError(f"the browser has not answered for {self.timeout} s")
            part = os.read(self._from, 1 << 20)
            if not part:
                raise AssertionError("the browser has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def call(self, method, **parameters):
        """Call a method of the devtools protocol; return its result."""
        number, until = next(self._numbers), time.monotonic() + self.timeout
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (found := self._message(until)).get("id") != number:
            self._note(found)
        assert "error" not in found, (method, found)
        return found["result"]

    def _note(self, event):
        method, facts = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(facts["exceptionDetails"]))
        elif method == "Log.entryAdded" and facts["entry"]["level"] == "error":
            self.errors.append(facts["entry"]["text"])

    def run(self, script):
        """Return the value of a JavaScript expression, awaited if it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script):
        """Wait until an expression is true."""
        until = time.monotonic() + self.timeout
        while not self.run(script):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.05)

    def open(self, file, anchor="", *, width=1280, height=860, dark=False):
        """Open a page in a window of that size; forget the requests and errors of those before."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=0, y=0)
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank' && document.readyState === 'complete'")
        self.requests, self.errors = [], []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=file.as_uri() + anchor)
        self.wait("location.protocol === 'file:' && document.readyState === 'complete'")

    def text(self, selector):
        """Return the text of an element."""
        return self.run(f"document.querySelector({json.dumps(selector)}).textContent")

    def press(self, *keys):
        """Press keys, by their names or as what they write."""
        for key in keys:
            code, text = KEYS.get(key, (ord(key.upper()[0]), key))
            facts = {"key": key, "windowsVirtualKeyCode": code, "code": key if key in KEYS else ""}
            down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            self.call("Input.dispatchKeyEvent", **down, **facts)
            self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def mouse(self, selector, x=0.5, y=0.5, *, click=False):
        """Move the pointer to a place in an element, in shares of its size; and click there."""
        script = f"(r => [r.x, r.y, r.width, r.height])(document.querySelector({json.dumps(selector)})"
        left, top, width, height = self.run(f"{script}.getBoundingClientRect())")
        place = {"x": left + x * width, "y": top + y * height}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def screenshot(self):
        """Return what the window shows, PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
