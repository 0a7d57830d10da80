"""Costs over HTTP."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from attrs import evolve

from shopperd.model import Charge, InstanceState
from shopperd.store import charges, meta
from tests.web.conftest import Client
from tests.web.deployment import Deployment

COSTS = "/api/v1/costs"
ONE, TWO = UUID(int=1, version=4), UUID(int=2, version=4)


@pytest.fixture
def spent(deployment: Deployment) -> datetime:
    """Two hours of two machines of one account, up to now: one runs, one is gone; and an hour of another account's."""
    now = deployment.clock.now()
    begin = now - timedelta(hours=2)

    def charge(id_: str, **changes: Any) -> Charge:
        return evolve(Charge("main", "vastai", id_, begin, ONE, InstanceState.RUNNING, 3.0), **changes)

    for number, id_ in ((1, "7"), (2, "8")):
        deployment.session(number, instance_id=id_)
        deployment.track(id_, UUID(int=number, version=4), first_seen_at=begin, gone_at=now if id_ == "8" else None)
    deployment.track("9", account="dock", provider="tensordock")
    half = begin + timedelta(hours=1)
    changed = [
        charge("7", ended_at=half),
        charge("7", started_at=half, usd_per_hour=1.0),
        charge("8", session_id=TWO, ended_at=half, estimated=True),
    ]
    deployment.store.run_sync(charges.save, "main", changed)
    other = charge("9", account="dock", provider="tensordock", session_id=None, usd_per_hour=None, started_at=half)
    deployment.store.run_sync(charges.save, "dock", [other])
    for account in ("main", "dock"):
        deployment.store.run_sync(meta.put, f"complete:{account}", [now.isoformat()])
    return begin


async def told(client: Client, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"{COSTS}?{query}")
    assert response.status == 200, await response.text()
    items: list[dict[str, Any]] = (await response.json())["items"]
    return items


async def test_accounts_tell_what_they_cost_this_month(client: Client, spent: datetime) -> None:
    dock, main = await told(client)
    assert (main["account"], main["cost_usd"], main["estimated_usd"]) == ("main", 7.0, 3.0)
    assert (main["session_id"], main["instance_id"], main["machine_seconds"]) == (None, None, 3 * 3600)
    assert (main["unpriced"], dock["unpriced"], dock["cost_usd"]) == (False, True, 0.0)


async def test_sessions_and_instances_tell_their_own(client: Client, spent: datetime) -> None:
    by_session = {row["session_id"]: row["cost_usd"] for row in await told(client, "by=session&account=main")}
    assert by_session == {str(ONE): 4.0, str(TWO): 3.0}
    by_instance = {row["instance_id"]: row["cost_usd"] for row in await told(client, "by=instance")}
    assert by_instance == {"7": 4.0, "8": 3.0, "9": 0.0}
    assert [row["cost_usd"] for row in await told(client, f"by=session&session={TWO}")] == [3.0]


