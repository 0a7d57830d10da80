"""The whole daemon, from a listing to a verified destroy, on all three dialects."""

import asyncio
import functools
import shutil
import socket
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve

from shopperd.daemon import Daemon
from shopperd.providers.limiter import Blocks, Endpoint
from shopperd.settings import AccountSettings, OrphanSettings, SettingsError, WebSettings
from tests.daemon.house import (
    SSH_KEY,
    Api,
    alive,
    destroys,
    dock,
    quick_settings,
    ready,
    running,
    simulated,
    until,
    vast,
    with_orphans,
)
from tests.web.truth import Truth


def in_state(api: Api, session_id: str, *states: str):  # type: ignore[no-untyped-def]
    async def check() -> bool:
        return await api.state(session_id) in states

    return check


async def test_an_address_that_is_taken_is_told_by_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            OSError, match=rf"web\.listen: cannot listen at {listen} \(Address already in use\); is another"
        ):
            async with running(quick_settings(web=WebSettings(listen=listen)), tmp_path):
                pass


@pytest.mark.parametrize("dialect", ["vast", "dock-v2", "dock-v0"])
async def test_a_session_reaches_running_is_ended_and_proven_gone(dialect: str, tmp_path: Path) -> None:
    async with simulated() as simulator:
        account = vast(simulator) if dialect == "vast" else dock(simulator, dialect.removeprefix("dock-"))
        async with running(quick_settings(account), tmp_path) as (_, api):
            await ready(api)
            made = await api.create(dialect, wait=10)
            await until(in_state(api, made["id"], "running"), "the session runs")
            (machine,) = alive(simulator)
            assert machine["tag"] == made["tag"]
            shown = await api.get(f"/sessions/{made['id']}")
            assert shown["instance_id"] == machine["id"]
            assert shown["price_per_hour"] > 0
            await api.end(made["id"])
            await until(in_state(api, made["id"], "ended"), "the session is over")
            assert alive(simulator) == []
            assert len(destroys(simulator)) == 1
            kinds = [event["kind"] for event in (await api.get(f"/sessions/{made['id']}"))["events"]]
            assert kinds.index("create.requested") < kinds.index("create.accepted")
            assert kinds.index("destroy.recorded") < kinds.index("destroy.requested")
            assert kinds[-1] in ("session.ended", "destroy.verified")


@pytest.mark.parametrize("dialect", ["vast", "dock-v2", "dock-v0"])
async def test_a_machine_of_an_ended_session_is_destroyed_and_a_foreign_one_stays(dialect: str, tmp_path: Path) -> None:
    async with simulated() as simulator:
        account = vast(simulator) if dialect == "vast" else dock(simulator, dialect.removeprefix("dock-"))
        provider = account.provider
        simulator.world.conjure({"provider": provider, "tag": "my own machine"})
        async with running(quick_settings(account), tmp_path) as (_, api):
            await ready(api)
            made = await api.ask("POST", "/api/v1/sessions/register", {"account": dialect}, expect=201)
            await api.end(made["id"])
            simulator.world.conjure({"provider": provider, "tag": made["tag"]})

            async def only_the_foreign_one() -> bool:
                return [machine["tag"] for machine in alive(simulator)] == ["my own machine"]

            await until(only_the_foreign_one, "the orphan is gone")
            assert len(destroys(simulator)) == 1
            (item,) = (await api.get("/instances?ownership=foreign"))["items"]
            assert item["tag"] == "my own machine"
            kinds = [event["kind"] for event in (await api.get("/events?limit=1000"))["items"]]
            assert "orphan.detected" in kinds
            assert 'shopperd_orphans_detected_total{account="' + dialect in await api.metrics()


