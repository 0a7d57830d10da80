"""Status and accounts."""

from pathlib import Path

from attrs import evolve

from shopperd import __version__
from shopperd.jobs.sweep import observing_key
from shopperd.providers.limiter import Endpoint, Limiter, Published
from shopperd.settings import LimitSettings
from shopperd.store import Spool, destroys, meta
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.store.test_spool import accepted
from tests.web.conftest import Client
from tests.web.deployment import Deployment

STATUS = {"version", "deployment", "frozen", "store", "accounts", "jobs", "burn_per_hour"}
ACCOUNT = {
    *("name", "provider", "healthy", "reason", "last_complete_snapshot_at", "snapshot_age_seconds", "instances"),
    *("sessions", "orphans", "holds", "burn_per_hour", "limits"),
}


async def account(client: Client, name: str = "main") -> dict[str, object]:
    document = await (await client.get("/api/v1/accounts")).json()
    assert document["next"] is None
    found: dict[str, object] = next(item for item in document["items"] if item["name"] == name)
    assert found.keys() >= ACCOUNT
    return found


async def test_status_tells_the_deployment_on_one_page(client: Client, deployment: Deployment) -> None:
    deployment.seen()
    deployment.track("7", deployment.session(1, instance_id="7").id, price_per_hour=0.75)
    status = await (await client.get("/api/v1/status")).json()
    assert status.keys() >= STATUS
    assert (status["version"], status["deployment"], status["frozen"]) == (__version__, "", False)
    assert status["store"]["ok"]
    assert [item["name"] for item in status["accounts"]] == ["main", "dock"]
    assert {(job["job"], job["account"]) for job in status["jobs"]} >= {("status", "main"), ("housekeeping", "")}
    assert status["burn_per_hour"] == 0.75
    assert status["orphan_bound_seconds"] == 300 + 4 * 120 + 3 + 10


async def test_a_frozen_deployment_says_since_when_and_why(client: Client) -> None:
    await client.post("/api/v1/freeze", json={"reason": "a drill"})
    status = await (await client.get("/api/v1/status")).json()
    assert (status["frozen"], status["frozen_reason"]) == (True, "a drill")
    assert status["frozen_at"] == "2026-11-22T22:00:00Z"
    await client.post("/api/v1/unfreeze", json={"reason": "over"})
    status = await (await client.get("/api/v1/status")).json()
    assert (status["frozen"], status["frozen_reason"], status["frozen_at"]) == (False, None, None)


async def test_an_account_counts_what_the_store_holds_now(client: Client, deployment: Deployment) -> None:
    deployment.seen()
    deployment.clock.advance(7)
    deployment.track("7", deployment.session(1, instance_id="7").id, price_per_hour=0.5)
    deployment.track("8", price_per_hour=0.25)
    deployment.session(2, account="dock")
    told = await account(client)
    assert (told["healthy"], told["reason"], told["snapshot_age_seconds"]) == (True, None, 7.0)
    assert told["last_complete_snapshot_at"] == "2026-11-22T22:00:00Z"
    assert (told["instances"], told["sessions"], told["orphans"], told["burn_per_hour"]) == (2, 1, 0, 0.75)


async def test_an_account_that_was_never_seen_is_not_healthy(client: Client) -> None:
    told = await account(client)
    assert not told["healthy"]
    assert (told["last_complete_snapshot_at"], told["snapshot_age_seconds"]) == (None, None)
    assert "no listing was read yet" in str(told["detail"])


async def test_an_account_with_a_failed_or_late_listing_is_not_healthy(client: Client, deployment: Deployment) -> None:
    deployment.seen()
    at = deployment.context.accounts["main"]
    at.problem, at.detail = "auth", "the key was refused"
    assert (await account(client))["reason"] == "auth"
    deployment.seen()
    deployment.clock.advance(91)
    told = await account(client)
    assert not told["healthy"]
    assert "91 s old" in str(told["detail"])


