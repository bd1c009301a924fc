"""A headless Chromium, driven through ChromeDriver's own HTTP protocol: no further package is needed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ports import free_ports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Refused(AssertionError):
    """The browser did not do what it was asked to, and says why."""


class Browser:
    """One window; `with Browser() as page: page.open(url)`."""

    def __init__(self, width: int = 1600, height: int = 1000) -> None:
        self._size = (width, height)

    def __enter__(self) -> Browser:
        assert CHROMEDRIVER is not None
        assert CHROMIUM is not None
        port = free_ports()
        self._folder = tempfile.TemporaryDirectory(prefix="exp-browser-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen([CHROMEDRIVER, f"--port={port}", "--log-level=SEVERE"])
        self._base = f"http://127.0.0.1:{port}"
        self._wait_for_driver()
        arguments = [*_FLAGS, f"--user-data-dir={self._folder.name}", f"--window-size={self._size[0]},{self._size[1]}"]
        options = {"binary": CHROMIUM, "args": arguments}
        answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self._base += f"/session/{answer['sessionId']}"
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._send("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._folder.cleanup()

    def open(self, url: str) -> None:
        """Go there and wait for the page to load."""
        self._send("POST", "/url", {"url": url})

    def add_cookie(self, name: str, value: str) -> None:
        """A cookie of the page that is open."""
        self._send("POST", "/cookie", {"cookie": {"name": name, "value": value, "path": "/"}})

    def run(self, script: str, *arguments: Any) -> Any:
        """JavaScript in the page."""
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str, *arguments: Any) -> Any:
        """JavaScript that calls its last argument with the result."""
        return self._send("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int) -> None:
        """The window as a device of this size shows it, narrower than a desktop's window can be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self._devtools("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str, media: str = "") -> None:
        """A light or dark page, on the screen or as it is printed (`media` print)."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._devtools("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def press(self, *keys: str) -> None:
        """Press and release keys, by their names in DevTools."""
        for key in keys:
            text = {"text": "\r"} if key == "Enter" else {}
            code = {"Enter": 13, "Tab": 9}[key]
            common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self._devtools("Input.dispatchKeyEvent", {"type": "keyDown", **common, **text})
            self._devtools("Input.dispatchKeyEvent", {"type": "keyUp", **common})

    def text(self) -> str:
        """The text that a person can read on the page."""
        return str(self.run("return document.body.innerText"))

    def wait_for(self, *words: str, seconds: float = 40) -> str:
        """Until all the words can be read; returns the page's text."""
        until = time.monotonic() + seconds
        while True:
            text = self.text()
            missing = [word for word in words if word not in text]
            if not missing:
                return text
            if time.monotonic() > until:
                raise AssertionError(f"not on the page after {seconds} s: {missing}; the page says:\n{text[:2000]}")
            time.sleep(0.5)

    def click(self, xpath: str, seconds: float = 40) -> None:
        """Click the first element that the XPath finds, as soon as a person could."""
        self._as_soon_as_usable(xpath, lambda element: self._send("POST", f"{element}/click", {}), seconds)

    def type(self, xpath: str, text: str, seconds: float = 40) -> None:
        """Replace what a field holds, as soon as a person could."""

        def replace(field: str) -> None:
            self._send("POST", f"{field}/clear", {})
            self._send("POST", f"{field}/value", {"text": text})

        self._as_soon_as_usable(xpath, replace, seconds)

    def picture(self, file: Path, seconds: float = 5) -> Path:
        """A PNG of the window once it has come to rest, or after so many seconds."""
        until = time.monotonic() + seconds
        before, now = "", str(self._send("GET", "/screenshot"))
        while now != before and time.monotonic() < until:
            time.sleep(0.3)
            before, now = now, str(self._send("GET", "/screenshot"))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(now))
        return file

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._send("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _as_soon_as_usable(self, xpath: str, act: Callable[[str], object], seconds: float) -> None:
        """Act on the first element of the XPath that is visible and enabled; a page that changes is looked at again."""
        until = time.monotonic() + seconds
        while True:
            try:
                why = "there is none"
                for found in self._send("POST", "/elements", {"using": "xpath", "value": xpath}):
                    element = f"/element/{found[_ELEMENT]}"
                    if self._send("GET", f"{element}/displayed") and self._send("GET", f"{element}/enabled"):
                        act(element)
                        return
                    why = "it is not visible or not enabled"
            except Refused as refused:  # the element has just gone, or another one lies above it
                why = str(refused)
            if time.monotonic() > until:
                raise AssertionError(
                    f"{xpath} not usable after {seconds} s: {why}; the page says:\n{self.text()[:2000]}"
                )
            time.sleep(0.2)

    def _wait_for_driver(self) -> None:
        for _ in range(100):
            try:
                if self._send("GET", "/status")["ready"]:
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("chromedriver did not start")

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error)["value"]["message"].splitlines()[0]) from None
