"""gpuhunt, a price catalogue for many clouds, against the simulator: Vast.ai today, TensorDock's v0 market of old."""

import re

import pytest

from tests.clients.programs import Clients, Ledger

pytestmark = pytest.mark.clients


# --- Vast.ai ------------------------------------------------------------------------------------------------


async def test_gpuhunt_lists_vastai_offers_on_demand_and_interruptible(clients: Clients, ledger: Ledger) -> None:
    hunter = await clients.caller("gpuhunt", "gpuhunt_vastai", clients.vastai_url)
    items = await hunter.call("get", {})
    assert {row["provider"] for row in items} == {"vastai"}
    asked = {row["instance_name"]: row["price"] for row in items if not row["spot"]}
    bids = {row["instance_name"]: row["price"] for row in items if row["spot"]}
    assert asked
    assert bids.keys() <= asked.keys()
    # Without a key the market shows few of its rows.
    assert len(asked) <= 64
    assert await ledger.requests() == ["POST /api/v0/bundles/ 200"]


async def test_gpuhunt_finds_the_vastai_offers_that_fit_and_no_others(clients: Clients) -> None:
    hunter = await clients.caller("gpuhunt", "gpuhunt_vastai", clients.vastai_url)
    wanted = {"gpu_name": ["RTX4090"], "min_gpu_count": 1, "max_gpu_count": 2, "min_gpu_memory": 24, "max_price": 2}
    items = await hunter.call("get", {**wanted, "min_disk_size": 20})
    assert items
    assert {row["gpu_name"] for row in items} == {"RTX4090"}
    assert {row["gpu_count"] for row in items} <= {1, 2}
    assert all(row["gpu_memory"] >= 24 and row["disk_size"] == 20 for row in items)
    assert await hunter.call("get", {**wanted, "min_gpu_memory": 400}) == []


async def test_gpuhunt_asks_as_a_scheduler_does(clients: Clients) -> None:
    hunter = await clients.caller("gpuhunt", "gpuhunt_vastai", clients.vastai_url)
    filters = {
        "direct_port_count": {"gte": 1},
        "reliability2": {"gte": 0.9},
        "inet_down": {"gt": 128},
        "verified": {"eq": True},
        "cuda_max_good": {"gte": 12.0},
    }
    strict = await hunter.call("get", {}, filters, community_cloud=False, order=[["dph_base", "asc"]])
    prices = [row["price"] for row in strict if not row["spot"]]
    assert prices
    assert len(prices) <= len(await hunter.call("get", {}))


# --- TensorDock v0 ------------------------------------------------------------------------------------------


async def test_gpuhunt_lists_whole_tensordock_nodes(clients: Clients, ledger: Ledger) -> None:
    hunter = await clients.caller("gpuhunt-v0", "gpuhunt_tensordock", clients.tensordock_url)
    items = await hunter.call("get")
    assert items
    assert all(re.fullmatch(r"[0-9a-f-]{36}", row["instance_name"]) for row in items)
    assert all(row["price"] > 0 and row["gpu_count"] >= 1 and row["gpu_memory"] >= 8 for row in items)
    assert await ledger.requests() == ["GET /api/v0/client/deploy/hostnodes 200"]


async def test_gpuhunt_finds_the_tensordock_machines_that_fit_and_no_others(clients: Clients) -> None:
    hunter = await clients.caller("gpuhunt-v0", "gpuhunt_tensordock", clients.tensordock_url)
    wanted = {"gpu_name": ["RTX4090"], "min_gpu_count": 1, "max_gpu_count": 1, "min_memory": 16, "min_disk_size": 100}
    items = await hunter.call("get", wanted)
    assert items
    assert {(row["gpu_name"], row["gpu_count"], row["gpu_memory"]) for row in items} == {("RTX4090", 1, 24.0)}
    assert await hunter.call("get", {**wanted, "gpu_name": ["GTX1070"]}) == []
