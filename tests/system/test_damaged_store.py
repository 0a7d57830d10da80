"""Bytes of the store are flipped: it is never taken for a new one, the damage is said, and nothing is destroyed for it."""

import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import define, field

from shopperd.clock import SystemClock
from shopperd.simulator import SimulatorServer
from shopperd.store import Store, sessions
from tests.daemon.house import Api, alive, destroys, ready, simulated, until
from tests.system.processes import Life, Nursery, configuration, nursery, sample

pytestmark = pytest.mark.system

LIFETIME_SECONDS = 10
PAGE = 4096
FRAME = PAGE + 24
WAL_HEADER = 32


@define
class Home:
    """A daemon with sessions, an orphan to be, and a store that can be spoilt.

    Attributes:
        over: the tag of a session that is over: a machine that carries it is an orphan by all rules.
    """

    simulator: SimulatorServer
    session: aiohttp.ClientSession
    daemons: Nursery
    store: Path
    daemon: Life
    api: Api
    over: str = ""
    kept: list[str] = field(factory=list)

    def outsider(self, statement: str) -> None:
        """Another program opens the store, and does this to it."""
        other = sqlite3.connect(self.store, isolation_level=None)
        try:
            other.execute(statement).fetchall()
        finally:
            other.close()

    @property
    def wal(self) -> Path:
        return self.store.with_name("shopperd.db-wal")

    async def start(self) -> None:
        self.daemon = await self.daemons.start()
        self.api = Api(self.session, (await self.daemon.logged("ready"))["url"])

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.daemon.signal(number)
        assert await self.daemon.ended() == (0 if number is signal.SIGTERM else -number)

    async def settle_in(self) -> None:
        await ready(self.api)
        made = await self.api.ask("POST", "/api/v1/sessions/register", {"account": "vast"}, expect=201)
        await self.api.end(made["id"])
        self.over = made["tag"]
        for _ in range(2):
            self.kept.append((await self.api.create("vast", wait=10))["id"])
        await self.all_run()

    async def all_run(self) -> None:
        async def running() -> bool:
            return {await self.api.state(one) for one in self.kept} == {"running"}

        await until(running, "its sessions run")

    async def sweeps(self, times: int) -> None:
        """Until so many sweeps more are over, however they ended."""

        async def count() -> float:
            return sample(await self.api.metrics(), "shopperd_job_runs_total", job="sweep")

        before = await count()

        async def swept() -> bool:
            return await count() >= before + times

        await until(swept, "the sweeps are over")

    async def tells_of_a_damaged_row(self, table: str) -> None:
        """It must say which and what to do, and do nothing more, for as long as it runs."""

        async def said() -> str:
            return (await self.api.get("/status"))["store"]["problem"] or ""

        problem = await until(said, "the damage is said")
        assert f"of its table {table} is not as it was written" in problem
        assert "restore a backup" in problem
        await self.sweeps(6)
        assert await said() == problem
        async with self.session.get(f"{self.api.url}/readyz") as reply:
            assert reply.status == 503

    async def refuses(self, what: str) -> str:
        """Starting must fail in a way that tells an operator what to do; all that was told."""
        before = self.store.read_bytes()
        daemon = await self.daemons.start()
        assert await daemon.ended() == 1, f"{what}: {daemon.told}"
        failed = [line for line in daemon.lines if line.get("event") == "start.failed"]
        assert len(failed) == 1, f"{what}: {daemon.told[-2000:]}"
        assert str(self.store) in failed[0]["detail"], what
        assert "Traceback" not in daemon.told, what
        assert self.store.read_bytes() == before, f"{what}: it wrote into a damaged store"
        assert destroys(self.simulator) == [], what
        return str(failed[0]["detail"])


@asynccontextmanager
async def home(folder: Path) -> AsyncIterator[Home]:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        config = configuration(simulator, folder)
        async with nursery(config, folder=folder) as daemons:
            daemon = await daemons.start()
            api = Api(session, (await daemon.logged("ready"))["url"])
            found = Home(simulator, session, daemons, folder / "shopperd.db", daemon, api)
            await found.settle_in()
            yield found


