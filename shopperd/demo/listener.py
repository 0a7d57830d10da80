"""Another program that wants to know what happens: the receiver of the daemon's hook. It believes only what is signed."""

from __future__ import annotations

import hashlib
import hmac

from aiohttp import web
from attrs import define, field

from shopperd.demo.setting import HOOK_SECRET


@define
class Listener:
    """Listens on loopback, on a port that the system chooses.

    Attributes:
        heard: the numbers of the events that it was told; told twice is told once.
        forged: how many deliveries had no good signature.
    """

    heard: set[int] = field(factory=set)
    forged: int = 0
    _runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Begin to listen; the URL for the daemon."""
        app = web.Application()
        app.router.add_post("/", self._hear)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _hear(self, request: web.Request) -> web.Response:
        body, headers = await request.read(), request.headers
        signed = headers.get("Shopperd-Timestamp", "").encode() + b"." + body
        mark = hmac.new(HOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"v1={mark}", headers.get("Shopperd-Signature", "")):
            self.forged += 1
            return web.Response(status=403)
        self.heard.add(int(headers["Shopperd-Delivery"]))
        return web.Response(status=204)
