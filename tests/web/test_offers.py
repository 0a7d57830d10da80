"""The market over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from shopperd.gpu_prices import GpuPrices, MarketPrices
from shopperd.store import prices
from tests.web.conftest import Client
from tests.web.deployment import Deployment, offer

OFFERS = "/api/v1/offers"
FIELDS = {
    *("id", "provider", "provider_id", "account", "gpu", "gpu_count", "vram_gb", "price_per_hour", "location"),
    *("reliability", "verified", "available", "interruptible", "disk_gb", "age_seconds", "stale"),
}


@pytest.fixture
def market(deployment: Deployment) -> Deployment:
    deployment.offers(
        offer(1, 0.4),
        offer(2, 0.9, gpu="A100 SXM", vram_gb=80, location="Quebec, CA", reliability=None),
        offer(3, 3.0, gpu="A100 PCIe", vram_gb=40, gpu_count=4, location="Ohio, US", reliability=0.9),
        offer(4, 0.1, id="vastai-4-bid", interruptible=True),
    )
    deployment.offers(
        offer(
            5,
            0.3,
            id="tensordock-5",
            provider="tensordock",
            account="dock",
            gpu="RTX 3060",
            vram_gb=None,
            location="Frankfurt, Hesse, Germany",
            reliability=None,
        ),
        account="dock",
    )
    return deployment


async def ids(client: Client, query: str) -> list[str]:
    response = await client.get(f"{OFFERS}?{query}")
    document = await response.json()
    assert response.status == 200, document
    return [item["id"].removeprefix("vastai-").removeprefix("tensordock-") for item in document["items"]]


async def test_all_markets_are_one_cheapest_first(client: Client, market: Deployment) -> None:
    market.clock.advance(7)
    document = await (await client.get(OFFERS)).json()
    assert [item["id"] for item in document["items"]] == ["tensordock-5", "vastai-1", "vastai-2", "vastai-3"]
    assert all(item.keys() == FIELDS for item in document["items"])
    assert {(item["age_seconds"], item["stale"]) for item in document["items"]} == {(7.0, False)}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("gpu=rtx_4090", ["1"]),
        ("gpu=a100", ["2", "3"]),
        ("gpu=A100+80GB", ["2"]),
        ("gpu=H100", []),
        ("gpu_count=4", ["3"]),
        ("min_vram_gb=40", ["2", "3"]),
        ("max_price_per_hour=0.4", ["5", "1"]),
        ("provider=tensordock", ["5"]),
        ("account=main", ["1", "2", "3"]),
        ("provider=nobody", []),
        ("location=DE", ["5"]),
        ("location=de", ["5"]),
        ("location=ca", ["2"]),
        ("location=quebec", ["2"]),
        ("location=ede", ["1"]),
        ("interruptible=true", ["4-bid"]),
        ("interruptible=any&gpu=RTX+4090", ["4-bid", "1"]),
        ("sort=-price", ["3", "2", "1", "5"]),
        ("sort=reliability", ["3", "1", "5", "2"]),
        ("sort=-reliability", ["1", "3", "5", "2"]),
        ("sort=gpu", ["3", "2", "5", "1"]),
        ("sort=-vram", ["2", "3", "1", "5"]),
        ("sort=-gpu_count", ["3", "5", "1", "2"]),
        ("sort=location&limit=2", ["5", "3"]),
        ("limit=1", ["5"]),
    ],
)
async def test_offers_are_filtered_and_sorted(client: Client, market: Deployment, query: str, found: list[str]) -> None:
    assert await ids(client, query) == found


@pytest.mark.parametrize("sort", ["price", "-price", "reliability", "-reliability", "gpu", "vram", "location"])
async def test_pages_follow_each_other_in_any_order(client: Client, market: Deployment, sort: str) -> None:
    whole = await (await client.get(OFFERS, params={"sort": sort})).json()
    pages, cursor = [], None
    while True:
        page = await (
            await client.get(OFFERS, params={"sort": sort, "limit": "1"} | ({"cursor": cursor} if cursor else {}))
        ).json()
        pages += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == whole["items"]


@pytest.mark.parametrize("query", ["sort=age", "sort=", "interruptible=maybe", "gpu_count=0", "max_price_per_hour=-1"])
async def test_wishes_that_make_no_sense_are_refused(client: Client, query: str) -> None:
    assert (await client.get(f"{OFFERS}?{query}")).status == 400


async def test_a_cursor_serves_the_order_that_it_came_from(client: Client, market: Deployment) -> None:
    cursor = (await (await client.get(f"{OFFERS}?limit=1")).json())["next"]
    assert (await client.get(OFFERS, params={"cursor": cursor})).status == 200
    assert (await client.get(OFFERS, params={"cursor": cursor, "sort": "gpu"})).status == 400


async def test_a_machine_that_two_accounts_see_is_one_offer_of_the_fresher_list(
    client: Client, deployment: Deployment
) -> None:
    deployment.offers(offer(1, 0.4), offer(2, 0.5))
    deployment.clock.advance(5)
    deployment.offers(offer(1, 0.6, account="dock"), account="dock")
    document = await (await client.get(OFFERS)).json()
    assert [(item["id"], item["account"]) for item in document["items"]] == [("vastai-2", "main"), ("vastai-1", "dock")]
    assert len((await (await client.get(f"{OFFERS}?account=main")).json())["items"]) == 2


async def test_an_old_list_is_stale(client: Client, market: Deployment) -> None:
    market.clock.advance(3 * 60 + 31)
    assert all(item["stale"] for item in (await (await client.get(OFFERS)).json())["items"])


async def test_a_list_whose_refresh_failed_is_stale_at_once(client: Client, market: Deployment) -> None:
    market.context.accounts["dock"].market.stale = True
    document = await (await client.get(OFFERS)).json()
    assert {item["account"]: item["stale"] for item in document["items"]} == {"dock": True, "main": False}


async def test_without_a_market_there_are_no_offers(client: Client) -> None:
    assert await (await client.get(OFFERS)).json() == {"items": [], "next": None}


@pytest.fixture
def history(deployment: Deployment) -> Deployment:
    """Prices of both accounts, each minute, the newest just now."""
    h100 = GpuPrices("H100 SXM", False, 3, 2.0, 2.0, 2.5, 3.0)
    spot = evolve(h100, interruptible=True, least=0.5)
    for minute in range(4):
        at = deployment.clock.now() - timedelta(minutes=minute)
        for account in ("main", "dock"):
            read = MarketPrices(
                account, at, account == "dock", (h100, spot, evolve(h100, gpu="RTX 4090", offers=minute))
            )
            deployment.store.run_sync(prices.record, read)
    return deployment


async def told(client: Client, query: str = "") -> list[dict[str, Any]]:
    response = await client.get(f"{OFFERS}/history?{query}")
    document = await response.json()
    assert response.status == 200, document
    return list(document["items"])


async def test_prices_are_told_as_they_were_read_oldest_first(client: Client, history: Deployment) -> None:
    items = await told(client, "gpu=h100&account=main")
    assert len(items) == 4
    newest = items[-1]
    assert newest["at"] == history.clock.now().isoformat().replace("+00:00", "Z")
    assert newest | {"at": None} == {
        "at": None,
        "account": "main",
        "partial": False,
        "gpus": [
            {
                "gpu": "H100 SXM",
                "interruptible": False,
                "offers": 3,
                "least": 2.0,
                "p10": 2.0,
                "p50": 2.5,
                "p90": 3.0,
            }
        ],
    }
    assert [item["at"] for item in items] == sorted(item["at"] for item in items)


@pytest.mark.parametrize(
    ("query", "accounts", "gpus"),
    [
        ("", 8, ["H100 SXM", "RTX 4090"]),
        ("provider=tensordock", 4, ["H100 SXM", "RTX 4090"]),
        ("provider=tensordock&account=main", 0, []),
        ("interruptible=any&gpu=H100&account=main", 4, ["H100 SXM", "H100 SXM"]),
        ("interruptible=true&account=main", 4, ["H100 SXM"]),
        ("gpu=A100&account=main", 4, []),
        ("step=1d&account=main&limit=1", 1, ["H100 SXM", "RTX 4090"]),
    ],
)
async def test_prices_can_be_chosen(
    client: Client, history: Deployment, query: str, accounts: int, gpus: list[str]
) -> None:
    items = await told(client, query)
    assert len(items) == accounts
    assert all([each["gpu"] for each in item["gpus"]] == gpus for item in items)


async def test_prices_of_a_day_are_told_unless_another_time_is_asked_for(client: Client, history: Deployment) -> None:
    history.clock.advance(86400 - 90)
    assert len(await told(client, "account=main")) == 2
    assert len(await told(client, "account=main&since=2000-01-01T00:00:00Z")) == 4
    assert await told(client, "account=main&until=2000-01-01T00:00:00Z") == []


async def test_prices_come_in_pages(client: Client, history: Deployment) -> None:
    first = await (await client.get(f"{OFFERS}/history?limit=5")).json()
    second = await (await client.get(f"{OFFERS}/history?limit=5&cursor={first['next']}")).json()
    assert first["items"] + second["items"] == await told(client)
    assert second["next"] is None
    refused = await client.get(f"{OFFERS}/history?cursor=x")
    assert refused.status == 400
