# SPDX-FileCopyrightText: The inferops.ascend authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium, driven by the DevTools protocol over a pipe: no driver, no socket, no library.

https://chromedevtools.github.io/devtools-protocol/; with --remote-debugging-pipe the browser reads
commands from descriptor 3 and writes answers and events to 4, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# `tests/tools/dev browser` looks for the same.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 60.0
# Names of keys that produce no text, with their codes.
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36}
KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Chromium:
    """One page of one browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = max(0.0, until - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                raise TimeoutError("Chromium does not answer")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise ConnectionError("Chromium has ended")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Give a command and return its result; events that come first are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + TIMEOUT
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is loaded."""
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        until = time.monotonic() + TIMEOUT
        while not self.happened("Page.loadEventFired"):
            self.events.append(self._receive(until))

    def happened(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of the events of a name since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def evaluate(self, expression: str, wait: bool = False) -> Any:
        """Return the value of an expression in the page; `wait` is for the promise of one."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=wait
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key: str, shift: bool = False) -> None:
        """Press and let go of a key, by its name or the character that it types."""
        params: dict[str, Any] = {"key": key, "modifiers": 8 if shift else 0}
        if key in KEYS:
            params |= {"code": key, "windowsVirtualKeyCode": KEYS[key]}
            if key == "Enter":
                params["text"] = "\r"
        else:
            params["text"] = key
        self.send("Input.dispatchKeyEvent", type="keyDown", **params)
        self.send("Input.dispatchKeyEvent", type="keyUp", **params)

    def type(self, text: str) -> None:
        for char in text:
            self.press(char)

    def click(self, selector: str) -> None:
        """Click with the mouse at the middle of the first element of a selector."""
        box = f"document.querySelector({json.dumps(selector)})"
        x, y = self.evaluate(
            f"(() => {{ const e = {box}; e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def scheme(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def size(self, width: int, height: int = 900) -> None:
        """Set the page's size in CSS pixels; under 600 it is a phone's."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def scripts(self, enabled: bool) -> None:
        """Let pages that are opened from now on run scripts, or not; `evaluate` works without."""
        self.send("Emulation.setScriptExecutionDisabled", value=not enabled)

    def screenshot(self, path: Path, full: bool = False) -> None:
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextmanager
def chromium(directory: Path) -> Iterator[Chromium]:
    """Start a browser that keeps its profile in a directory, and end it afterwards."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise FileNotFoundError(
            "there is no Chromium to try the page in: tests/tools/dev browser installs it"
        )
    flags = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={directory}"]
    flags += ["--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # it refuses to sandbox for root
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()

    # Chromium reads from 3 and writes to 4, whatever numbers the pipes have here.
    start = "import os, sys; a, b, *command = sys.argv[1:]; os.dup2(int(a), 3); os.dup2(int(b), 4)"
    start += "; os.execv(command[0], command)"
    ends = (to_browser, from_browser)
    log = directory.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", start, *map(str, ends), program, *flags],
            pass_fds=ends,
            stdout=output,
            stderr=output,
        )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Chromium(commands, answers)
    except (BrokenPipeError, ConnectionError) as error:
        raise ConnectionError(f"Chromium has ended, and said: {log.read_text()[-2000:]}") from error
    finally:
        os.close(commands)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(answers)
