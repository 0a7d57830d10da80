"""The kill switch and jobs on demand."""

from shopperd.jobs.knowledge import FROZEN_KEY
from shopperd.store import meta
from tests.web.conftest import Client
from tests.web.deployment import Deployment


async def test_freezing_is_durable_and_can_be_lifted(client: Client, deployment: Deployment) -> None:
    response = await client.post("/api/v1/freeze", json={"reason": "a drill"})
    assert (response.status, await response.json()) == (200, {"frozen": True, "reason": "a drill"})
    assert deployment.store.run_sync(meta.get, FROZEN_KEY)
    response = await client.post("/api/v1/unfreeze", json={"reason": "over"})
    assert (response.status, await response.json()) == (200, {"frozen": False, "reason": "over"})
    assert not deployment.store.run_sync(meta.get, FROZEN_KEY)
    assert not deployment.context.frozen


async def test_a_reason_must_be_given(client: Client, deployment: Deployment) -> None:
    for path in ("freeze", "unfreeze", "accounts/main/trust"):
        for body in ({}, {"reason": ""}, {"reason": 7}, {"reason": "x" * 1001}, {"why": "x"}):
            assert (await client.post(f"/api/v1/{path}", json=body)).status == 400
    assert not deployment.context.frozen


async def test_a_job_is_asked_to_run_for_all_accounts_or_one(client: Client) -> None:
    response = await client.post("/api/v1/jobs/status/run")
    assert (response.status, await response.json()) == (202, {"job": "status", "account": None, "runs": 2})
    response = await client.post("/api/v1/jobs/offers/run", json={"account": "dock"})
    assert (response.status, await response.json()) == (202, {"job": "offers", "account": "dock", "runs": 1})


async def test_a_job_or_account_that_is_not_there_is_not_found(client: Client) -> None:
    response = await client.post("/api/v1/jobs/laundry/run")
    assert response.status == 404
    assert "housekeeping, offers, status" in (await response.json())["detail"]
    assert (await client.post("/api/v1/jobs/status/run", json={"account": "nobody"})).status == 404
    assert (await client.post("/api/v1/jobs/housekeeping/run", json={"account": "main"})).status == 404
