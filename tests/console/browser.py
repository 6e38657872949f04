"""Headless Chromium, driven over the WebDriver protocol (W3C) with plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.peers import free_port, require

START_S = 30.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element's reference (WebDriver section 12.1)."""

OPTIONS = (
    "--headless",
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


class Browser:
    """One window."""

    def __init__(self, http: aiohttp.ClientSession, session: str) -> None:
        self._http = http
        self._session = session

    async def open(self, url: str) -> None:
        await self._post("/url", {"url": url})

    async def resize(self, width: int, height: int) -> None:
        """The viewport, not the window: headless windows are never narrower than 500 px."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.devtools("Emulation.setDeviceMetricsOverride", metrics)

    async def devtools(self, command: str, params: dict[str, Any]) -> Any:
        return await self._post("/goog/cdp/execute", {"cmd": command, "params": params})

    async def script(self, body: str, *args: Any) -> Any:
        return await self._post("/execute/sync", {"script": body, "args": list(args)})

    async def until(self, condition: str, timeout_s: float = 15.0) -> Any:
        """Waits until the JavaScript expression is true and returns it."""
        try:
            async with asyncio.timeout(timeout_s):
                # The state of another program: there is no event to wait for.
                while not (value := await self.script(f"return {condition}")):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                return value
        except TimeoutError:
            page = await self.script("return document.body.innerText")
            raise AssertionError(f"never true: {condition}\n{page}") from None

    async def click(self, selector: str) -> None:
        await self._post(f"/element/{await self._find(selector)}/click", {})

    async def type(self, selector: str, text: str) -> None:
        await self._post(f"/element/{await self._find(selector)}/value", {"text": text})

    async def screenshot(self, path: Path) -> None:
        async with self._http.get(f"{self._session}/screenshot") as answer:
            picture = base64.b64decode((await answer.json())["value"])
        await asyncio.to_thread(path.write_bytes, picture)

    async def complaints(self) -> list[str]:
        """What the console of the browser said since it was last asked: errors of our pages."""
        logged = await self._post("/se/log", {"type": "browser"})
        return [entry["message"] for entry in logged]

    async def _find(self, selector: str) -> str:
        found = await self._post("/element", {"using": "css selector", "value": selector})
        element: str = found[ELEMENT]
        return element

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        async with self._http.post(f"{self._session}{path}", json=body) as answer:
            value = (await answer.json())["value"]
            assert answer.status == 200, value
            return value


@asynccontextmanager
async def browsing(profile: Path, language: str = "en") -> AsyncIterator[Browser]:
    """A fresh browser that asks for pages in `language`."""
    driver, chromium = require("chromedriver"), require("chromium")
    port = free_port()
    process = await asyncio.to_thread(
        subprocess.Popen,
        [driver, f"--port={port}", "--allowed-ips=127.0.0.1", "--silent"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    options = {
        "binary": chromium,
        "args": [*OPTIONS, f"--user-data-dir={profile}", f"--lang={language}"],
        "prefs": {"intl.accept_languages": language},
    }
    wanted = {
        "capabilities": {
            "alwaysMatch": {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
                "acceptInsecureCerts": True,
            }
        }
    }
    try:
        async with aiohttp.ClientSession() as http:
            await _started(http, url)
            async with http.post(f"{url}/session", json=wanted) as answer:
                made = (await answer.json())["value"]
                assert answer.status == 200, made
            session = f"{url}/session/{made['sessionId']}"
            try:
                yield Browser(http, session)
            finally:
                async with http.delete(session):
                    pass
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 10)


async def _started(http: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                async with http.get(f"{url}/status"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
