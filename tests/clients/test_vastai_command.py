"""The official `vastai` command against the simulator: what it prints, and what the ledger says that it did."""

import re
from typing import Any

import pytest

from tests.clients.programs import Clients, Ledger, Ran

pytestmark = pytest.mark.clients

EVERYTHING = ("search", "offers", "rentable=any", "--no-default", "--limit", "5000", "--storage", "20", "--raw")


def refused(ran: Ran, status: int) -> str:
    """The words of a refusal: on standard error, while the exit code says nothing."""
    said = [line for line in ran.err.splitlines() if line.startswith("Failed with error")]
    assert said, ran
    match = re.fullmatch(r"Failed with error (\d+): (.*)", said[0])
    assert match
    assert int(match[1]) == status
    return match[2]


async def cheapest(clients: Clients, *words: str) -> dict[str, Any]:
    found = await clients.vastai("search", "offers", *words, "--order", "dph_total", "--limit", "1", "--raw")
    offers = found.json
    assert len(offers) == 1
    row: dict[str, Any] = offers[0]
    return row


async def rent(clients: Clients, *words: str, count: int = 1) -> list[str]:
    """Rent the cheapest single-GPU offers with enough disk; answers the instances' ids."""
    ids = []
    for _ in range(count):
        offer = await cheapest(clients, "num_gpus=1 disk_space>=40")
        made = await clients.vastai("create", "instance", str(offer["id"]), "--image", "ubuntu:22.04", *words, "--raw")
        ids.append(str(made.json["new_contract"]))
    return ids


async def show(clients: Clients, instance_id: str) -> dict[str, Any]:
    row: dict[str, Any] = (await clients.vastai("show", "instance", instance_id, "--raw")).json
    return row


# --- the market ---------------------------------------------------------------------------------------------


async def test_a_search_finds_the_rows_that_fit_its_filters_and_no_others(clients: Clients, ledger: Ledger) -> None:
    everything = (await clients.vastai(*EVERYTHING)).json
    filters = "gpu_name=RTX_4090 num_gpus<=4 gpu_ram>=23 reliability>0.9 geolocation in [US,CA,DE,SE] dph_total<5"
    words = ("search", "offers", filters, "--no-default", "--order", "dph_total", "--limit", "500", "--storage", "20")
    found = (await clients.vastai(*words, "--raw")).json

    def fits(row: dict[str, Any]) -> bool:
        return (
            row["gpu_name"] == "RTX 4090"
            and row["num_gpus"] <= 4
            and row["gpu_ram"] >= 23_000
            and row["reliability"] > 0.9
            and (row["geolocation"] or "").endswith(("US", "CA", "DE", "SE"))
            and row["dph_total"] < 5
        )

    assert [row["id"] for row in found] == [
        row["id"] for row in sorted(filter(fits, everything), key=lambda row: float(row["dph_total"]))
    ]
    assert 3 <= len(found) < len(everything)
    assert await ledger.requests() == ["POST /api/v0/bundles/ 200"] * 2


async def test_a_search_is_cut_at_its_limit(clients: Clients) -> None:
    found = (await clients.vastai("search", "offers", "--limit", "5", "--raw")).json
    assert len(found) == 5
    assert all(row["verification"] == "verified" and row["rentable"] for row in found)


async def test_the_price_follows_the_storage_that_is_asked_for(clients: Clients) -> None:
    query = ("search", "offers", "disk_space>500", "--order", "dph_base", "--limit", "1", "--raw")
    small = (await clients.vastai(*query, "--storage", "10")).json[0]
    large = (await clients.vastai(*query, "--storage", "500")).json[0]
    assert small["id"] == large["id"]
    more = small["storage_cost"] * 490 / 720
    assert large["dph_total"] - small["dph_total"] == pytest.approx(more, abs=1e-6)


