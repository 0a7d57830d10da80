"""Sessions over HTTP."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from shopperd.jobs.knowledge import RESTORED_KEY
from shopperd.lifecycle import knows_deadline, moved
from shopperd.model import CreateOutcome, SessionState
from shopperd.store import Store, meta, sessions
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.web.conftest import Client, Serve
from tests.web.deployment import Deployment, make_deployment, offer

SESSIONS = "/api/v1/sessions"
FIELDS = {
    *("id", "account", "provider", "state", "tag", "instance_id", "offer_id", "gpu", "gpu_count", "price_per_hour"),
    *("created_at", "expires_at", "ended_at", "reason", "exempt", "cost_usd", "burn_per_hour"),
}
NOBODY = "00000000-0000-4000-8000-00000000dead"
WISH = {"gpu": "RTX 4090"}


async def created(client: Client, body: dict[str, Any] | None = None, **more: Any) -> Any:
    response = await client.post(SESSIONS, json=WISH if body is None else body, **more)
    assert response.status == 201, await response.text()
    return await response.json()


class TestCreate:
    async def test_a_wish_becomes_an_intent_with_the_cheapest_fitting_offer(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.offers(offer(1, 0.9), offer(2, 0.4), offer(3, 0.1, gpu="RTX 3060", vram_gb=12))
        response = await client.post(SESSIONS, json=WISH | {"lifetime": "12h", "env": {"SECRET": "hunter22"}})
        session = await response.json()
        assert response.status == 201
        assert response.headers["Location"] == f"{SESSIONS}/{session['id']}"
        assert session.keys() == FIELDS
        assert next(iter(session)) == "id"
        assert (session["state"], session["offer_id"]) == ("creating", "vastai-2")
        assert session["tag"] == f"shopper-{session['id']}"
        assert session["created_at"] == "2026-11-22T22:00:00Z"
        assert session["expires_at"] == "2026-11-23T10:00:00Z"
        assert "hunter22" not in await response.text()
        stored = deployment.store.run_sync(sessions.get, UUID(session["id"]))
        assert stored is not None
        assert stored.spec.env == {"SECRET": "hunter22"}
        assert ("creates", "main") in deployment.woken

    async def test_an_offer_can_be_named(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1, 0.9), offer(2, 0.4))
        assert (await created(client, {"offer_id": "vastai-1"}))["offer_id"] == "vastai-1"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({}, 400),
            ({"gpu_count": 14}, 409),
            ({"offer_id": "vastai-1", "gpu": "RTX 4090"}, 400),
            ({"offer_id": "vastai-99"}, 404),
            ({"gpu": "RTX 4090", "account": "nobody"}, 404),
            ({"gpu": "H100"}, 409),
            ({"gpu": "RTX 4090", "max_price_per_hour": 0.01}, 409),
        ],
    )
    async def test_what_cannot_be_rented_is_refused_and_leaves_nothing(
        self, client: Client, deployment: Deployment, body: dict[str, Any], status: int
    ) -> None:
        deployment.offers(offer(1))
        assert (await client.post(SESSIONS, json=body)).status == status
        assert deployment.store.run_sync(sessions.page).items == ()

    async def test_nothing_is_created_while_frozen(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        await client.post("/api/v1/freeze", json={"reason": "a drill"})
        response = await client.post(SESSIONS, json=WISH)
        assert response.status == 409
        assert "frozen" in (await response.json())["detail"]


class TestIdempotency:
    async def test_the_same_key_and_body_give_the_same_session(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1), offer(2))
        headers = {"Idempotency-Key": "job 7"}
        first = await client.post(SESSIONS, json={"gpu": "RTX 4090", "disk_gb": 10}, headers=headers)
        again = await client.post(SESSIONS, json={"disk_gb": 10, "gpu": "RTX 4090"}, headers=headers)
        assert (first.status, again.status) == (201, 201)
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await first.json() == await again.json()
        assert len(deployment.store.run_sync(sessions.page).items) == 1

    async def test_the_same_key_with_another_body_is_a_conflict(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        headers = {"Idempotency-Key": "job 7"}
        await client.post(SESSIONS, json=WISH, headers=headers)
        response = await client.post(SESSIONS, json=WISH | {"disk_gb": 10}, headers=headers)
        assert response.status == 409

    async def test_without_a_key_each_request_rents(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        assert (await created(client))["id"] != (await created(client))["id"]

    @pytest.mark.parametrize("key", ["", "x" * 256, "tab\tin it", "\u00fc"])
    async def test_a_key_that_is_none_is_refused(self, client: Client, deployment: Deployment, key: str) -> None:
        deployment.offers(offer(1))
        response = await client.post(SESSIONS, json=WISH, headers={"Idempotency-Key": key})
        assert response.status == 400
        assert "Idempotency-Key" in (await response.json())["detail"]

    async def test_the_longest_key_is_taken(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        await created(client, headers={"Idempotency-Key": "x" * 255})

    async def test_a_key_is_remembered_over_a_restart(
        self, serve: Serve, clock: FakeClock, metrics: Metrics, tmp_path: Path
    ) -> None:
        url = f"sqlite:///{tmp_path}/shopperd.db"
        headers = {"Idempotency-Key": "job 7"}
        found = []
        for number in range(2):
            store = Store.open(url, clock=clock, inline=True)
            deployment = make_deployment(store, FakeClock(seed=number), metrics)
            deployment.offers(offer(1))
            client = await serve(deployment)
            response = await client.post(SESSIONS, json=WISH, headers=headers)
            found.append(((await response.json())["id"], "Idempotency-Replayed" in response.headers))
            store.close_sync()
        assert found == [(found[0][0], False), (found[0][0], True)]


class TestWait:
    async def test_the_answer_waits_until_the_create_has_an_outcome(
        self, client: Client, deployment: Deployment
    ) -> None:
        deployment.offers(offer(1))
        waiting = asyncio.create_task(created(client, params={"wait": "5m"}))
        context = deployment.context
        while not (intents := context.store.run_sync(sessions.creating, "main")):
            await context.changes.wait()
        context.changes.tell()  # a change that has nothing to do with it
        session = intents[0]
        running = moved(evolve(session, instance_id="7"), SessionState.RUNNING, context.clock.now())
        context.store.run_sync(sessions.update, running)
        context.changes.tell()
        told = await waiting
        assert (told["state"], told["instance_id"]) == ("running", "7")

    async def test_it_does_not_wait_longer_than_asked(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        assert (await created(client, params={"wait": "0.01"}))["state"] == "creating"

    @pytest.mark.parametrize("wait", ["301", "-1", "long", "6m"])
    async def test_it_cannot_wait_for_ever(self, client: Client, deployment: Deployment, wait: str) -> None:
        deployment.offers(offer(1))
        assert (await client.post(SESSIONS, json=WISH, params={"wait": wait})).status == 400
        assert deployment.store.run_sync(sessions.page).items == ()

    async def test_a_server_that_closes_answers_those_who_wait(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        waiting = asyncio.create_task(created(client, params={"wait": "300"}))
        while not deployment.store.run_sync(sessions.creating, "main"):
            await deployment.context.changes.wait()
        app = client.app
        assert app is not None
        await app.shutdown()
        assert (await waiting)["state"] == "creating"


class TestRegister:
    async def test_a_session_expects_a_machine_under_its_tag(self, client: Client) -> None:
        body = {"account": "main", "id": "6D0C7F1E-8f0b-4c5e-9a55-1c9a3d1f0b7a", "lifetime": 60}
        response = await client.post(f"{SESSIONS}/register", json=body)
        session = await response.json()
        assert response.status == 201
        assert (session["state"], session["tag"]) == ("expected", "shopper-6d0c7f1e-8f0b-4c5e-9a55-1c9a3d1f0b7a")
        assert session["expires_at"] == "2026-11-22T22:01:00Z"

    async def test_an_id_is_made_if_none_is_given(self, client: Client) -> None:
        session = await (await client.post(f"{SESSIONS}/register", json={"account": "main"})).json()
        assert UUID(session["id"]).version == 4

    @pytest.mark.parametrize(
        ("body", "status"),
        [({}, 400), ({"account": "main", "id": "seven"}, 400), ({"account": "nobody"}, 404)],
    )
    async def test_what_makes_no_sense_is_refused(self, client: Client, body: dict[str, Any], status: int) -> None:
        assert (await client.post(f"{SESSIONS}/register", json=body)).status == status

    async def test_an_id_can_be_registered_once(self, client: Client) -> None:
        body = {"account": "main", "id": NOBODY}
        assert (await client.post(f"{SESSIONS}/register", json=body)).status == 201
        assert (await client.post(f"{SESSIONS}/register", json=body)).status == 409


class TestShow:
    async def test_one_session_comes_with_its_events(self, client: Client, deployment: Deployment) -> None:
        deployment.offers(offer(1))
        session = await created(client)
        deployment.event("other.thing")
        told = await (await client.get(f"{SESSIONS}/{session['id']}")).json()
        assert told.keys() == FIELDS | {"events"}
        assert [event["kind"] for event in told["events"]] == ["session.created"]

    async def test_an_exempt_machine_makes_its_session_exempt(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1, instance_id="7")
        deployment.track("7", session.id, exempt=True)
        other = deployment.session(2, instance_id="8")
        assert (await (await client.get(f"{SESSIONS}/{session.id}")).json())["exempt"]
        assert not (await (await client.get(f"{SESSIONS}/{other.id}")).json())["exempt"]

    @pytest.mark.parametrize("id_", [NOBODY, "7", "registered", "%00", "x" * 500])
    async def test_an_unknown_session_is_not_found(self, client: Client, id_: str) -> None:
        response = await client.get(f"{SESSIONS}/{id_}")
        assert response.status == 404
        assert response.content_type == "application/problem+json"


class TestList:
    async def test_pages_follow_each_other_without_a_gap(self, client: Client, deployment: Deployment) -> None:
        for number in range(1, 6):
            deployment.clock.advance(1)
            deployment.session(number)
        found, cursor = [], None
        while True:
            query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = await (await client.get(SESSIONS, params=query)).json()
            found.append([UUID(item["id"]).int & 0xFF for item in page["items"]])
            cursor = page["next"]
            if cursor is None:
                break
        assert found == [[5, 4], [3, 2], [1]]

    async def test_states_and_accounts_are_filtered(self, client: Client, deployment: Deployment) -> None:
        deployment.session(1, state=SessionState.RUNNING)
        deployment.session(2, state=SessionState.LOST)
        deployment.session(3, state=SessionState.ENDED, account="dock")
        for query, count in (
            ("state=running", 1),
            ("state=running,lost", 2),
            ("account=dock", 1),
            ("account=dock&state=lost", 0),
            ("", 3),
        ):
            page = await (await client.get(f"{SESSIONS}?{query}")).json()
            assert len(page["items"]) == count, query
            assert all(item.keys() == FIELDS for item in page["items"])


class TestEnd:
    async def test_an_ended_session_is_on_its_way_out(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1, instance_id="7")
        deployment.track("7", session.id)
        response = await client.post(f"{SESSIONS}/{session.id}/end", json={"reason": "done"})
        told = await response.json()
        assert (response.status, told["state"], told["reason"]) == (202, "ending", "done")
        assert ("destroys", "main") in deployment.woken

    async def test_no_body_is_needed_and_twice_is_once(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1, state=SessionState.EXPECTED)
        first = await client.post(f"{SESSIONS}/{session.id}/end")
        again = await client.post(f"{SESSIONS}/{session.id}/end")
        assert (first.status, again.status) == (202, 202)
        assert (await again.json())["state"] == "ended"

    async def test_an_unknown_session_cannot_be_ended(self, client: Client) -> None:
        assert (await client.post(f"{SESSIONS}/{NOBODY}/end")).status == 404


class TestExtend:
    @pytest.mark.parametrize("body", [{"lifetime": "1h"}, {"expires_at": "2026-11-23T00:00:00+01:00"}])
    async def test_a_deadline_is_moved(self, client: Client, deployment: Deployment, body: dict[str, str]) -> None:
        session = deployment.session(1)
        response = await client.post(f"{SESSIONS}/{session.id}/extend", json=body)
        assert response.status == 200
        assert (await response.json())["expires_at"] == "2026-11-22T23:00:00Z"

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"lifetime": "1h", "expires_at": "2026-11-23T00:00:00Z"},
            {"expires_at": "2026-11-23T00:00:00"},
            {"expires_at": "0001-01-01T00:00:00+14:00"},
            {"expires_at": 7},
        ],
    )
    async def test_a_deadline_that_makes_no_sense_is_refused(
        self, client: Client, deployment: Deployment, body: dict[str, Any]
    ) -> None:
        session = deployment.session(1)
        assert (await client.post(f"{SESSIONS}/{session.id}/extend", json=body)).status == 400

    async def test_a_deadline_that_has_passed_is_refused(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1)
        body = {"expires_at": "2020-01-01T00:00:00Z"}
        assert (await client.post(f"{SESSIONS}/{session.id}/extend", json=body)).status == 409

    async def test_what_is_over_cannot_be_extended(self, client: Client, deployment: Deployment) -> None:
        session = deployment.session(1, state=SessionState.ENDED)
        assert (await client.post(f"{SESSIONS}/{session.id}/extend", json={"lifetime": 9})).status == 409
        assert (await client.post(f"{SESSIONS}/{NOBODY}/extend", json={"lifetime": 9})).status == 404


class TestWhatPeersGotWrong:
    @pytest.mark.parametrize("outcome", [CreateOutcome.SENT, CreateOutcome.UNCLEAR])
    async def test_a_session_whose_create_is_open_is_not_over_when_it_is_ended(
        self, client: Client, deployment: Deployment, outcome: CreateOutcome
    ) -> None:
        session = deployment.session(1, state=SessionState.CREATING, create_outcome=outcome)
        response = await client.post(f"{SESSIONS}/{session.id}/end")
        assert (await response.json())["state"] == "ending"

    async def test_a_session_that_was_never_sent_is_over_when_it_is_ended(
        self, client: Client, deployment: Deployment
    ) -> None:
        session = deployment.session(1, state=SessionState.CREATING, create_outcome=CreateOutcome.NONE)
        response = await client.post(f"{SESSIONS}/{session.id}/end")
        assert (await response.json())["state"] == "ended"

    async def test_what_is_on_its_way_counts_towards_the_budget(self, client: Client, deployment: Deployment) -> None:
        at = deployment.context.accounts["main"]
        at.settings = evolve(at.settings, budget_per_hour=1.0)
        deployment.offers(offer(1, 0.4), offer(2, 0.4), offer(3, 0.4))
        assert [(await client.post(SESSIONS, json=WISH)).status for _ in range(3)] == [201, 201, 409]


@pytest.mark.parametrize("way", ["create", "register", "extend", "adopt", "adopt for one that waits"])
async def test_a_deadline_that_is_set_after_a_restore_is_known_though_the_clock_was_ahead_then(
    client: Client, deployment: Deployment, way: str
) -> None:
    store, now = deployment.store, deployment.clock.now()
    deployment.offers(offer(1))
    waiting = deployment.session(
        1, state=SessionState.EXPECTED if way.startswith("adopt for") else SessionState.RUNNING
    )
    deployment.track("7", waiting.id if way.startswith("adopt for") else UUID(int=2, version=4))
    store.run_sync(meta.put, RESTORED_KEY, (now + timedelta(hours=40)).isoformat())
    path, body = {
        "create": (SESSIONS, WISH | {"lifetime": "2h"}),
        "register": (f"{SESSIONS}/register", {"account": "main", "lifetime": "2h"}),
        "extend": (f"{SESSIONS}/{waiting.id}/extend", {"lifetime": "2h"}),
    }.get(way, ("/api/v1/instances/main/7/adopt", {"lifetime": "2h", "reason": "ours"}))
    response = await client.post(path, json=body)
    assert response.ok, await response.text()
    noted = store.run_sync(meta.get, RESTORED_KEY)
    assert isinstance(noted, str)
    (session,) = (one for one in store.run_sync(sessions.page).items if one.expires_at is not None)
    assert knows_deadline(session, datetime.fromisoformat(noted))
