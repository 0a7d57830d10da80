"""The spool of a real process: it is there when the process is ready, and what was left in it is taken up by the next one."""

import signal
from pathlib import Path

import aiohttp

from shopperd.store import Spool
from shopperd.store.spool import ROOM_BYTES
from tests.daemon.house import Api, ready, simulated
from tests.store.test_spool import accepted
from tests.system.processes import configuration, shopperd


async def test_room_is_set_aside_before_it_is_ready_and_stays_after_a_kill(tmp_path: Path) -> None:
    async with simulated() as simulator:
        config = configuration(simulator, tmp_path)
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running:
            await running.logged("ready")
            assert (tmp_path / "shopperd.db.spool").stat().st_size == ROOM_BYTES
            running.signal(signal.SIGKILL)
            await running.ended()
        spool = Spool.open(tmp_path / "shopperd.db.spool")
        spool.keep(accepted(1, account="vast"))
        spool.close()
        async with shopperd("run", "--config", str(config), folder=tmp_path) as running, aiohttp.ClientSession() as web:
            api = Api(web, (await running.logged("ready"))["url"])
            names = [line["event"] for line in running.lines]
            assert names.index("create.recovered") < names.index("ready")
            await ready(api)
            (event,) = [
                event for event in (await api.get("/events?limit=1000"))["items"] if event["kind"] == "create.recovered"
            ]
            assert event["instance_id"] == accepted(1).instance_id
            assert event["session_id"] == str(accepted(1).session_id)
