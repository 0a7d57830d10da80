"""A headless Chromium, spoken to over its DevTools protocol: pages at a width, in a scheme, with keys, and pictures of them.

A library would do it too, but brings a runtime of its own, larger than all that the tests need otherwise.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update"),
    *("--disable-background-networking", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"),
)
ANSWER_SECONDS = 60.0
"""For one command, on a busy machine."""

KEYS: Mapping[str, tuple[str, int, str]] = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    " ": ("Space", 32, " "),
}

Json = dict[str, Any]


class BrowserError(Exception):
    """The browser did not start, or refused a command; the text is its own."""


def chromium() -> str | None:
    """The program, if one is installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name)) is not None), None)


@define(eq=False)
class Tab:
    """One page that is open.

    Attributes:
        console: what the page said there: warnings, errors, breaches of its policy, exceptions that nobody caught.
    """

    _socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    console: list[str] = field(factory=list)
    _numbers: count[int] = field(factory=lambda: count(1))
    _open: dict[int, asyncio.Future[Json]] = field(factory=dict)
    _awaited: dict[str, asyncio.Future[Json]] = field(factory=dict)

    async def send(self, method: str, **parameters: object) -> Json:
        """A command of the protocol; its answer.

        Raises:
            BrowserError: it was refused.
        """
        number = next(self._numbers)
        answered = self._open[number] = asyncio.get_running_loop().create_future()
        command: Json = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": self.session} if self.session else {}))
        answer = await asyncio.wait_for(answered, ANSWER_SECONDS)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: Json = answer["result"]
        return result

    async def read(self) -> None:
        """Take in what the browser says, until it says no more."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._open.pop(told["id"]).set_result(told)
                continue
            if (listener := self._awaited.pop(told["method"], None)) is not None:
                listener.set_result(told["params"])
            self._note(told["method"], told["params"])

    def _note(self, event: str, told: Json) -> None:
        if event == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            self.console.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        if event == "Runtime.exceptionThrown":
            self.console.append(_thrown(told["exceptionDetails"]))
        if event == "Runtime.consoleAPICalled" and told["type"] in ("warning", "error", "assert"):
            self.console.append(" ".join(str(each.get("value", each.get("description"))) for each in told["args"]))

    def _next(self, event: str) -> asyncio.Future[Json]:
        self._awaited[event] = asyncio.get_running_loop().create_future()
        return self._awaited[event]

    async def look(
        self, width: int, height: int, *, dark: bool = False, script: bool = True, density: float = 1
    ) -> None:
        """What the next page is looked at with. Narrower than 700 it is a phone: its `viewport` counts."""
        phone = width < 700
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=density,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Emulation.setScriptExecutionDisabled", value=not script)

    async def open(self, url: str) -> None:
        """Go there, and wait until it is loaded.

        Raises:
            BrowserError: nobody answers there.
        """
        async with self.loading():
            if (error := (await self.send("Page.navigate", url=url)).get("errorText")) is not None:
                raise BrowserError(f"{url}: {error}")

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[None]:
        """For what leads to another page: ends when that is loaded."""
        loaded = self._next("Page.loadEventFired")
        yield
        await asyncio.wait_for(loaded, ANSWER_SECONDS)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for.

        Raises:
            BrowserError: it threw.
        """
        answer = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {_thrown(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        """Press and let go of a key, as at a keyboard."""
        code, number, text = KEYS[key]
        typed = {"text": text} if text else {}
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **common, **typed)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    async def write(self, text: str) -> None:
        """Type a text where the focus is."""
        await self.send("Input.insertText", text=text)

    async def pass_time(self, seconds: float) -> None:
        """Let the page's own clock run that far, at once."""
        over = self._next("Emulation.virtualTimeBudgetExpired")
        await self.send(
            "Emulation.setVirtualTimePolicy", policy="pauseIfNetworkFetchesPending", budget=int(seconds * 1000)
        )
        await asyncio.wait_for(over, ANSWER_SECONDS)

    async def picture(self, path: Path, height_max: int | None = None) -> None:
        """The whole page, or its upper part, as a PNG."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        height = min(size["height"], height_max or size["height"])
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        shot = await self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


def _thrown(details: Json) -> str:
    return str(details.get("exception", {}).get("description", details["text"]))


@asynccontextmanager
async def browser(program: str, folder: Path) -> AsyncIterator[Tab]:
    """A browser with nothing in it but one page, its profile in `folder`; it ends with the block.

    Raises:
        BrowserError: it did not start.
    """
    process = await asyncio.create_subprocess_exec(
        program,
        *QUIET,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    draining: asyncio.Task[None] | None = None
    try:
        url = await asyncio.wait_for(_address(process.stderr), ANSWER_SECONDS)
        draining = asyncio.create_task(_drain(process.stderr))
        async with aiohttp.ClientSession() as client, client.ws_connect(url, max_msg_size=0) as socket:
            tab = Tab(socket)
            reading = asyncio.create_task(tab.read())
            try:
                target = await tab.send("Target.createTarget", url="about:blank")
                attached = await tab.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
                tab.session = attached["sessionId"]
                for domain in ("Page", "Runtime", "Log"):
                    await tab.send(f"{domain}.enable")
                yield tab
            finally:
                reading.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if draining is not None:
            await draining


async def _address(output: asyncio.StreamReader) -> str:
    lines = []
    async for line in output:
        lines.append(line.decode(errors="replace"))
        if (found := re.search(r"DevTools listening on (ws://\S+)", lines[-1])) is not None:
            return found[1]
    raise BrowserError("the browser did not start:\n" + "".join(lines))


async def _drain(output: asyncio.StreamReader) -> None:
    while await output.read(1 << 16):
        pass