async def test_what_is_read_in_many_pieces_comes_to_the_same(
    client: Client, spent: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for by in ("account", "session", "instance"):
        whole = await told(client, f"by={by}")
        with monkeypatch.context() as patch:
            patch.setattr("shopperd.web.costs.PIECE", 1)
            assert await told(client, f"by={by}") == whole


async def test_a_machine_that_nobody_has_seen_since_is_not_told(client: Client, spent: datetime) -> None:
    assert await told(client, "since=2030-01-01T00:00:00Z&until=2030-02-01T00:00:00Z") == []


async def test_a_time_cuts_what_lies_over_its_ends(client: Client, spent: datetime) -> None:
    since, until = (spent + timedelta(minutes=minutes) for minutes in (30, 90))
    query = f"account=main&since={since.isoformat()}&until={until.isoformat()}".replace("+00:00", "Z")
    (main,) = await told(client, query)
    assert main["cost_usd"] == pytest.approx(1.5 + 0.5 + 1.5)


async def test_a_time_in_which_nothing_was_rented_cost_nothing(client: Client, spent: datetime) -> None:
    assert await told(client, "since=2020-01-01T00:00:00Z&until=2020-02-01T00:00:00Z") == []


async def test_a_time_that_ends_before_it_begins_is_refused(client: Client, spent: datetime) -> None:
    response = await client.get(f"{COSTS}?since=2026-11-02T00:00:00Z&until=2026-11-01T00:00:00Z")
    assert response.status == 400
    (fault,) = (await response.json())["errors"]
    assert (fault["place"], "earlier than `since`" in fault["detail"]) == ("query.until", True)


async def test_an_end_alone_means_the_month_up_to_it(client: Client, spent: datetime) -> None:
    until = spent + timedelta(hours=1)
    month = until.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    dock_and_main = await told(client, f"until={until.isoformat()}".replace("+00:00", "Z"))
    assert {row["since"] for row in dock_and_main} == {f"{month:%Y-%m-%dT%H:%M:%SZ}"}
    assert await told(client, "until=2020-01-01T00:00:00Z") == []


async def test_pages_follow_one_another(client: Client, spent: datetime) -> None:
    seen, cursor = [], ""
    for _ in range(3):
        page = await (await client.get(f"{COSTS}?by=instance&limit=1{cursor}")).json()
        seen += [row["instance_id"] for row in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert (seen, page["next"]) == (["9", "7", "8"], None)


async def test_a_cursor_of_another_list_is_refused(client: Client, spent: datetime) -> None:
    page = await (await client.get(f"{COSTS}?by=instance&limit=1")).json()
    assert (await client.get(f"{COSTS}?by=account&cursor={page['next']}")).status == 400


async def test_sessions_machines_and_accounts_say_what_they_have_cost(client: Client, spent: datetime) -> None:
    session = await (await client.get(f"/api/v1/sessions/{ONE}")).json()
    assert (session["cost_usd"], session["burn_per_hour"]) == (4.0, 1.0)
    over = await (await client.get(f"/api/v1/sessions/{TWO}")).json()
    assert (over["cost_usd"], over["burn_per_hour"]) == (3.0, 0.0)
    machines = (await (await client.get("/api/v1/instances?account=main")).json())["items"]
    assert [(one["id"], one["cost_usd"], one["burn_per_hour"]) for one in machines] == [("7", 4.0, 1.0)]
    status = await (await client.get("/api/v1/status")).json()
    assert status["cost_month_usd"] == sum(one["cost_month_usd"] for one in status["accounts"]) == 7.0
    assert status["cost_today_usd"] == pytest.approx(7.0), "the clock begins at ten in the evening"
    explained = await (await client.get("/api/v1/instances/main/7/explain")).json()
    assert (explained["instance"]["cost_usd"], explained["session"]["cost_usd"]) == (4.0, 4.0)


async def test_accounts_tell_what_is_billed_without_having_looked_themselves(client: Client, spent: datetime) -> None:
    accounts = (await (await client.get("/api/v1/status")).json())["accounts"]
    told = {account["name"]: (account["burn_per_hour"], account["billed_per_hour"]) for account in accounts}
    assert told["main"] == (0.5, 0.5)


def damage(deployment: Deployment, statement: str) -> None:
    """Change the store behind the daemon's back, and have it forget what it kept."""

    def fail(_: sa.Connection) -> None:
        raise ValueError("so that what is kept of the store is forgotten")

    deployment.store.run_sync(lambda conn: conn.exec_driver_sql(statement).close())
    with pytest.raises(ValueError, match="forgotten"):
        deployment.store.run_sync(fail)


async def test_costs_that_cannot_be_added_up_take_nothing_else_from_the_status(
    client: Client, deployment: Deployment, spent: datetime
) -> None:
    damage(deployment, "ALTER TABLE charges RENAME COLUMN usd TO cents")
    status = await (await client.get("/api/v1/status")).json()
    assert status["cost_month_usd"] is None
    assert {account["name"]: account["instances"] for account in status["accounts"]} == {"main": 1, "dock": 1}


@pytest.mark.parametrize("column", ["state", "started_at", "session_id"])
async def test_a_damaged_charge_costs_itself_and_nothing_else(
    client: Client, deployment: Deployment, spent: datetime, column: str
) -> None:
    damage(deployment, f"UPDATE charges SET {column} = 'damaged' WHERE instance_id = '7' AND ended_at IS NULL")  # noqa: S608
    for path in ("sessions", "instances", f"sessions/{ONE}", "instances/main/7/explain", "status", "orphans"):
        assert (await client.get(f"/api/v1/{path}")).status == 200
    rows = {row["instance_id"]: row["cost_usd"] for row in await told(client, "by=instance")}
    assert rows == {"7": 3.0, "8": 3.0, "9": 0.0}
    assert deployment.store.problem is None


async def test_one_that_is_over_and_damaged_costs_itself_too(
    client: Client, deployment: Deployment, spent: datetime
) -> None:
    damage(deployment, "UPDATE charges SET state = 'humming' WHERE instance_id = '8'")
    rows = {row["instance_id"]: row["cost_usd"] for row in await told(client, "by=instance")}
    assert rows == {"7": 4.0, "9": 0.0}
    assert (await client.get(f"/api/v1/sessions/{TWO}")).status == 200


async def test_what_is_not_new_is_not_sent_again(client: Client, deployment: Deployment, spent: datetime) -> None:
    tag = (await client.get("/api/v1/sessions")).headers["ETag"]
    deployment.clock.advance(5)
    assert (await client.get("/api/v1/sessions", headers={"If-None-Match": tag})).status == 304