@pytest.mark.parametrize("new", [(), ("--new",)], ids=["bundles", "asks"])
async def test_an_interruptible_search_prices_an_offer_at_its_least_bid(
    clients: Clients, ledger: Ledger, new: tuple[str, ...]
) -> None:
    query = ("search", "offers", "num_gpus=1", "--limit", "500", "--storage", "10", "--raw", *new)
    asked = {row["id"]: row for row in (await clients.vastai(*query, "--type", "on-demand")).json}
    bids = {row["id"]: row for row in (await clients.vastai(*query, "--type", "bid")).json}
    assert asked.keys() == bids.keys()
    for offer_id, row in bids.items():
        disk = row["storage_cost"] * 10 / 720
        assert row["dph_total"] == pytest.approx(row["min_bid"] + disk, abs=1e-6)
        assert asked[offer_id]["dph_total"] == pytest.approx(asked[offer_id]["dph_base"] + disk, abs=1e-6)
    path = "PUT /api/v0/search/asks/" if new else "POST /api/v0/bundles/"
    assert await ledger.requests() == [f"{path} 200"] * 2


async def test_a_search_for_people_prints_a_table(clients: Clients) -> None:
    ran = await clients.vastai("search", "offers", "num_gpus=1 gpu_name=RTX_4090", "--limit", "3")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("RTX_4090") == 3


# --- machines -----------------------------------------------------------------------------------------------


async def test_a_rented_machine_carries_its_label_and_environment(clients: Clients, ledger: Ledger) -> None:
    offer = await cheapest(clients, "num_gpus=1 disk_space>=40")
    made = await clients.vastai(
        *("create", "instance", str(offer["id"]), "--image", "ubuntu:22.04", "--disk", "20", "--ssh", "--direct"),
        *("--label", "fleet-a", "--env", "-e A=1 -e B=two -p 8000:8000", "--onstart-cmd", "echo hi", "--raw"),
    )
    assert made.json["success"] is True
    instance_id = str(made.json["new_contract"])
    rows = (await clients.vastai("show", "instances", "--raw")).json
    assert [str(row["id"]) for row in rows] == [instance_id]
    assert rows[0]["label"] == "fleet-a"
    assert rows[0]["extra_env"] == {"A": "1", "B": "two", "-p 8000:8000": "1"}
    assert rows[0]["image_uuid"] == "ubuntu:22.04"
    assert rows[0]["onstart"] == "echo hi"
    assert (rows[0]["gpu_name"], rows[0]["num_gpus"]) == (offer["gpu_name"], 1)
    assert (rows[0]["actual_status"], rows[0]["disk_space"], rows[0]["is_bid"]) == ("running", 20.0, False)
    truth = (await ledger.instances())[instance_id]
    assert (truth["provider"], truth["tag"], truth["state"]) == ("vastai", "fleet-a", "running")
    assert rows[0]["dph_total"] == pytest.approx(truth["price_per_hour"])
    assert await ledger.effects() == [f"created:{instance_id}"]


async def test_an_offer_that_is_taken_cannot_be_rented_again(clients: Clients, ledger: Ledger) -> None:
    offer = str((await cheapest(clients, "num_gpus=1"))["id"])
    words = ("create", "instance", offer, "--image", "ubuntu:22.04")
    assert "Started." in (await clients.vastai(*words)).out
    again = await clients.vastai(*words)
    assert again.code == 0
    assert "no_such_ask" in refused(again, 400)
    assert len(await ledger.existing()) == 1


async def test_the_instances_table_counts_and_filters_by_label(clients: Clients, ledger: Ledger) -> None:
    for label in ("fleet-a", "fleet-a", "fleet-b"):
        await ledger.conjure(provider="vastai", tag=label, state="running")
    everything = await clients.vastai("show", "instances", "--no-color")
    assert everything.code == 0
    assert "3 instances" in everything.out
    assert "fleet-a: 2" in everything.out
    assert "fleet-b: 1" in everything.out
    some = await clients.vastai("show", "instances", "--label", "fleet-a", "--status", "running", "--raw")
    assert [row["label"] for row in some.json] == ["fleet-a", "fleet-a"]
    assert "GET /api/v0/instances/filters/ 200" in await ledger.requests()


