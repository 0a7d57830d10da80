"""Probes."""

import pytest
from attrs import evolve

from shopperd.settings import JobSettings
from shopperd.store import StoreFull, StoreUnreachable
from shopperd.web import Health
from tests.web.conftest import Client
from tests.web.deployment import Deployment


@pytest.fixture
def ready(deployment: Deployment) -> Deployment:
    deployment.seen("main")
    deployment.seen("dock")
    return deployment


async def missing(client: Client) -> list[str]:
    response = await client.get("/readyz")
    document = await response.json()
    assert response.status == (200 if document["ready"] else 503)
    assert document["ready"] is not bool(document["missing"])
    found: list[str] = document["missing"]
    return found


async def test_a_process_that_turns_is_alive_whatever_is_missing(client: Client, deployment: Deployment) -> None:
    deployment.store.problem = StoreUnreachable("the store", "is away")
    response = await client.get("/healthz")
    assert (response.status, await response.json()) == (200, {"alive": True, "reasons": []})


async def test_a_process_that_hangs_is_not(client: Client, deployment: Deployment) -> None:
    deployment.health = Health(alive=False, reasons=("the heartbeat is silent",))
    response = await client.get("/healthz")
    assert response.status == 503
    assert (await response.json())["reasons"] == ["the heartbeat is silent"]


async def test_all_accounts_seen_and_the_store_well_is_ready(client: Client, ready: Deployment) -> None:
    assert await missing(client) == []


async def test_an_account_never_seen_is_missing(client: Client, deployment: Deployment) -> None:
    deployment.seen("dock")
    (why,) = await missing(client)
    assert why.startswith("account main: no_snapshot_yet")


async def test_an_account_seen_too_long_ago_is_missing(client: Client, ready: Deployment) -> None:
    ready.clock.advance(90)
    assert await missing(client) == []
    ready.clock.advance(1)
    assert len(await missing(client)) == 2


async def test_where_only_sweeps_look_their_interval_counts(client: Client, ready: Deployment) -> None:
    jobs = ready.context.settings.jobs
    ready.change_settings(jobs=evolve(jobs, status=JobSettings(20.0, enabled=False)))
    ready.clock.advance(390)
    assert await missing(client) == []
    ready.clock.advance(1)
    assert len(await missing(client)) == 2


async def test_one_failed_listing_is_no_reason_yet(client: Client, ready: Deployment) -> None:
    ready.context.accounts["main"].problem = "timeout"
    assert await missing(client) == []


async def test_a_store_with_a_standing_problem_is_missing(client: Client, ready: Deployment) -> None:
    ready.store.problem = StoreFull("the store", "the disk is full")
    assert await missing(client) == ["store: the store: the disk is full"]


async def test_a_closed_store_is_missing(client: Client, ready: Deployment) -> None:
    ready.store.close_sync()
    (why,) = await missing(client)
    assert why.startswith("store: ")
