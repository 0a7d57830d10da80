"""A daemon with a hook, and a receiver over real sockets that fails in every way there is."""

import asyncio
import hashlib
import hmac
import json
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, evolve, field

from shopperd.daemon import Daemon
from shopperd.settings import HookSettings, SecretSource, Settings
from tests.daemon.house import ENVIRON, Api, quick_settings, ready, running, simulated, until, vast

SECRET = "a-secret-canary-of-a-hook"
WITH_HOOK = ENVIRON | {"HOOK": SECRET}

HANGS = 0
"""Stands for an answer that never comes."""


@define
class Receiver:
    """Takes deliveries, unless it is told what to answer. What is not signed right fails the test.

    Attributes:
        answers: the statuses of the next answers.
        taken: the events that it answered with a 2xx, in their order, repeats too.
    """

    answers: deque[int] = field(factory=deque)
    taken: list[dict[str, Any]] = field(factory=list)
    asked: int = 0
    faults: list[str] = field(factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in/url-canary"

    def numbers(self, session: str) -> list[int]:
        """The events of a session in the order in which they were taken first."""
        return list(dict.fromkeys(event["id"] for event in self.taken if event["session_id"] == session))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen, on the same port as before if there was one."""
        app = web.Application()
        app.router.add_post("/in/url-canary", self._take)
        app.router.add_get("/elsewhere", self._followed)
        app.router.add_post("/elsewhere", self._followed)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        body, headers = await request.read(), request.headers
        expected = hmac.new(SECRET.encode(), headers["Shopperd-Timestamp"].encode() + b"." + body, hashlib.sha256)
        told = json.loads(body)
        if headers["Shopperd-Signature"] != f"v1={expected.hexdigest()}":
            self.faults.append("the signature is wrong")
        if (headers["Shopperd-Delivery"], headers["Shopperd-Event"]) != (
            str(told["event"]["id"]),
            told["event"]["kind"],
        ):
            self.faults.append("the headers tell of another event than the body")
        status = self.answers.popleft() if self.answers else 200
        if status == HANGS:
            await asyncio.sleep(60.0)
        if 200 <= status < 300:
            self.taken.append(told["event"])
        if status == 302:
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        return web.Response(status=status, text="x" * 100_000)

    async def _followed(self, _: web.Request) -> web.Response:
        self.faults.append("a redirect was followed")
        return web.Response()


def with_hook(receiver: Receiver, settings: Settings, **more: Any) -> Settings:
    hook = HookSettings("ci", receiver.url, SecretSource(env="HOOK"), **({"timeout": 0.5} | more))
    return evolve(settings, hooks={"ci": hook})


async def register(api: Api) -> str:
    made = await api.ask("POST", "/api/v1/sessions/register", {"account": "vast"}, expect=201)
    return str(made["id"])


async def trail_of(api: Api, session: str) -> list[int]:
    items = (await api.get(f"/events?limit=1000&session={session}"))["items"]
    return [event["id"] for event in items if event["kind"].startswith(("session.", "orphan."))]


async def arrived(receiver: Receiver, api: Api, sessions: list[str]) -> None:
    """Wait until the receiver has every event of these sessions, and see that each came in its order."""

    async def all_there() -> bool:
        return all([receiver.numbers(each) == await trail_of(api, each) for each in sessions])

    await until(all_there, "the receiver has everything in its order")
    assert all([await trail_of(api, each) for each in sessions])
    assert receiver.faults == []


def counted(daemon: Daemon, outcome: str) -> float:
    return float(daemon.context.metrics.hook_deliveries_total.labels("ci", outcome)._value.get())


async def test_a_receiver_that_fails_in_every_way_gets_everything_in_order_and_delays_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver(deque([500, HANGS, 302, 404]))
    async with simulated() as simulator, receiver.serving():
        settings = with_hook(receiver, quick_settings(vast(simulator)))
        async with running(settings, tmp_path, WITH_HOOK) as (daemon, api):
            await ready(api)
            sessions = [await register(api) for _ in range(3)]
            made = await api.create("vast", wait=10)
            await api.end(made["id"])
            for each in sessions:
                await api.end(each)

            async def over() -> bool:
                return await api.state(made["id"]) == "ended"

            await until(over, "the session ends, whatever the receiver does")
            await arrived(receiver, api, [*sessions, made["id"]])
            for outcome in ("server", "timeout"):
                assert counted(daemon, outcome) == 1
            assert counted(daemon, "refused") == 2
            text = await api.metrics()
            assert re.search(r'(?m)^shopperd_hook_pending\{hook="ci"\} 0\.0$', text)
            assert 'shopperd_job_runs_total{account="",job="hook-ci",outcome="ok"}' in text.replace(", ", ",")
    captured = capsys.readouterr()
    assert "canary" not in captured.out + captured.err


async def test_nothing_is_lost_while_the_receiver_is_down_over_a_restart(tmp_path: Path) -> None:
    receiver = Receiver()
    async with simulated() as simulator:
        async with receiver.serving():
            settings = with_hook(receiver, quick_settings(vast(simulator)))
            async with running(settings, tmp_path, WITH_HOOK) as (_, api):
                await ready(api)
                sessions = [await register(api)]
                await arrived(receiver, api, sessions)
        async with running(settings, tmp_path, WITH_HOOK) as (daemon, api):
            await ready(api)
            sessions += [await register(api), await register(api)]
            await api.end(sessions[0])

            async def tried() -> bool:
                return counted(daemon, "connection") > 0

            await until(tried, "the receiver is found to be down")
        before = len(receiver.taken)
        async with running(settings, tmp_path, WITH_HOOK) as (_, api), receiver.serving():
            await api.end(sessions[1])
            await arrived(receiver, api, sessions)
    assert len({event["id"] for event in receiver.taken}) == len(receiver.taken), "and nothing came twice"
    assert before < len(receiver.taken)


async def test_a_new_hook_gets_no_history_and_one_that_is_gone_is_told_and_left_alone(tmp_path: Path) -> None:
    receiver = Receiver()
    async with simulated() as simulator, receiver.serving():
        plain = quick_settings(vast(simulator))
        async with running(plain, tmp_path) as (_, api):
            await ready(api)
            old = await register(api)
        async with running(with_hook(receiver, plain), tmp_path, WITH_HOOK) as (daemon, api):
            await ready(api)
            await arrived(receiver, api, [new := await register(api)])
            assert receiver.numbers(old) == []
            receiver.answers.append(410)
            await api.end(new)

            async def gone() -> bool:
                return "sends nothing to ci" in daemon.sentence()

            await until(gone, "it is told")
            asked = receiver.asked
            other = await register(api)
            await until(lambda: waiting(api), "its events wait")
            assert receiver.asked == asked
        async with running(with_hook(receiver, plain), tmp_path, WITH_HOOK) as (_, api):
            await arrived(receiver, api, [new, other])


async def waiting(api: Api) -> bool:
    return re.search(r'(?m)^shopperd_hook_pending\{hook="ci"\} [1-9]', await api.metrics()) is not None


async def test_a_reload_brings_changes_and_takes_hooks(tmp_path: Path) -> None:
    receiver = Receiver()
    async with simulated() as simulator, receiver.serving():
        plain = quick_settings(vast(simulator))
        async with running(plain, tmp_path, WITH_HOOK) as (daemon, api):
            await ready(api)
            old = await register(api)
            daemon.reload(with_hook(receiver, plain))

            async def begun() -> bool:
                return 'hook="ci"' in await api.metrics() and any(
                    runner.job.name == "hook-ci" and runner.last_ok for runner in daemon.schedule.runners
                )

            await until(begun, "the hook has begun")
            first = await register(api)
            await arrived(receiver, api, [first])
            assert receiver.numbers(old) == []
            daemon.reload(with_hook(receiver, plain, events=("session.ended",)))
            await api.end(first)

            async def ended() -> bool:
                return [event["kind"] for event in receiver.taken][-1] == "session.ended"

            await until(ended, "it goes on where it was, with other kinds")
            taken = len(receiver.taken)
            daemon.reload(plain)

            async def forgotten() -> bool:
                text = await api.metrics()
                return 'hook="ci"' not in text and 'job="hook-ci"' not in text

            await until(forgotten, "its series are gone")
            await api.end(old)
            daemon.reload(with_hook(receiver, plain))
            await until(begun, "it is back")
            await arrived(receiver, api, [last := await register(api)])
            assert [event["session_id"] for event in receiver.taken[taken:]] == [last] * (len(receiver.taken) - taken)