async def test_more_machines_than_fit_a_page_are_all_listed_once(clients: Clients, ledger: Ledger) -> None:
    made = [await ledger.conjure(provider="vastai", tag=f"fleet-{n}") for n in range(60)]
    rows = (await clients.vastai("show", "instances", "--raw")).json
    assert [str(row["id"]) for row in rows] == made
    assert await ledger.requests() == ["GET /api/v1/instances/ 200"] * 3


async def test_a_machine_is_relabelled_stopped_started_rebooted_and_destroyed(clients: Clients, ledger: Ledger) -> None:
    [instance_id] = await rent(clients, "--label", "before")
    await clients.vastai("label", "instance", instance_id, "after")
    assert (await show(clients, instance_id))["label"] == "after"
    await clients.vastai("stop", "instance", instance_id)
    stopped = await show(clients, instance_id)
    assert (stopped["intended_status"], stopped["cur_state"]) == ("stopped", "stopped")
    assert stopped["actual_status"] in ("exited", "stopped")
    await clients.vastai("start", "instance", instance_id)
    assert (await show(clients, instance_id))["actual_status"] == "running"
    await clients.vastai("reboot", "instance", instance_id)
    await clients.vastai("destroy", "instance", instance_id, "-y")
    assert await show(clients, instance_id) == {"instances": None}
    assert (await clients.vastai("show", "instances", "--raw")).json == []
    assert await ledger.existing() == []
    done = [effect.partition(":")[0] for effect in await ledger.effects()]
    assert done == ["created", "labelled", "stopped", "started", "rebooted", "destroyed"]


async def test_a_machine_that_is_gone_cannot_be_destroyed_again(clients: Clients) -> None:
    [instance_id] = await rent(clients)
    assert (await clients.vastai("destroy", "instance", instance_id, "-y")).err == ""
    again = await clients.vastai("destroy", "instance", instance_id, "-y")
    assert again.code == 0
    assert "not found" in refused(again, 404)
    gone = await clients.vastai("show", "instance", instance_id)
    assert gone.code == 1
    assert "no longer exists" in gone.out + gone.err


async def test_several_machines_are_destroyed_at_once_and_the_rest_stays(clients: Clients, ledger: Ledger) -> None:
    first, second, third = [await ledger.conjure(provider="vastai", tag="fleet") for _ in range(3)]
    await clients.vastai("destroy", "instances", first, third, "-y")
    assert await ledger.existing() == [second]
    assert await ledger.requests() == ["DELETE /api/v0/instances/ 200"]


async def test_a_bid_makes_a_machine_interruptible_and_can_be_changed(clients: Clients, ledger: Ledger) -> None:
    offer = await cheapest(clients, "num_gpus=1 min_bid>0")
    bid = str(round(offer["min_bid"] + 0.05, 3))
    words = ("create", "instance", str(offer["id"]), "--image", "ubuntu:22.04", "--bid_price", bid, "--raw")
    instance_id = str((await clients.vastai(*words)).json["new_contract"])
    row = await show(clients, instance_id)
    assert row["is_bid"] is True
    assert row["dph_base"] == pytest.approx(float(bid))
    await clients.vastai("change", "bid", instance_id, "--price", "0.9")
    assert (await show(clients, instance_id))["dph_base"] == pytest.approx(0.9)
    assert f"PUT /api/v0/instances/bid_price/{instance_id}/ 200" in await ledger.requests()


async def test_an_on_demand_machine_has_no_bid_to_change(clients: Clients) -> None:
    [instance_id] = await rent(clients)
    refused(await clients.vastai("change", "bid", instance_id, "--price", "0.9"), 400)
    assert (await show(clients, instance_id))["is_bid"] is False


async def test_a_bid_that_is_too_low_is_refused_and_leaves_a_stopped_machine(clients: Clients, ledger: Ledger) -> None:
    offer = await cheapest(clients, "num_gpus=1 min_bid>0.01")
    words = ("create", "instance", str(offer["id"]), "--image", "ubuntu:22.04", "--bid_price", "0.005")
    refused(await clients.vastai(*words), 400)
    [instance_id] = await ledger.existing()
    assert (await ledger.instances())[instance_id]["state"] != "running"


