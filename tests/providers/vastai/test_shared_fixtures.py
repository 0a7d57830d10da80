"""Answers that others recorded, kept outside of this repository: read all of them where they are at hand."""

import contextlib
from pathlib import Path

import pytest

from shopperd.providers.contract import AuthFailed, BadAnswer, OfferFilter, OfferUnavailable, ProviderError, Refused
from shopperd.providers.vastai import wire
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.vastai.recordings import Recording, account, read
from tests.providers.vastai.test_adapter import REQUEST

FOLDER = Path(__file__).parents[3].parent / "shared" / "fixtures" / "vastai"
FILES = sorted(FOLDER.glob("*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="the recorded answers of others are not at hand")


def of(prefix: str) -> list[Path]:
    return [path for path in FILES if path.stem.startswith(prefix)]


def name(path: Path) -> str:
    return path.stem


async def outcome(recording: Recording, clock: FakeClock, metrics: Metrics) -> object:
    """What the call that was recorded comes to."""
    vast, _ = account(clock, metrics, recording.reply)
    try:
        match recording.operation:
            case "search_offers":
                return await vast.list_offers(OfferFilter())
            case "list_instances":
                return await vast.list_all_instances()
            case "show_instance":
                return await vast.get_instance_status("1")
            case "create":
                return await vast.create_instance(REQUEST)
            case "destroy":
                return await vast.destroy_instance("1")
            case _:
                return await vast.create_instance(REQUEST)
    except ProviderError as error:
        return error


@pytest.mark.parametrize("path", FILES, ids=name)
async def test_no_recorded_answer_is_too_strange(path: Path, clock: FakeClock, metrics: Metrics) -> None:
    assert await outcome(read(path), clock, metrics) is not NotImplemented


@pytest.mark.parametrize("path", of("offers_"), ids=name)
async def test_every_recorded_row_is_an_offer_or_has_a_reason(path: Path, clock: FakeClock, metrics: Metrics) -> None:
    reply = read(path).reply
    body = wire.decode(reply.body)
    rows = body.get("offers") if isinstance(body, dict) else None
    vast, _ = account(clock, metrics, reply)
    if not isinstance(rows, list):
        with pytest.raises(BadAnswer):
            await vast.list_offers(OfferFilter())
        return
    market = await vast.list_offers(OfferFilter())
    ids = {row.get("id") for row in rows}
    assert len(market) + sum(market.rejected.values()) >= len(ids)
    assert market.partial is (len(rows) == 64)
    assert all(offer.gpu_count > 0 and offer.price_per_hour > 0 for offer in market)


@pytest.mark.parametrize("path", of("list_instances_v0"), ids=name)
async def test_what_the_retired_list_says_is_never_a_complete_snapshot(
    path: Path, clock: FakeClock, metrics: Metrics
) -> None:
    vast, _ = account(clock, metrics, read(path).reply)
    with contextlib.suppress(BadAnswer):
        assert not (await vast.list_all_instances()).complete


@pytest.mark.parametrize(
    ("prefix", "error"),
    [
        ("error_200_v0_list_deprecated", BadAnswer),
        ("error_410_v0_list_deprecated", BadAnswer),
        ("error_404_bad_key", AuthFailed),
        ("error_403_no_header", AuthFailed),
        ("list_instances_v1_no_list", BadAnswer),
    ],
)
async def test_a_failed_listing_is_never_an_empty_account(
    prefix: str, error: type[ProviderError], clock: FakeClock, metrics: Metrics
) -> None:
    for path in of(prefix):
        vast, _ = account(clock, metrics, read(path).reply)
        with pytest.raises(error):
            await vast.list_all_instances()


@pytest.mark.parametrize(
    ("part", "error"),
    [("no_such_ask", OfferUnavailable), ("insufficient_credit", Refused), ("create_args", Refused)],
)
async def test_recorded_refusals_are_certain(
    part: str, error: type[ProviderError], clock: FakeClock, metrics: Metrics
) -> None:
    paths = [path for path in FILES if part in path.stem]
    assert paths
    for path in paths:
        assert type(await outcome(read(path), clock, metrics)) is error
