"""The worked example of docs/providers.md is found by its entry point and keeps the contract."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from shopperd import settings_accounts
from shopperd.model import InstanceState
from shopperd.providers import registry
from shopperd.providers.contract import OfferFilter
from shopperd.providers.registry import ProviderUnusable, open_provider
from shopperd.settings import AccountSettings
from shopperd.settings_file import load
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.conformance import CHECKS, Check, name_of
from tests.providers.pebble import plug_in
from tests.providers.pebble.marketplace import pebble_harness

LINES_MAX = 150


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a package with this entry point were installed."""
    points = EntryPoints([EntryPoint("pebble", f"{plug_in.__name__}:open_pebble", registry.GROUP)])
    for module in (registry, settings_accounts):
        monkeypatch.setattr(module, "entry_points", lambda *, group: points.select(group=group))


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
async def test_the_contract_holds(check: Check) -> None:
    async with pebble_harness() as harness:
        await check(harness)


async def test_a_listing_that_does_not_add_up_is_not_complete() -> None:
    async with pebble_harness() as harness:
        await harness.add_machine(None)
        harness.pebble.unlisted = 1
        snapshot = await harness.provider.list_all_instances()
        assert (snapshot.complete, snapshot.reason, len(snapshot.instances)) == (False, "count_mismatch", 1)


async def test_a_bad_row_of_the_market_costs_itself_alone_and_is_counted() -> None:
    async with pebble_harness() as harness:
        harness.pebble.offers += [{"id": "o4", "gpu": "H200", "gpus": 0, "usd_per_hour": 2.9}, None]
        offers = await harness.provider.list_offers(OfferFilter())
        assert [offer.provider_id for offer in offers] == ["o3", "o1", "o2"]
        assert offers.rejected == {"bad_row": 2}


async def test_offers_are_found_by_country_in_any_case() -> None:
    async with pebble_harness() as harness:
        found = {place: await harness.provider.list_offers(OfferFilter(location=place)) for place in ("se", "SE", "DE")}
        assert [len(offers) for offers in found.values()] == [1, 1, 0]


def test_a_missing_secret_is_said(clock: FakeClock, metrics: Metrics) -> None:
    with pytest.raises(ProviderUnusable, match=r"accounts\.main needs token_env or token_file"):
        open_provider(AccountSettings("main", "pebble"), deployment="", secrets={}, clock=clock, metrics=metrics)


def test_its_account_is_accepted_in_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[accounts.pebble]\ntoken_env = "PEBBLE_TOKEN"\n')
    assert load(path, {"PEBBLE_TOKEN": "a-token"}).accounts["pebble"].provider == "pebble"


async def test_a_machine_tells_what_the_heart_wants_to_know() -> None:
    async with pebble_harness() as harness:
        await harness.add_machine(None)
        [machine] = (await harness.provider.list_all_instances()).instances
        assert (machine.state, machine.price_per_hour) == (InstanceState.RUNNING, 0.41)
        assert machine.started_at == datetime(2026, 11, 22, 20, 0, tzinfo=UTC)


def test_it_is_as_short_as_the_page_says() -> None:
    assert len(inspect.getsource(plug_in).splitlines()) < LINES_MAX