async def test_a_public_key_is_attached_to_a_machine(clients: Clients, ledger: Ledger) -> None:
    [instance_id] = await rent(clients, "--ssh")
    await clients.vastai("attach", "ssh", instance_id, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE somebody")
    assert f"key:{instance_id}" in await ledger.effects()


# --- the account --------------------------------------------------------------------------------------------


async def test_the_user_has_credit_and_the_key_is_not_shown(clients: Clients) -> None:
    user = (await clients.vastai("show", "user", "--raw")).json
    assert user["credit"] > 0
    assert "api_key" not in user


async def test_a_machine_that_ran_shows_in_the_charges(clients: Clients, ledger: Ledger) -> None:
    instance_id = await ledger.conjure(provider="vastai", tag="fleet", age_seconds=7200, price_per_hour=0.5)
    words = ("show", "invoices-v1", "--charges", "--limit", "5", "--raw")
    [row] = (await clients.vastai(*words)).json["results"]
    assert row["source"] == f"instance-{instance_id}"
    assert row["amount"] == pytest.approx(1.0, abs=0.01)
    assert row["metadata"]["label"] == "fleet"


async def test_an_account_without_machines_has_no_charges(clients: Clients) -> None:
    words = ("show", "invoices-v1", "--charges", "--limit", "5", "--raw")
    assert (await clients.vastai(*words)).json["results"] == []


async def test_an_api_key_is_made_and_the_audit_log_is_read(clients: Clients) -> None:
    permissions = clients.home / "permissions.json"
    permissions.write_text('{"api": {"misc": {}, "instance_read": {}}}')
    made = await clients.vastai("create", "api-key", "--name", "reader", "--permission_file", str(permissions))
    assert made.code == 0
    assert made.err == ""
    assert (await clients.vastai("show", "audit-logs", "--raw")).json == []


# --- keys and troubles --------------------------------------------------------------------------------------


async def test_a_bad_key_is_refused(clients: Clients) -> None:
    ran = await clients.vastai("show", "instances", "--raw", key="bad-key")
    assert ran.code == 0
    assert '"status_code": 401' in ran.err
    assert "Invalid user key" in ran.err


async def test_a_key_that_may_only_read_lists_but_changes_nothing(clients: Clients, ledger: Ledger) -> None:
    instance_id = await ledger.conjure(provider="vastai", tag="fleet")
    rows = (await clients.vastai("show", "instances", "--raw", key="readonly-key")).json
    assert [str(row["id"]) for row in rows] == [instance_id]
    refused(await clients.vastai("destroy", "instance", instance_id, "-y", key="readonly-key"), 403)
    assert await ledger.existing() == [instance_id]


async def test_the_command_sends_a_create_again_when_its_answer_is_lost(clients: Clients, ledger: Ledger) -> None:
    """It is told that the offer is gone, while a machine runs and bills: what an account needs a daemon for."""
    offer = str((await cheapest(clients, "num_gpus=1"))["id"])
    await ledger.switch_on("create_answer_lost", provider="vastai", count=1)
    ran = await clients.vastai("create", "instance", offer, "--image", "ubuntu:22.04")
    assert "no_such_ask" in refused(ran, 400)
    assert len(await ledger.existing()) == 1
    sent = [line for line in await ledger.requests() if line.startswith("PUT /api/v0/asks/")]
    assert sent == [f"PUT /api/v0/asks/{offer}/ None", f"PUT /api/v0/asks/{offer}/ 400"]


async def test_the_command_gets_through_a_short_burst_of_refusals(clients: Clients, ledger: Ledger) -> None:
    instance_id = await ledger.conjure(provider="vastai", tag="fleet")
    await ledger.switch_on("rate_limited", provider="vastai", operation="list", count=1)
    rows = (await clients.vastai("show", "instances", "--raw")).json
    assert [str(row["id"]) for row in rows] == [instance_id]
    assert await ledger.requests() == ["GET /api/v1/instances/ 429", "GET /api/v1/instances/ 200"]
