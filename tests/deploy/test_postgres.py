"""The daemon with its store on a real PostgreSQL, by the configuration of the overlay: what is promised of a store holds there too."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from shopperd.simulator import SimulatorServer
from tests.daemon.house import Api, alive, destroys, ready, simulated, until
from tests.deploy.test_kubernetes import FOLDER
from tests.postgres import postgres_server
from tests.system.processes import Running, shopperd

__all__ = ["postgres_server"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(170)]

CONFIG = (FOLDER / "overlays/postgres/config.toml").read_text()
PASSWORD = "a-password-canary"


class Server:
    """A server that lets the user shopperd in by password alone."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        with self._admin() as conn:
            files = {
                name: conn.scalar(sa.text(f"SHOW {name}")) for name in ("hba_file", "port", "unix_socket_directories")
            }
            self.rules = Path(files["hba_file"])
            self.kept = self.rules.read_text()
            self.rules.write_text("local all shopperd scram-sha-256\n" + self.kept)
            conn.exec_driver_sql("DROP DATABASE IF EXISTS shopperd")
            conn.exec_driver_sql("DROP ROLE IF EXISTS shopperd")
            conn.exec_driver_sql(f"CREATE ROLE shopperd LOGIN PASSWORD '{PASSWORD}'")
            conn.exec_driver_sql("CREATE DATABASE shopperd OWNER shopperd")
            conn.exec_driver_sql("SELECT pg_reload_conf()")
        host = files["unix_socket_directories"]
        self.url = f"postgresql://shopperd@/shopperd?host={host}&port={files['port']}"

    def _admin(self) -> Any:
        return sa.create_engine(self._url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect()

    def rotate(self, password: str) -> None:
        """Give the user another password, and break the connections that were made with the old one."""
        with self._admin() as conn:
            conn.exec_driver_sql(f"ALTER ROLE shopperd PASSWORD '{password}'")
            conn.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shopperd'")

    def close(self) -> None:
        self.rules.write_text(self.kept)


@pytest.fixture
def server(postgres_server: str) -> Iterator[Server]:
    server = Server(postgres_server)
    yield server
    server.close()


def put(path: Path, text: str) -> None:
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.replace(path)


class Deployed:
    """The overlay's configuration beside its secrets, with this server and this simulator in it."""

    def __init__(self, folder: Path, server: Server, simulator: SimulatorServer) -> None:
        self.folder = folder
        self.credentials = folder / "credentials"
        self.credentials.mkdir()
        for name, value in (("vastai", "a-key"), ("web-token", "a-token"), ("postgres", PASSWORD)):
            put(self.credentials / name, value)
        self.config = folder / "config.toml"
        text, count = re.subn(r'url = "postgresql://[^"]+"', f'url = "{server.url}"', CONFIG)
        assert count == 1
        self.config.write_text(text)
        self.environ = {
            "CREDENTIALS_DIRECTORY": str(self.credentials),
            "STATE_DIRECTORY": str(folder),
            "SHOPPERD_WEB__LISTEN": "127.0.0.1:0",
            "SHOPPERD_ACCOUNTS__VASTAI__BASE_URL": simulator.vastai_url,
            "SHOPPERD_JOBS__STATUS__INTERVAL": "0.2",
            "SHOPPERD_JOBS__OFFERS__INTERVAL": "1",
            "SHOPPERD_ORPHANS__MODE": "destroy",
            "SHOPPERD_DESTROYS__RETRY_MIN": "0.2",
            "SHOPPERD_DESTROYS__RETRY_MAX": "1",
            **{
                f"SHOPPERD_ACCOUNTS__VASTAI__LIMITS__{each}": "0.01"
                for each in ("LIST", "OFFERS", "SHOW", "CREATE", "DESTROY")
            },
        }

    def run(self) -> Any:
        return shopperd("run", "--config", str(self.config), folder=self.folder, environ=self.environ)


async def served(running: Running, session: aiohttp.ClientSession) -> Api:
    api = Api(session, (await running.logged("ready"))["url"])
    await ready(api)
    return api


async def test_what_was_wanted_is_there_after_a_kill_and_nothing_is_rented_twice(
    server: Server, tmp_path: Path
) -> None:
    headers = {"Authorization": "Bearer a-token"}
    async with simulated() as simulator, aiohttp.ClientSession(headers=headers) as session:
        deployed = Deployed(tmp_path, server, simulator)
        async with deployed.run() as running:
            api = await served(running, session)
            kept, over = await api.create("vastai", wait=20), await api.create("vastai", wait=20)
            running.signal(signal.SIGKILL)
            await running.ended()
        async with deployed.run() as running:
            # The one that died holds its lease for a while.
            api = await served(running, session)
            assert await api.state(kept["id"]) == "running"
            await api.end(over["id"])

            async def gone() -> bool:
                return await api.state(over["id"]) == "ended"

            await until(gone, "it is proven gone")
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
        assert [machine["tag"] for machine in alive(simulator)] == [kept["tag"]]
        assert len(destroys(simulator)) >= 1
        assert PASSWORD not in "".join(running.raw)
        assert [*tmp_path.glob("*.spool")], "the spool lies on the volume"
        assert not [*tmp_path.glob("*.db")]


async def test_a_password_that_is_replaced_is_used_at_the_next_connect(server: Server, tmp_path: Path) -> None:
    async with simulated() as simulator, aiohttp.ClientSession() as session:
        deployed = Deployed(tmp_path, server, simulator)
        async with deployed.run() as running:
            api = await served(running, session)
            server.rotate("another-password-canary")

            async def lost() -> bool:
                async with session.get(f"{api.url}/readyz") as reply:
                    return reply.status == 503

            await until(lost, "the old password opens nothing")
            put(deployed.credentials / "postgres", "another-password-canary")
            await ready(api)
            assert (await running.logged("secrets.changed"))["changed"] == ["store.password"]
        assert "canary" not in "".join(running.raw)
