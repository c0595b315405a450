"""A page in Chromium: opened once and read, or used with mouse and keyboard over the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
)
MODIFIERS = {"Control": 2, "Shift": 8}
KEYS = {"Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}


def browser() -> str:
    """The path of Chromium; without it the test is skipped."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no Chromium is installed (none of {', '.join(BROWSERS)} is on the PATH)")


def opened(page: Path, profile: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The page in a browser after its script has run (standard output), and the console (standard error)."""
    flags = [*FLAGS, f"--user-data-dir={profile}"]
    flags += ["--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", *more]
    return subprocess.run(
        [browser(), *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=60, encoding="utf-8"
    )


class Tab:
    """A page that a test uses like a person: it clicks, types and looks."""

    def __init__(self, orders: BinaryIO, replies: BinaryIO) -> None:
        self._orders, self._replies = orders, replies
        self._session: str | None = None
        self._number = 0
        self._rest = b""
        self.complaints: list[str] = []
        """Errors of scripts and of the content security policy."""

    def open(self, page: Path, width: int, height: int) -> None:
        """Open a page in a new tab and wait until it is loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.load(page)

    def load(self, page: Path) -> None:
        """Open another page, or the same one anew, and wait until it is loaded."""
        self.complaints = []
        self.send("Page.navigate", url=page.as_uri())
        self.wait_for("Page.loadEventFired")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            order["sessionId"] = self._session
        self._orders.write(json.dumps(order).encode() + b"\0")
        self._orders.flush()
        while (message := self._message()).get("id") != self._number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def wait_for(self, event: str) -> None:
        """Read messages up to an event."""
        while self._message().get("method") != event:
            pass

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._replies.fileno(), 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(message["params"]["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(str(message["params"]["entry"]["text"]))
        return message

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (expression, answer["exceptionDetails"])
        return answer["result"].get("value")

    def middle(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
        """Scroll to an element; returns a point of it, given by its shares of width and height."""
        chosen = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{chosen}.scrollIntoView({{block: 'center', inline: 'center', behavior: 'instant'}})")
        self.settle()
        left, top, width, height = self.value(
            f"(() => {{ const r = {chosen}.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"
        )
        return left + at[0] * width, top + at[1] * height

    def hover(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Move the mouse to an element."""
        x, y = self.middle(selector, at)
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5), modifier: str | None = None) -> None:
        """Click an element with the left button, while a modifier key may be pressed."""
        x, y = self.middle(selector, at)
        keys = MODIFIERS[modifier] if modifier else 0
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            button: dict[str, Any] = {"button": "left", "clickCount": 1, "modifiers": keys}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
        self.settle()

    def press(self, key: str) -> None:
        """Press a key on the element that has the focus."""
        text = {"Enter": "\r", " ": " "}.get(key)
        pressed: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        if text is not None:
            self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        else:
            self.send("Input.dispatchKeyEvent", type="rawKeyDown", **pressed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **pressed)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has been drawn again."""
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def picture(self, path: Path) -> None:
        """Save what is visible as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def tab(page: Path, profile: Path, width: int = 1300, height: int = 900) -> Iterator[Tab]:
    """A page in a new browser, which is closed at the end."""
    (read_orders, write_orders), (read_replies, write_replies) = os.pipe(), os.pipe()

    def connect() -> None:
        """Chromium reads its orders from descriptor 3 and answers on 4."""
        high = [os.dup(descriptor) for descriptor in (read_orders, write_replies)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    command = [browser(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=connect, pass_fds=(3, 4)
    )
    os.close(read_orders)
    os.close(write_replies)
    with process, os.fdopen(write_orders, "wb") as orders, os.fdopen(read_replies, "rb", buffering=0) as replies:
        try:
            shown = Tab(orders, replies)
            shown.open(page, width, height)
            yield shown
        finally:
            process.kill()
