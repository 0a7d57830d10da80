"""The door with sockets: answers, delays and cut connections as a client meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from shopperd.simulator import SimulatorServer, WorldSettings
from tests.simulator.visitor import KEY, TAG, Visitor

PATIENCE = aiohttp.ClientTimeout(total=20)


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorServer]:
    settings = WorldSettings(rate_scale=0, boot_seconds=0, offers=50, nodes=10)
    async with SimulatorServer(settings=settings) as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers, timeout=PATIENCE) as session:
        yield session


def create_url(simulator: SimulatorServer) -> str:
    offer = next(simulator.world.truth.vast.free()).id
    return f"{simulator.vastai_url}/api/v0/asks/{offer}/"


BODY = {"image": "ubuntu:22.04", "label": TAG}


async def test_three_origins_serve_their_apis(simulator: SimulatorServer, client: aiohttp.ClientSession) -> None:
    async with client.put(create_url(simulator), json=BODY) as reply:
        assert (await reply.json())["success"] is True
        assert reply.headers["Content-Type"] == "application/json"
    async with client.get(f"{simulator.tensordock_url}/api/v2/locations") as reply:
        assert (await reply.json())["data"]["locations"]
    async with client.get(f"{simulator.control_url}/_sim/state") as reply:
        assert [row["tag"] for row in (await reply.json())["instances"]] == [TAG]


async def test_queries_and_forms_reach_the_world(simulator: SimulatorServer, client: aiohttp.ClientSession) -> None:
    simulator.world.conjure({"provider": "vastai", "tag": "a b&c"})
    query = {"select_filters": '{"label": {"eq": "a b&c"}}'}
    async with client.get(f"{simulator.vastai_url}/api/v1/instances/", params=query) as reply:
        assert (await reply.json())["total_instances"] == 1
    form = {"api_key": "an-id", "api_token": KEY}
    async with client.post(f"{simulator.tensordock_url}/api/v0/client/list", data=form) as reply:
        assert await reply.json() == {"success": True, "virtualmachines": {}}


async def test_a_drop_after_the_effect_leaves_a_machine_and_no_answer(
    simulator: SimulatorServer, client: aiohttp.ClientSession
) -> None:
    simulator.world.switch_on("create_answer_lost", count=1)
    # A POST, which the client never repeats by itself, as it does a PUT.
    offer = next(simulator.world.truth.vast.free()).id
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post(f"{simulator.vastai_url}/api/v0/asks/bulk/", json={"ids": [offer], **BODY})
    assert len(simulator.world.truth.existing("vastai")) == 1


async def test_a_drop_before_the_effect_leaves_nothing(
    simulator: SimulatorServer, client: aiohttp.ClientSession
) -> None:
    simulator.world.switch_on("create_dropped")
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.put(create_url(simulator), json=BODY)
    assert simulator.world.truth.existing("vastai") == []


async def test_without_a_fault_the_same_request_is_answered(
    simulator: SimulatorServer, client: aiohttp.ClientSession
) -> None:
    async with client.put(create_url(simulator), json=BODY) as reply:
        assert reply.status == 200


async def test_a_late_answer_comes_after_its_effect(simulator: SimulatorServer, client: aiohttp.ClientSession) -> None:
    simulator.world.switch_on("create_slow", delay=3600)
    impatient = aiohttp.ClientTimeout(total=0.2)
    with pytest.raises(TimeoutError):
        await client.put(create_url(simulator), json=BODY, timeout=impatient)
    assert len(simulator.world.truth.existing("vastai")) == 1


async def test_a_delay_is_waited_for(simulator: SimulatorServer, client: aiohttp.ClientSession) -> None:
    simulator.world.switch_on("slow", delay=0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with client.get(f"{simulator.vastai_url}/api/v1/instances/") as reply:
        assert reply.status == 200
    assert loop.time() - started >= 0.2


async def test_a_body_that_is_cut_midway_is_an_error_for_the_client(
    simulator: SimulatorServer, client: aiohttp.ClientSession
) -> None:
    simulator.world.switch_on("connection_cut_midway")
    async with client.get(f"{simulator.vastai_url}/api/v0/users/current/") as reply:
        assert reply.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()


async def test_a_dripping_body_arrives_whole_in_the_end(
    simulator: SimulatorServer, client: aiohttp.ClientSession
) -> None:
    simulator.world.switch_on("slow_body", pause=0.001, size=16)
    async with client.get(f"{simulator.vastai_url}/api/v0/users/current/") as reply:
        assert (await reply.json())["username"] == "simulated"


async def test_a_compressed_body_unpacks_to_its_full_size(
    simulator: SimulatorServer, client: aiohttp.ClientSession
) -> None:
    simulator.world.switch_on("gzip_bomb", megabytes=2)
    async with client.get(f"{simulator.vastai_url}/api/v1/instances/") as reply:
        assert len(await reply.read()) == 2 * 1024 * 1024


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(simulator: SimulatorServer) -> None:
    taken = int(simulator.vastai_url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        async with SimulatorServer(simulator.world, control_port=taken):
            pass


async def test_a_world_can_be_handed_in() -> None:
    visitor = Visitor()
    async with (
        SimulatorServer(visitor.world, clock=lambda: visitor.now) as server,
        aiohttp.ClientSession() as session,
        session.get(f"{server.control_url}/_sim/state") as reply,
    ):
        assert (await reply.json())["now"] == visitor.now
