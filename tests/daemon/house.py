"""A real daemon against a real simulator over real sockets, in one process, at a quick pace."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, evolve
from prometheus_client import CollectorRegistry

from shopperd.clock import SystemClock
from shopperd.daemon import Daemon
from shopperd.settings import (
    AccountSettings,
    DestroySettings,
    JobSettings,
    JobsSettings,
    LimitSettings,
    OrphanSettings,
    SecretSource,
    SessionSettings,
    Settings,
    WebSettings,
)
from shopperd.simulator import SimulatorServer, WorldSettings
from shopperd.store import Spool, Store
from shopperd.telemetry import Metrics

ENVIRON = {"VAST": "a-good-vast-key", "DOCK": "a-good-dock-token", "DOCK_ID": "a-good-dock-id", "BAD": "bad-key"}
QUICK = LimitSettings(list=0.005, offers=0.005, show=0.005, create=0.005, destroy=0.005)
PATIENCE_SECONDS = 60.0
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test"


def vast(simulator: SimulatorServer, name: str = "vast", key: str = "VAST", **more: Any) -> AccountSettings:
    return AccountSettings(
        name, "vastai", base_url=simulator.vastai_url, secrets={"api_key": SecretSource(env=key)}, limits=QUICK, **more
    )


def dock(simulator: SimulatorServer, api: str = "v2", **more: Any) -> AccountSettings:
    secrets = {"api_token": SecretSource(env="DOCK"), "auth_id": SecretSource(env="DOCK_ID")}
    return AccountSettings(
        f"dock-{api}",
        "tensordock",
        api=api,
        base_url=simulator.tensordock_url,
        secrets=secrets,
        limits=QUICK,
        **more,
    )


def quick_settings(*accounts: AccountSettings, **more: Any) -> Settings:
    values: dict[str, Any] = {
        "accounts": {account.name: account for account in accounts},
        "jobs": JobsSettings(offers=JobSettings(0.5), status=JobSettings(0.1), sweep=JobSettings(0.2)),
        "orphans": OrphanSettings(grace=0.3, observe_sweeps=0),
        "destroys": DestroySettings(retry_min=0.2, retry_max=1.0),
        "sessions": SessionSettings(create_deadline=5.0),
        "web": WebSettings(listen="127.0.0.1:0"),
        "drain_seconds": 5.0,
    }
    return Settings(**(values | more))


@define
class Api:
    """Speaks to the daemon as a tool would."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, method: str, path: str, body: Any = None, expect: int | None = None) -> Any:
        async with self.session.request(method, f"{self.url}{path}", json=body) as reply:
            text = await reply.text()
            if expect is not None:
                assert reply.status == expect, f"{method} {path}: {reply.status} {text}"
            return await reply.json(content_type=None)

    async def get(self, path: str) -> Any:
        return await self.ask("GET", f"/api/v1{path}", expect=200)

    async def create(self, account: str, wait: float = 0, **spec: Any) -> dict[str, Any]:
        body = {"account": account, "ssh_key": SSH_KEY, "max_price_per_hour": 50} | spec
        made: dict[str, Any] = await self.ask("POST", f"/api/v1/sessions?wait={wait:g}", body, expect=201)
        return made

    async def end(self, session_id: str) -> None:
        await self.ask("POST", f"/api/v1/sessions/{session_id}/end", {"reason": "test"}, expect=202)

    async def state(self, session_id: str) -> str:
        return str((await self.get(f"/sessions/{session_id}"))["state"])

    async def metrics(self) -> str:
        async with self.session.get(f"{self.url}/metrics") as reply:
            return await reply.text()


async def until(true: Callable[[], Awaitable[Any]], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask again and again until the answer is true; a test fails with `what` if it never is."""
    try:
        async with asyncio.timeout(seconds):
            while not (answer := await true()):
                await asyncio.sleep(0.02)
            return answer
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


@asynccontextmanager
async def simulated(**more: Any) -> AsyncIterator[SimulatorServer]:
    values: dict[str, Any] = {
        "seed": 5,
        "boot_seconds": 0.3,
        "rate_scale": 0.0,
        "offers": 60,
        "dock_linger_seconds": 0.0,
    }
    async with SimulatorServer(settings=WorldSettings(**(values | more))) as simulator:
        yield simulator


@asynccontextmanager
async def running(
    settings: Settings, folder: Path, environ: dict[str, str] | None = None, *, spooling: bool = True
) -> AsyncIterator[tuple[Daemon, Api]]:
    """A daemon on a store in `folder`, with a spool beside it if `spooling`, stopped in good order at the end."""
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    store = await asyncio.to_thread(Store.open, f"sqlite:///{folder / 'shopperd.db'}", clock=clock, metrics=metrics)
    spool = Spool.open(folder / "shopperd.db.spool") if spooling else None
    daemon = Daemon(settings, store, metrics, clock, environ=environ or ENVIRON, spool=spool)
    await daemon.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield daemon, Api(session, daemon.url)
    finally:
        await daemon.stop()


async def ready(api: Api) -> None:
    """Wait until every account has been seen whole, and has a market."""

    async def seen() -> bool:
        async with api.session.get(f"{api.url}/readyz") as reply:
            if reply.status != 200:
                return False
        return bool((await api.get("/offers?limit=1"))["items"])

    await until(seen, "the daemon becomes ready")


def alive(simulator: SimulatorServer) -> list[dict[str, Any]]:
    """The machines that truly exist."""
    return [machine for machine in simulator.world.state()["instances"] if machine["destroyed_at"] is None]


def destroys(simulator: SimulatorServer) -> list[str]:
    """Every destroy request that reached a marketplace, as `METHOD path`."""
    return [
        f"{row['method']} {row['path']}"
        for row in simulator.world.requests
        if row["method"] == "DELETE" or "delete/single" in row["path"]
    ]


def with_orphans(settings: Settings, **more: Any) -> Settings:
    return evolve(settings, orphans=evolve(settings.orphans, **more))