def flipped(content: bytes, *places: tuple[int, int]) -> bytes:
    """The same with all bits flipped from each place on, for so many bytes."""
    spoilt = bytearray(content)
    for start, length in places:
        spoilt[start : start + length] = bytes(byte ^ 0xFF for byte in spoilt[start : start + length])
    return bytes(spoilt)


def every_page(content: bytes, start: int, length: int) -> bytes:
    """The same with a place in every page but the first flipped."""
    return flipped(content, *[(page + start, length) for page in range(PAGE, len(content), PAGE)])


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "the magic": lambda content: flipped(content, (0, 16)),
    "one bit of the magic": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "the page size": lambda content: flipped(content, (16, 2)),
    "the file format": lambda content: flipped(content, (18, 2)),
    "the text encoding": lambda content: flipped(content, (56, 4)),
    "the application": lambda content: flipped(content, (68, 4)),
    "the whole header": lambda content: flipped(content, (0, 100)),
    "the head of the schema's page": lambda content: flipped(content, (100, 8)),
    "the cells of the schema's page": lambda content: flipped(content, (108, 64)),
    "the schema's text": lambda content: content.replace(b"CREATE TABLE sessions", b"CREATE TABLE sessionz"),
    "the head of every page": lambda content: every_page(content, 0, 12),
    "the cells of every page": lambda content: every_page(content, 8, 64),
    "one page": lambda content: flipped(content, (len(content) // PAGE // 2 * PAGE, PAGE)),
    "half of the file is missing": lambda content: content[: len(content) // PAGE // 2 * PAGE],
    "all but the header is missing": lambda content: content[:100],
    "zeros": lambda content: bytes(len(content)),
    "zeros behind the first page": lambda content: content[:PAGE] + bytes(len(content) - PAGE),
}

ADVICE = ("restore a backup", "is the database of another program; give shopperd a file of its own")


async def test_a_store_that_was_damaged_while_it_was_not_in_use_is_refused(tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        await found.stop()
        good = found.store.read_bytes()
        # An orphan by all rules of the store as it was.
        found.simulator.world.conjure({"provider": "vastai", "tag": found.over})
        for what, damage in DAMAGE.items():
            found.store.write_bytes(damage(good))
            told = await found.refuses(what)
            assert any(advice in told for advice in ADVICE), f"{what}: {told}"
        found.store.write_bytes(good)
        await found.start()
        await ready(found.api)
        await found.all_run()
        assert len(alive(found.simulator)) >= 2


@pytest.mark.parametrize("where", ["database", "write-ahead log"])
async def test_a_store_that_is_damaged_at_work_stops_acts_for_good_and_not_the_process(
    where: str, tmp_path: Path
) -> None:
    async with home(tmp_path) as found:
        if where == "database":
            # As after hours of work: what it reads is in the database, and in the log is only what is newer.
            found.outsider("PRAGMA wal_checkpoint(TRUNCATE)")
            found.store.write_bytes(every_page(found.store.read_bytes(), 0, 64))
        else:
            log = found.wal.read_bytes()
            frames = range(WAL_HEADER, len(log), FRAME)
            found.wal.write_bytes(flipped(log, *[(frame + 24, PAGE) for frame in frames]))
        # What a backup program does; whoever has pages in memory must read them anew after it.
        with suppress(sqlite3.DatabaseError):
            found.outsider("PRAGMA user_version = 1")
        found.simulator.world.conjure({"provider": "vastai", "tag": found.over})

        async def said() -> bool:
            return "restore a backup" in ((await found.api.get("/status"))["store"]["problem"] or "")

        await until(said, "the damage is said")
        await found.sweeps(6)
        for _ in range(5):
            async with found.session.get(f"{found.api.url}/readyz") as reply:
                assert reply.status == 503
                assert str(found.store) in await reply.text()
        async with found.session.get(f"{found.api.url}/healthz") as reply:
            assert reply.status == 200
        answer = await found.api.ask("POST", f"/api/v1/sessions/{found.kept[0]}/end", {"reason": "test"}, expect=503)
        assert "restore a backup" in answer["detail"]
        assert destroys(found.simulator) == []
        assert len(alive(found.simulator)) == 3
        await found.stop()
        assert "Traceback" not in found.daemon.told


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            lambda content: flipped(content, (44, 4)),
            id="the schema's format",
        ),
        pytest.param(
            lambda content: content.replace(b"INDEX ", b"INDEX\xa0"),
            id="the schema is no text",
        ),
    ],
)
async def test_every_damage_is_told_as_such(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        await found.stop()
        good = found.store.read_bytes()
        assert damage(good) != good
        found.store.write_bytes(damage(good))
        assert "restore a backup" in await found.refuses("what SQLite has words of its own for")


async def test_a_value_that_cannot_be_read_is_damage_and_shows_no_secret(tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        found.kept.append((await found.api.create("vast", wait=10, env={"TOKEN": "a-users-own-secret"}))["id"])
        await found.all_run()
        await found.stop()
        good = found.store.read_bytes()
        assert good.count(b'"TOKEN":"a-users-own-secret"') == 1
        found.store.write_bytes(good.replace(b'"TOKEN":"a-users-own-secret"', b'"T\xcfKEN":"a-users-own-secret"'))
        daemon = await found.daemons.start()
        line = await daemon.logged("ready", "start.failed")
        if line["event"] == "ready":
            found.api = Api(found.session, line["url"])

            async def told() -> str | None:
                return str((await found.api.get("/status"))["store"]["problem"] or "")

            problem = await until(told, "the damage is said")
            await found.sweeps(6)
            async with found.session.get(f"{found.api.url}/readyz") as reply:
                problem += await reply.text()
                assert reply.status == 503
            daemon.signal(signal.SIGTERM)
        else:
            problem = line["detail"]
        await daemon.ended()
        assert "a-users-own-secret" not in problem + daemon.told
        assert "restore a backup" in problem
        assert destroys(found.simulator) == []


def earlier(moment: str) -> str:
    """A moment in the past that one flipped bit makes of this one."""
    for place in (3, 2):
        for bit in (1, 2, 4, 8):
            other = chr(ord(moment[place]) ^ bit)
            if other.isdecimal() and other < moment[place]:
                return moment[:place] + other + moment[place + 1 :]
    raise AssertionError(f"no bit makes {moment} earlier")


async def test_a_bit_that_flips_in_a_deadline_ends_no_session(tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        made = await found.api.create("vast", wait=10, lifetime="1d")
        found.kept.append(made["id"])
        await found.all_run()
        await found.stop()
        good = found.store.read_bytes()
        before, after = made["expires_at"].encode(), earlier(made["expires_at"]).encode()
        assert good.count(before) == 1
        found.store.write_bytes(good.replace(before, after))
        await found.start()
        await found.tells_of_a_damaged_row("sessions")
        assert destroys(found.simulator) == []
        assert len(alive(found.simulator)) == 3


async def test_a_tombstone_that_is_damaged_says_nothing_of_a_machine(tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        await found.stop()
        store = Store.open(f"sqlite:///{found.store}", clock=SystemClock(), inline=True)
        assert store.run_sync(sessions.forget_ended, datetime.now(UTC) + timedelta(days=1), 10) == 1
        store.close_sync()
        found.outsider("UPDATE tombstones SET provider = 'wastai'")  # the bit 0x01 of its first letter
        found.simulator.world.conjure({"provider": "vastai", "tag": found.over})
        await found.start()
        await found.tells_of_a_damaged_row("tombstones")
        assert destroys(found.simulator) == []
        assert len(alive(found.simulator)) == 3


async def test_an_exemption_that_a_bit_takes_away_costs_no_machine(tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        await found.api.ask("POST", "/api/v1/freeze", {"reason": "test"}, expect=200)
        orphan = found.simulator.world.conjure({"provider": "vastai", "tag": found.over})["id"]
        await found.sweeps(3)
        await found.api.ask("POST", f"/api/v1/instances/vast/{orphan}/exempt", {"reason": "test"}, expect=200)
        await found.api.ask("POST", "/api/v1/unfreeze", {"reason": "test"}, expect=200)
        await found.sweeps(5)
        assert destroys(found.simulator) == []
        await found.stop()
        found.outsider("UPDATE instances SET exempt = 0 WHERE exempt = 1")
        await found.start()
        await found.tells_of_a_damaged_row("instances")
        assert destroys(found.simulator) == []
        assert len(alive(found.simulator)) == 3


async def test_a_destroy_that_names_another_machine_by_a_flipped_bit_is_not_carried_out(tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        found.simulator.world.switch_on("server_error", operation="destroy")
        await found.api.end(found.kept[0])

        async def asked_for() -> list[str]:
            return destroys(found.simulator)

        await until(asked_for, "the destroy is on its way")
        await found.stop()
        asked = await asked_for()
        found.outsider("UPDATE destroys SET instance_id = (SELECT instance_id FROM sessions WHERE state = 'running')")
        found.simulator.world.switch_off()
        await found.start()
        await found.tells_of_a_damaged_row("destroys")
        assert await asked_for() == asked
        assert len(alive(found.simulator)) == 2


async def damage_the_log(found: Home, how: str) -> dict[str, Any]:
    """Have the daemon promise something, kill it, and damage its write-ahead log from there on; how the next one starts."""
    made = await found.api.create("vast", wait=10, lifetime=LIFETIME_SECONDS)
    found.kept.append(made["id"])
    await found.all_run()
    if how == "missing":
        found.outsider("PRAGMA wal_checkpoint(TRUNCATE)")
    promised_at = found.wal.stat().st_size
    path = f"/api/v1/sessions/{made['id']}/extend"
    await found.api.ask("POST", path, {"lifetime": "1d"}, expect=200)
    await found.sweeps(3)
    await found.stop(signal.SIGKILL)
    if how == "missing":
        found.wal.unlink()
    else:
        # One byte, in the first of many pages that were written since: the checksums of all after it do not fit any more.
        assert found.wal.stat().st_size >= promised_at + 2 * FRAME
        found.wal.write_bytes(flipped(found.wal.read_bytes(), (max(promised_at, WAL_HEADER) + 24 + 100, 1)))
    daemon = await found.daemons.start()
    line = await daemon.logged("ready", "start.failed")
    found.daemon = daemon
    if line["event"] == "ready":
        found.api = Api(found.session, line["url"])
    return line


@pytest.mark.parametrize("how", ["a flipped byte", "missing"])
async def test_a_write_ahead_log_that_lost_what_was_promised_is_said(how: str, tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        line = await damage_the_log(found, how)
        if line["event"] == "start.failed":
            assert "restore a backup" in line["detail"]
        else:
            await found.sweeps(2)
            told = [one for one in found.daemon.lines if one.get("level") in ("warning", "error")]
            assert [one for one in told if str(one["event"]).startswith("store.")]


@pytest.mark.parametrize("how", ["a flipped byte", "missing"])
async def test_a_write_ahead_log_that_lost_an_extension_ends_no_session(how: str, tmp_path: Path) -> None:
    async with home(tmp_path) as found:
        line = await damage_the_log(found, how)
        if line["event"] == "ready":
            id_ = found.kept[-1]
            expires = datetime.fromisoformat((await found.api.get(f"/sessions/{id_}"))["expires_at"])

            async def expired() -> bool:
                return datetime.now(UTC) > expires

            await until(expired, "the deadline of before the extension is over")
            await found.sweeps(10)
        assert destroys(found.simulator) == []
        assert len(alive(found.simulator)) == 3
