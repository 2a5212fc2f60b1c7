# SPDX-License-Identifier: Apache-2.0
"""A page in a headless Chromium, by its DevTools protocol: what is written there, and what it complains of."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DEADLINE_S = 60.0
T = TypeVar("T")


def find_chromium() -> str | None:
    """The first Chromium on PATH."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """A page under test. ``complaints`` are console errors, exceptions, and requests for anything beyond the file."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        self._last += 1
        mine = self._last
        await self._socket.send_json({"id": mine, "method": method, "params": params})
        while True:
            message = await self._receive()
            if message.get("id") == mine:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    async def open(self, url: str, width: int, *, dark: bool = False, medium: str = "screen") -> None:
        """Load a page at a width in CSS pixels, and wait until it has loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", media=medium, features=features)
        self._events.clear()
        await self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            await self._receive()

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def picture(self) -> bytes:
        """A PNG of what is seen of the page."""
        return base64.b64decode((await self.call("Page.captureScreenshot"))["data"])

    async def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode((await self.call("Page.printToPDF", preferCSSPageSize=True))["data"])

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await asyncio.wait_for(self._socket.receive_json(), DEADLINE_S)
        method, params = message.get("method"), message.get("params", {})
        if method:
            self._events.append(message)
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("text")))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.complaints.append(f"asks for {params['request']['url']}")
        return message


def with_page(folder: Path, work: Callable[[Page], Awaitable[T]]) -> T:
    """Do ``work`` with a page of a browser of its own, whose files lie in ``folder``."""
    program = find_chromium()
    assert program, "no Chromium on PATH"
    profile = folder / "chromium"
    command = [program, "--headless=new", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    command += ["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
    # As root Chromium refuses to start with its sandbox; the page is our own.
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen([*command, "about:blank"], stdout=log, stderr=log, start_new_session=True)
    try:
        return asyncio.run(_talk(_port(profile / "DevToolsActivePort", process), work))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _talk(port: int, work: Callable[[Page], Awaitable[T]]) -> T:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            url = next(one["webSocketDebuggerUrl"] for one in await answer.json() if one["type"] == "page")
        async with session.ws_connect(url, max_msg_size=0) as socket:
            return await work(Page(socket))


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    for _ in range(int(DEADLINE_S / 0.1)):
        assert process.poll() is None, f"chromium ended with {process.returncode}"
        if path.exists() and (lines := path.read_text().split()):
            return int(lines[0])
        time.sleep(0.1)
    raise AssertionError("chromium did not open its debugging port")