async def test_a_listing_that_lies_causes_no_act(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        async with running(settings, tmp_path) as (daemon, api):
            await ready(api)
            made = [await api.create("vast", wait=10) for _ in range(3)]
            for one in made:
                await until(in_state(api, one["id"], "running"), "they run")
            simulator.world.switch_on("list_empty", provider="vastai", count=20)
            before = daemon.context.metrics.snapshots_total.labels("vast", "vastai", "complete")._value.get()

            async def lied_to() -> bool:
                now = daemon.context.metrics.snapshots_total.labels("vast", "vastai", "complete")._value.get()
                return now > before + 22

            await until(lied_to, "all lies were heard")
            assert [await api.state(one["id"]) for one in made] == ["running"] * 3
            assert destroys(simulator) == []
            assert len(alive(simulator)) == 3


async def test_what_a_running_daemon_answers_is_as_its_own_description_says(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        await ready(api)
        made = await api.create("vast")
        await until(in_state(api, made["id"], "running"), "it runs")
        machine = (await api.get(f"/sessions/{made['id']}"))["instance_id"]
        document = await api.get("/openapi.json")
        filled = {"{account}": "vast", "/sessions/{id}": f"/sessions/{made['id']}", "{id}": machine}
        truth, asked = Truth(document), 0
        for path, methods in document["paths"].items():
            if "get" not in methods or not path.startswith("/api/"):
                continue
            url = functools.reduce(lambda text, each: text.replace(*each), filled.items(), path)
            async with api.session.get(f"{api.url}{url}") as response:
                assert response.status == 200, url
                await truth.check(response, path)
                asked += 1
        assert asked >= 12


async def test_a_lost_create_answer_rents_once_and_is_found_by_its_tag(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        await ready(api)
        simulator.world.switch_on("create_answer_lost", provider="vastai", count=1)
        made = await api.create("vast")
        await until(in_state(api, made["id"], "running"), "it is found")
        assert [machine["tag"] for machine in alive(simulator)] == [made["tag"]]
        kinds = [event["kind"] for event in (await api.get(f"/sessions/{made['id']}"))["events"]]
        # Whether the loss is noticed before the listing that finds it is a matter of moments.
        assert kinds.count("create.requested") == kinds.count("session.bound") == 1
        assert "create.accepted" not in kinds


async def test_a_create_that_never_arrived_fails_after_its_deadline(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        settings = evolve(settings, sessions=evolve(settings.sessions, create_deadline=1.0))
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            simulator.world.switch_on("create_dropped", provider="vastai", count=1)
            made = await api.create("vast")
            await until(in_state(api, made["id"], "failed"), "it fails")
            assert alive(simulator) == []


async def test_a_destroy_that_does_nothing_is_repeated_until_the_machine_is_gone(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        await ready(api)
        made = await api.create("vast", wait=10)
        await until(in_state(api, made["id"], "running"), "it runs")
        simulator.world.switch_on("destroy_ignored", provider="vastai", count=2)
        await api.end(made["id"])
        await until(in_state(api, made["id"], "ended"), "it is over")
        assert alive(simulator) == []
        assert len(destroys(simulator)) == 3


async def test_a_restart_is_a_no_op_for_machines(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            made = await api.create("vast", wait=10)
            await until(in_state(api, made["id"], "running"), "it runs")
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            assert await api.state(made["id"]) == "running"
        assert [machine["tag"] for machine in alive(simulator)] == [made["tag"]]
        assert destroys(simulator) == []


async def test_what_was_learned_of_a_limit_survives_a_restart(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(dock(simulator))
        async with running(settings, tmp_path) as (daemon, api):
            await ready(api)
            limiter = daemon.context.accounts["dock-v2"].limiter
            assert limiter is not None
            ticket = await limiter.wait(Endpoint.LIST)
            limiter.sent(ticket)
            limiter.refused(ticket, threshold_seconds=0.2, blocks=Blocks.ENDPOINT)
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            limits = (await api.get("/accounts"))["items"][0]["limits"]
            assert limits["learned_from"]["list"] in ("threshold", "probing")
            assert 0.1 < limits["interval_seconds"]["list"] < 0.3


async def test_a_wrong_key_is_said_and_the_other_account_goes_on(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator, name="wrong", key="BAD"), vast(simulator))
        async with running(settings, tmp_path) as (_, api):

            async def told() -> bool:
                accounts = {row["name"]: row for row in (await api.get("/accounts"))["items"]}
                return accounts["wrong"]["reason"] == "auth" and accounts["vast"]["healthy"]

            await until(told, "both accounts are judged")
            assert (await api.ask("GET", "/readyz", expect=503)) is not None


async def test_an_account_that_never_answers_does_not_delay_another(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(dock(simulator), vast(simulator))
        async with running(settings, tmp_path) as (daemon, api):
            await ready(api)
            simulator.world.switch_on("slow", provider="tensordock", operation="list", probability=1.0, delay=60.0)
            for _ in range(5):
                seen = daemon.context.accounts["vast"].last_complete_at

                async def again(seen=seen) -> bool:  # type: ignore[no-untyped-def]
                    return daemon.context.accounts["vast"].last_complete_at != seen

                await until(again, "the quick account is seen again", seconds=3.0)


async def test_an_unknown_tag_is_held_and_reported(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        await ready(api)
        tag = "shopper-11111111-2222-4333-8444-555555555555"
        simulator.world.conjure({"provider": "vastai", "tag": tag})

        async def held() -> bool:
            items = (await api.get("/orphans"))["items"]
            return [(row["kind"], row["phase"], row["hold_reason"]) for row in items] == [
                ("unknown", "held", "not_exclusive")
            ]

        await until(held, "it is held")
        assert destroys(simulator) == []


async def test_nothing_is_destroyed_or_created_while_frozen(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (daemon, api):
        await ready(api)
        made = await api.create("vast", wait=10)
        await until(in_state(api, made["id"], "running"), "it runs")
        await api.ask("POST", "/api/v1/freeze", {"reason": "test"}, expect=200)
        await api.end(made["id"])
        await api.ask("POST", "/api/v1/sessions", {"account": "vast", "max_price_per_hour": 50}, expect=409)

        async def held() -> bool:
            kinds = [event["kind"] for event in (await api.get(f"/sessions/{made['id']}"))["events"]]
            return "destroy.held" in kinds

        await until(held, "the destroy is held")
        assert len(alive(simulator)) == 1
        await api.ask("POST", "/api/v1/unfreeze", {"reason": "test"}, expect=200)
        await until(in_state(api, made["id"], "ended"), "it goes on")
        assert alive(simulator) == []
        assert not daemon.context.frozen


async def test_report_mode_destroys_nothing(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = with_orphans(quick_settings(vast(simulator)), mode="report")
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            made = await api.ask("POST", "/api/v1/sessions/register", {"account": "vast"}, expect=201)
            await api.end(made["id"])
            simulator.world.conjure({"provider": "vastai", "tag": made["tag"]})

            async def held() -> bool:
                return [row["hold_reason"] for row in (await api.get("/orphans"))["items"]] == ["report_mode"]

            await until(held, "it is reported")
            assert destroys(simulator) == []


async def test_an_expired_session_is_ended_and_its_machine_destroyed(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        await ready(api)
        made = await api.create("vast", wait=10, lifetime=1)
        await until(in_state(api, made["id"], "ended"), "it expires")
        assert (await api.get(f"/sessions/{made['id']}"))["reason"] == "expired"
        assert alive(simulator) == []


async def test_a_machine_that_vanishes_makes_its_session_lost(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        await ready(api)
        made = await api.create("vast", wait=10)
        await until(in_state(api, made["id"], "running"), "it runs")
        simulator.world.switch_on("machine_vanishes", provider="vastai", count=1)
        await until(in_state(api, made["id"], "lost"), "it is lost")


async def test_a_new_store_only_looks_at_first(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        settings = evolve(settings, orphans=OrphanSettings(grace=0.0, observe_sweeps=10_000))
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            made = await api.ask("POST", "/api/v1/sessions/register", {"account": "vast"}, expect=201)
            await api.end(made["id"])
            simulator.world.conjure({"provider": "vastai", "tag": made["tag"]})

            async def held() -> bool:
                return [row["hold_reason"] for row in (await api.get("/orphans"))["items"]] == ["observing"]

            await until(held, "it is only looked at")
            assert destroys(simulator) == []


async def test_two_daemons_cannot_share_a_store(tmp_path: Path) -> None:
    from shopperd.store import StoreLocked

    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        async with running(settings, tmp_path):
            with pytest.raises(StoreLocked):
                async with running(settings, tmp_path):
                    raise AssertionError("a second daemon runs on the store")


async def test_stopping_waits_for_a_create_in_flight(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            simulator.world.switch_on("create_slow", provider="vastai", count=1, delay=0.7)
            made = await api.create("vast")

            async def asked() -> bool:
                return len(alive(simulator)) == 1

            await until(asked, "the request is on its way")
        async with running(settings, tmp_path) as (_, api):
            shown = await api.get(f"/sessions/{made['id']}")
            assert shown["instance_id"] == alive(simulator)[0]["id"]
            assert destroys(simulator) == []
            await asyncio.sleep(0)


async def test_a_session_that_ends_before_any_listing_held_its_machine_is_over_soon(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        settings = evolve(settings, sessions=evolve(settings.sessions, create_deadline=3600.0))
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            simulator.world.switch_on("server_error", provider="vastai", operation="list", seconds=1.0)
            made = await api.create("vast", wait=10)
            await api.end(made["id"])
            await until(in_state(api, made["id"], "ended"), "it is over")
            assert alive(simulator) == []


async def test_a_restored_store_does_not_end_sessions_that_were_extended_after_the_backup(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(vast(simulator))
        store, backup = tmp_path / "shopperd.db", tmp_path / "backup.db"
        async with running(settings, tmp_path) as (_, api):
            await ready(api)
            made = await api.create("vast", wait=10, lifetime=3)
            await until(in_state(api, made["id"], "running"), "it runs")
        shutil.copy(store, backup)
        async with running(settings, tmp_path) as (_, api):
            await api.ask("POST", f"/api/v1/sessions/{made['id']}/extend", {"lifetime": 3600}, expect=200)
        for file in tmp_path.glob("shopperd.db-*"):
            file.unlink()
        shutil.copy(backup, store)
        async with running(settings, tmp_path) as (daemon, api):
            await ready(api)
            due = datetime.fromisoformat(made["expires_at"])

            async def long_past() -> bool:
                seen = daemon.context.accounts["vast"].last_complete_at
                return seen is not None and seen > due + timedelta(seconds=2)

            await until(long_past, "the old deadline is long past")
            assert await api.state(made["id"]) == "running"
            assert destroys(simulator) == []
            kinds = [event["kind"] for event in (await api.get("/events?limit=1000"))["items"]]
            assert "store.restored" in kinds


@pytest.mark.parametrize("dialect", ["vast", "dock-v2", "dock-v0"])
async def test_a_fresh_store_destroys_nothing_that_is_older_than_itself(dialect: str, tmp_path: Path) -> None:
    async with simulated() as simulator:
        account = vast(simulator) if dialect == "vast" else dock(simulator, dialect.removeprefix("dock-"))
        account = evolve(account, exclusive=True)
        tag = "shopper-11111111-2222-4333-8444-555555555555"
        simulator.world.conjure({"provider": account.provider, "tag": tag, "age_seconds": 86400})
        async with running(quick_settings(account), tmp_path) as (_, api):
            await ready(api)

            async def held() -> bool:
                return [row["hold_reason"] for row in (await api.get("/orphans"))["items"]] == ["memory_broken"]

            await until(held, "it is held")
            assert destroys(simulator) == []


async def test_an_unknown_machine_that_comes_under_our_eyes_goes_from_an_exclusive_account(tmp_path: Path) -> None:
    async with simulated() as simulator:
        account = evolve(dock(simulator), exclusive=True)
        settings = quick_settings(account)
        async with running(settings, tmp_path) as (daemon, api):
            await ready(api)
            await _watched(daemon, account.name, settings.orphans)
            tag = "shopper-11111111-2222-4333-8444-555555555555"
            simulator.world.conjure({"provider": "tensordock", "tag": tag})

            async def gone() -> bool:
                return alive(simulator) == []

            await until(gone, "it is destroyed")


async def _watched(daemon: Daemon, account: str, rules: OrphanSettings) -> None:
    """Wait until so many complete snapshots lie inside the memory that what comes now is known to be new."""
    at = daemon.context.accounts[account]
    inside: set[datetime] = set()
    begins_at = at.last_complete_at
    assert begins_at is not None

    async def enough() -> bool:
        assert at.last_complete_at is not None
        if at.last_complete_at - begins_at > timedelta(seconds=rules.grace):
            inside.add(at.last_complete_at)
        return len(inside) >= rules.sightings

    await until(enough, "the account has been watched for a while")


async def test_a_create_for_any_account_passes_by_those_that_cannot_rent(tmp_path: Path) -> None:
    async with simulated() as simulator:
        settings = quick_settings(
            evolve(vast(simulator), budget_per_hour=0.0001), vast(simulator, "wrong", "BAD"), dock(simulator)
        )
        async with running(settings, tmp_path) as (daemon, api):
            await until(lambda: _markets(daemon, "vast", "dock-v2"), "both markets are read")
            body = {"max_price_per_hour": 50, "ssh_key": SSH_KEY}
            made = await api.ask("POST", "/api/v1/sessions", body, expect=201)
            assert made["account"] == "dock-v2"
            told = await api.ask("POST", "/api/v1/sessions", {"max_price_per_hour": 50}, expect=409)
            assert "budget" in told["detail"]
            assert "ssh_key_required" in told["detail"]
            told = await api.ask("POST", "/api/v1/sessions", body | {"account": "wrong"}, expect=409)
            assert "auth" in told["detail"]


async def _markets(daemon: Daemon, *names: str) -> bool:
    return all(daemon.context.accounts[name].market.index.offers for name in names)


async def test_a_create_answered_with_somebody_elses_machine_binds_nothing_of_theirs(tmp_path: Path) -> None:
    async with simulated() as simulator, running(quick_settings(vast(simulator)), tmp_path) as (_, api):
        theirs = simulator.world.conjure({"provider": "vastai", "tag": "my own machine"})
        await ready(api)

        async def known() -> bool:
            return bool((await api.get("/instances?ownership=foreign"))["items"])

        await until(known, "the foreign machine is known")
        simulator.world.switch_on("create_of_another_tag", provider="vastai", count=1)
        made = await api.create("vast", wait=10)
        await api.end(made["id"])

        async def settled() -> bool:
            return [machine["tag"] for machine in alive(simulator)] == ["my own machine"] or len(
                destroys(simulator)
            ) > 0

        await until(settled, "it has settled")
        assert not any(theirs["id"] in request for request in destroys(simulator))


async def test_a_reload_that_fails_for_one_account_changes_nothing_for_any(tmp_path: Path) -> None:
    async with simulated() as simulator:
        before = quick_settings(vast(simulator))
        async with running(before, tmp_path) as (daemon, api):
            await ready(api)
            at = daemon.context.accounts["vast"]
            strange = AccountSettings("strange", "a-marketplace-that-nobody-knows")
            changed = evolve(before, accounts={"vast": evolve(at.settings, exclusive=True), "strange": strange})
            with pytest.raises(SettingsError, match=r"accounts\.strange"):
                daemon.reload(changed)
            assert daemon.context.accounts == {"vast": at}
            assert daemon.context.settings is before
            daemon.reload(evolve(before, accounts={"vast": evolve(at.settings, exclusive=True)}))
            assert daemon.context.accounts["vast"].settings.exclusive
