"""Orphans and plans over HTTP."""

from datetime import timedelta

import pytest
from attrs import evolve

from shopperd.jobs.sweep import observing_key
from shopperd.model import Charge, InstanceState
from shopperd.store import charges, destroys, events, meta
from tests.web.conftest import Client
from tests.web.deployment import Deployment

FIELDS = {
    *("account", "instance_id", "session_id", "kind", "phase", "first_seen_at", "sightings", "price_per_hour"),
    *("hold_reason", "hold_detail", "attempts", "stuck", "leaked_usd", "orphan_since"),
}


@pytest.fixture
def ripe(deployment: Deployment) -> Deployment:
    """Two ripe orphans and a fresh one, whose verdicts may become acts."""
    deployment.orphan("7", 1, price_per_hour=0.5)
    deployment.orphan("8", 2, price_per_hour=2.0)
    deployment.clock.advance(3600)
    deployment.orphan("9", 3, kind_sightings=1)
    deployment.track("10", deployment.session(4, instance_id="10").id)
    deployment.seen()
    deployment.store.run_sync(meta.put, observing_key("main"), 0)
    return deployment


async def test_orphans_are_listed_with_phase_and_hold(client: Client, ripe: Deployment) -> None:
    document = await (await client.get("/api/v1/orphans")).json()
    assert all(item.keys() == FIELDS for item in document["items"])
    told = [(item["instance_id"], item["kind"], item["phase"], item["hold_reason"]) for item in document["items"]]
    assert told == [
        ("8", "ended", "destroying", None),
        ("7", "ended", "destroying", None),
        ("9", "ended", "suspected", "sightings"),
    ]
    assert document["items"][0]["sightings"] == 3
    assert document["next"] is None


async def test_an_orphan_tells_what_it_has_cost_since_it_was_seen_to_be_one(client: Client, ripe: Deployment) -> None:
    now = ripe.clock.now()
    begin, turn = now - timedelta(hours=2), now - timedelta(minutes=30)
    dear = Charge("main", "vastai", "8", begin, None, InstanceState.RUNNING, 2.0)
    ripe.store.run_sync(
        charges.save, "main", [evolve(dear, ended_at=turn), evolve(dear, started_at=turn, usd_per_hour=1.0)]
    )
    ripe.store.run_sync(meta.put, "complete:main", [now.isoformat()])
    document = await (await client.get("/api/v1/orphans")).json()
    told = {item["instance_id"]: item["leaked_usd"] for item in document["items"]}
    assert told == {"8": 1.5, "7": 0.0, "9": 0.0}, "it is one for an hour"


async def test_a_stuck_destroy_is_told_with_its_orphan(client: Client, ripe: Deployment) -> None:
    await client.post("/api/v1/instances/main/7/destroy", json={"reason": "done"})
    job = ripe.store.run_sync(destroys.for_instance, "main", "7")
    assert job is not None
    ripe.store.run_sync(destroys.update, evolve(job, attempts=20))
    document = await (await client.get("/api/v1/orphans")).json()
    told = {item["instance_id"]: (item["attempts"], item["stuck"]) for item in document["items"]}
    assert told == {"7": (20, True), "8": (0, False), "9": (0, False)}


async def test_what_is_held_says_why(client: Client, ripe: Deployment) -> None:
    await client.post("/api/v1/freeze", json={"reason": "a drill"})
    document = await (await client.get("/api/v1/orphans")).json()
    assert [(item["phase"], item["hold_reason"]) for item in document["items"]][:2] == [("held", "frozen")] * 2


async def test_pages_of_orphans_follow_each_other(client: Client, ripe: Deployment) -> None:
    first = await (await client.get("/api/v1/orphans?limit=2")).json()
    rest = await (await client.get("/api/v1/orphans", params={"limit": "2", "cursor": first["next"]})).json()
    assert [item["instance_id"] for item in first["items"] + rest["items"]] == ["8", "7", "9"]


async def test_an_account_can_be_named(client: Client, ripe: Deployment) -> None:
    for path in ("orphans", "plan"):
        assert (await client.get(f"/api/v1/{path}?account=nobody")).status == 404
    assert (await (await client.get("/api/v1/orphans?account=dock")).json())["items"] == []
    plans = (await (await client.get("/api/v1/plan?account=dock")).json())["items"]
    assert [plan["account"] for plan in plans] == ["dock"]


async def test_a_plan_tells_what_would_go_and_what_is_held(client: Client, ripe: Deployment) -> None:
    plans = {plan["account"]: plan for plan in (await (await client.get("/api/v1/plan")).json())["items"]}
    assert plans.keys() == {"main", "dock"}
    main = plans["main"]
    assert (main["fresh"], main["allowed"], main["observing_sweeps"]) == (True, 3, 0)
    assert [job["instance_id"] for job in main["destroys"]] == ["8", "7"]
    assert [orphan["instance_id"] for orphan in main["orphans"]] == ["8", "7", "9"]
    assert "found 3 orphans" in main["summary"]
    assert not plans["dock"]["fresh"]


async def test_a_plan_changes_nothing(client: Client, ripe: Deployment) -> None:
    before = ripe.store.run_sync(events.last_id)
    assert (await client.get("/api/v1/plan")).status == 200
    assert ripe.store.run_sync(destroys.open_jobs, "main") == []
    assert ripe.store.run_sync(events.last_id) == before
