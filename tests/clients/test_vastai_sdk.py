"""The official Python clients against the simulator: `VastAI`, `SyncClient` and `AsyncClient`."""

from collections.abc import Awaitable, Callable

import pytest

from tests.clients.programs import Caller, ClientError, Clients, Ledger

pytestmark = pytest.mark.clients

VERIFIED = {"verified": {"eq": True}, "rentable": {"eq": True}, "rented": {"eq": False}}


@pytest.fixture
async def sdk(clients: Clients) -> Caller:
    return await clients.caller("vastai", "vastai_sdk")


@pytest.fixture(params=["vastai_sync", "vastai_async"])
def client(clients: Clients, request: pytest.FixtureRequest) -> Callable[..., Awaitable[Caller]]:
    """Starts one of the two clients, with the key that is asked for."""

    async def start(key: str = "a-good-key") -> Caller:
        return await clients.caller("vastai", request.param, clients.vastai_url, key=key)

    return start


# --- VastAI -------------------------------------------------------------------------------------------------


async def test_the_sdk_finds_rents_lists_changes_and_destroys(sdk: Caller, ledger: Ledger) -> None:
    query = "gpu_name=RTX_4090 num_gpus=1 disk_space>=40"
    offers = await sdk.call("search_offers", query=query, order="dph_total", limit=3, storage=20)
    assert [row["gpu_name"] for row in offers] == ["RTX 4090"] * 3
    made = await sdk.call(
        "create_instance", offers[0]["id"], image="ubuntu:22.04", disk=20, label="fleet-a", env={"A": "1"}
    )
    assert made["success"] is True
    instance_id = made["new_contract"]
    [row] = await sdk.call("show_instances")
    assert (row["id"], row["label"], row["extra_env"]) == (instance_id, "fleet-a", {"A": "1"})
    assert (await sdk.call("show_instance", instance_id))["label"] == "fleet-a"
    await sdk.call("label_instance", instance_id, "fleet-b")
    await sdk.call("stop_instance", instance_id)
    assert (await sdk.call("show_instance", instance_id))["intended_status"] == "stopped"
    await sdk.call("start_instance", instance_id)
    await sdk.call("reboot_instance", instance_id)
    assert (await sdk.call("show_instance", instance_id))["label"] == "fleet-b"
    await sdk.call("destroy_instance", instance_id)
    assert await sdk.call("show_instance", instance_id) is None
    assert await sdk.call("show_instances") == []
    done = [effect.partition(":")[0] for effect in await ledger.effects()]
    assert done == ["created", "labelled", "stopped", "started", "rebooted", "destroyed"]


async def test_the_sdk_rents_and_destroys_several(sdk: Caller, ledger: Ledger) -> None:
    offers = await sdk.call("search_offers", query="num_gpus=1 disk_space>=40", order="dph_total", limit=60)
    # Two offers of one machine may share a GPU, and then only one of them can be rented.
    [first, second] = list({row["machine_id"]: row["id"] for row in offers}.values())[:2]
    await sdk.call("create_instances", [first, second], image="ubuntu:22.04", label="fleet")
    rented = [int(instance_id) for instance_id in await ledger.existing()]
    assert len(rented) == 2
    await sdk.call("destroy_instances", rented)
    assert await ledger.existing() == []
    assert "POST /api/v0/asks/bulk/ 200" in await ledger.requests()


async def test_the_sdk_pages_by_hand(sdk: Caller, ledger: Ledger) -> None:
    made = [await ledger.conjure(provider="vastai", tag="fleet") for _ in range(30)]
    first = await sdk.call("show_instances_v1", {"limit": 25})
    assert (len(first["instances"]), first["total_instances"], first["label_counts"]) == (25, 30, {"fleet": 30})
    rest = await sdk.call("show_instances_v1", {"limit": 25, "after_token": first["next_token"]})
    assert rest["next_token"] is None
    assert [str(row["id"]) for row in first["instances"] + rest["instances"]] == made


async def test_the_sdk_sees_credit_and_charges(sdk: Caller, ledger: Ledger) -> None:
    await ledger.conjure(provider="vastai", tag="fleet", age_seconds=3600, price_per_hour=2.0)
    assert (await sdk.call("show_user"))["credit"] == pytest.approx(9998, abs=0.1)
    assert await sdk.call("show_pending_price_increases")


async def test_the_sdk_raises_where_the_provider_refuses(clients: Clients) -> None:
    sdk = await clients.caller("vastai", "vastai_sdk", key="bad-key")
    with pytest.raises(ClientError, match="401"):
        await sdk.call("show_instances")


# --- SyncClient and AsyncClient -----------------------------------------------------------------------------


async def test_a_client_searches_rents_and_destroys(client: Callable[..., Awaitable[Caller]], ledger: Ledger) -> None:
    caller = await client()
    query = {**VERIFIED, "num_gpus": {"eq": 1}, "disk_space": {"gte": 40}}
    offers = await caller.call("search", query, type_="on-demand", order=[["dph_total", "asc"]], limit=2)
    assert len(offers) == 2
    assert offers[0]["dph_total"] <= offers[1]["dph_total"]
    row = await caller.call("create_instance", offers[0]["id"], image="ubuntu:22.04", disk=20.0, label="fleet")
    assert (row["label"], row["gpu_name"]) == ("fleet", offers[0]["gpu_name"])
    assert [seen["id"] for seen in await caller.call("show_instances")] == [row["id"]]
    await caller.call("destroy_instance", row["id"])
    assert await caller.call("show_instances") == []
    assert await ledger.effects() == [f"created:{row['id']}", f"destroyed:{row['id']}"]
    assert f"DELETE /api/v0/instances/{row['id']}/ 200" in await ledger.requests()


async def test_a_client_lists_every_page(client: Callable[..., Awaitable[Caller]], ledger: Ledger) -> None:
    made = [await ledger.conjure(provider="vastai", tag="fleet") for _ in range(26)]
    rows = await (await client()).call("show_instances")
    assert [str(row["id"]) for row in rows] == made
    assert await ledger.requests() == ["GET /api/v1/instances/ 200"] * 2


async def test_a_client_with_a_bad_key_is_refused(client: Callable[..., Awaitable[Caller]]) -> None:
    with pytest.raises(ClientError, match="401"):
        await (await client("bad-key")).call("show_instances")


async def test_a_client_cannot_destroy_what_is_gone(client: Callable[..., Awaitable[Caller]], ledger: Ledger) -> None:
    instance_id = await ledger.conjure(provider="vastai", tag="fleet")
    caller = await client()
    await caller.call("destroy_instance", int(instance_id))
    with pytest.raises(ClientError, match="404"):
        await caller.call("destroy_instance", int(instance_id))
    assert await ledger.effects() == [f"destroyed:{instance_id}"]