async def test_the_limits_of_an_account_are_told_where_they_are_known(
    client: Client, deployment: Deployment, clock: FakeClock, metrics: Metrics
) -> None:
    published = Published({Endpoint.LIST: 1.0}, shared=0.5)
    limiter = Limiter(clock, published, LimitSettings(), account="main", provider="vastai", metrics=metrics)
    deployment.context.accounts["main"].limiter = limiter
    ticket = await limiter.wait(Endpoint.LIST)
    limiter.sent(ticket)
    limiter.refused(ticket, threshold_seconds=4.5)
    assert (await account(client, "dock"))["limits"] is None
    limits = (await account(client))["limits"]
    assert isinstance(limits, dict)
    assert (limits["interval_seconds"]["list"], limits["interval_seconds"]["shared"]) == (4.5, 0.5)
    assert (limits["learned_from"]["list"], limits["learned_from"]["shared"]) == ("threshold", "published")
    assert (limits["calls_last_hour"], limits["rate_limited_last_hour"], limits["breaker_open"]) == (1, 1, False)
    assert limits["waiting"] == dict.fromkeys(("destroy", "create", "list", "show", "offers"), 0)


async def test_holds_are_counted_by_reason(client: Client, deployment: Deployment) -> None:
    deployment.orphan("7", 1)
    deployment.orphan("8", 2)
    deployment.clock.advance(3600)
    deployment.seen()
    told = await account(client)
    assert (told["orphans"], told["observing_sweeps"]) == (2, 1)
    assert told["holds"] == [{"reason": "observing", "count": 2}]
    deployment.store.run_sync(meta.put, observing_key("main"), 0)
    assert (await account(client))["holds"] == []


async def test_pending_destroys_are_counted(client: Client, deployment: Deployment) -> None:
    deployment.track("7", deployment.session(1, instance_id="7").id)
    await client.post("/api/v1/instances/main/7/destroy", json={"reason": "done"})
    assert (await account(client))["destroys_pending"] == 1
    assert (await account(client, "dock"))["destroys_pending"] == 0


async def test_stuck_destroys_are_counted(client: Client, deployment: Deployment) -> None:
    for number in (7, 8):
        deployment.track(str(number), deployment.session(number, instance_id=str(number)).id)
        await client.post(f"/api/v1/instances/main/{number}/destroy", json={"reason": "done"})
    job = deployment.store.run_sync(destroys.for_instance, "main", "7")
    assert job is not None
    deployment.store.run_sync(destroys.update, evolve(job, attempts=20))
    assert (await account(client))["destroys_stuck"] == 1
    status = await (await client.get("/api/v1/status")).json()
    assert (status["destroys_pending"], status["destroys_stuck"]) == (2, 1)


async def test_what_waits_in_the_spool_is_counted(client: Client, deployment: Deployment, tmp_path: Path) -> None:
    assert (await (await client.get("/api/v1/status")).json())["store"]["spooled"] == 0
    spool = deployment.context.spool = Spool.open(tmp_path / "spool")
    spool.keep(accepted(1))
    assert (await (await client.get("/api/v1/status")).json())["store"]["spooled"] == 1
    assert "shopperd_store_spooled 1.0" in await (await client.get("/metrics")).text()
    spool.close()


async def test_a_budget_is_told_and_none_is_null(client: Client, deployment: Deployment) -> None:
    at = deployment.context.accounts["main"]
    assert (await account(client))["budget_per_hour"] is None
    at.settings = evolve(at.settings, budget_per_hour=5.0)
    assert (await account(client))["budget_per_hour"] == 5.0


async def test_how_long_the_credit_lasts_is_told_unless_it_is_for_ever(client: Client, deployment: Deployment) -> None:
    told = {}
    for billed in (0.0, 1e-9, 2.0):
        at = deployment.context.accounts["main"]
        at.balance_usd, at.billed_per_hour = 10.0, billed
        told[billed] = (await account(client))["balance_left_seconds"]
    assert told == {0.0: None, 1e-9: None, 2.0: 5 * 3600.0}
