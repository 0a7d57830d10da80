"""Offers, and what both dialects share."""

import pytest
from prometheus_client import CollectorRegistry

from shopperd.model import Ownership
from shopperd.providers.contract import BadAnswer, Feature, OfferFilter, ProviderError
from shopperd.providers.tensordock import TensorDock, open_tensordock
from shopperd.providers.tensordock.dialect import Order
from shopperd.providers.tensordock.sizing import Caps, Size, default_size
from shopperd.providers.transport import Reply
from shopperd.settings import AccountSettings
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.tensordock.account import (
    AUTH_ID,
    LOCATION,
    TAG,
    TOKEN,
    VM,
    account,
    answer,
    order,
    recording,
    recordings,
)

METHODS = ("offers", "list", "show", "create", "destroy")


async def called(provider: TensorDock, method: str, access: str) -> object:
    match method:
        case "offers":
            return await provider.list_offers(OfferFilter())
        case "list":
            return await provider.list_all_instances()
        case "show":
            return await provider.get_instance_status(VM)
        case "create":
            return await provider.create_instance(order(f"{LOCATION}:l4-pcie-24gb:1:8:32:100:{access}"))
        case _:
            await provider.destroy_instance(VM)
            return None


async def test_locations_become_offers_in_the_usual_numbers_cheapest_first() -> None:
    provider, _ = account("v2", "v2_locations")
    offers = await provider.list_offers(OfferFilter())
    assert [(offer.gpu, offer.gpu_count) for offer in offers] == [
        ("RTX A6000", 1),
        ("RTX 4090", 1),
        ("RTX 4090", 2),
        ("RTX 4090", 3),
        ("H100 SXM", 1),
        ("H100 SXM", 2),
        ("H100 SXM", 4),
        ("H100 SXM", 8),
    ]
    assert offers.rejected == {"no_stock": 1, "unpriced": 1, "no_access": 1, "too_small": 1}
    first = offers[1]
    assert first.id == f"tensordock-{LOCATION}-geforcertx4090-pcie-24gbx1"
    assert (first.vram_gb, first.location, first.account) == (24, "Austin, Texas, United States", "td")
    assert (first.reliability, first.verified, first.interruptible) == (None, None, False)


async def test_the_price_is_the_whole_machines() -> None:
    provider, _ = account("v2", "v2_locations")
    offers = await provider.list_offers(OfferFilter(gpu="rtx_4090", gpu_count=2))
    (offer,) = offers
    assert offer.price_per_hour == pytest.approx(2 * 0.37 + 16 * 0.0035 + 64 * 0.0025 + 100 * 0.00006)
    assert offer.provider_id.endswith(":2:16:64:100:ip")


async def test_the_machine_is_capped_by_what_the_place_has() -> None:
    provider, _ = account("v2", "v2_locations")
    (offer,) = await provider.list_offers(OfferFilter(gpu="RTX A6000"))
    assert offer.provider_id.endswith(":1:4:16:100:ip")
    assert offer.location == "Bremen, Germany"


@pytest.mark.parametrize(
    ("wish", "gpus"),
    [
        (OfferFilter(location="DE"), {"RTX A6000"}),
        (OfferFilter(location="germany"), {"RTX A6000"}),
        (OfferFilter(location="us", gpu_count=1), {"RTX 4090", "H100 SXM"}),
        (OfferFilter(location="FR"), set()),
        (OfferFilter(min_vram_gb=48), {"RTX A6000", "H100 SXM"}),
        (OfferFilter(max_price_per_hour=0.55), {"RTX A6000", "RTX 4090"}),
        (OfferFilter(gpu="H100 SXM"), {"H100 SXM"}),
        (OfferFilter(gpu_count=3), {"RTX 4090", "H100 SXM"}),
        (OfferFilter(min_reliability=0.1), set()),
        (OfferFilter(verified=True), set()),
    ],
    ids=repr,
)
async def test_every_condition_is_checked_on_our_side(wish: OfferFilter, gpus: set[str]) -> None:
    provider, _ = account("v2", "v2_locations")
    assert {offer.gpu for offer in await provider.list_offers(wish)} == gpus


async def test_an_unknown_gpu_is_kept_and_named() -> None:
    gpu = {
        "v0Name": "quantum9-pcie-512gb",
        "max_count": 1,
        "price_per_hr": 1,
        "pricing": {"per_vcpu_hr": 0, "per_gb_ram_hr": 0, "per_gb_storage_hr": 0},
    }
    provider, _ = account("v2", answer({"data": {"locations": [{"id": LOCATION, "gpus": [gpu, None, gpu]}]}}))
    offers = await provider.list_offers(OfferFilter())
    assert [offer.vram_gb for offer in offers] == [512]
    assert offers.unknown_gpus == ("quantum9-pcie-512gb",)
    assert offers.rejected == {"bad_row": 1, "duplicate_id": 1}
    assert offers[0].location is None


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": {"locations": {}}}, {"locations": []}, []], ids=repr)
async def test_a_market_of_another_shape_is_an_error(body: object) -> None:
    provider, _ = account("v2", answer(body))
    with pytest.raises(BadAnswer):
        await provider.list_offers(OfferFilter())


async def test_an_empty_market_is_an_error_and_never_no_stock() -> None:
    provider, _ = account("v2", "v2_locations_empty")
    with pytest.raises(BadAnswer, match="says nothing about the stock"):
        await provider.list_offers(OfferFilter())


async def test_places_that_have_nothing_are_no_error() -> None:
    provider, _ = account("v2", answer({"data": {"locations": [{"id": LOCATION, "gpus": []}]}}))
    assert len(await provider.list_offers(OfferFilter())) == 0


async def test_spot_offers_are_not_asked_for() -> None:
    provider, sender = account("v2", "v2_locations")
    assert len(await provider.list_offers(OfferFilter(interruptible=True))) == 0
    assert sender.requests == []


@pytest.mark.parametrize("api", ["v2", "v0"])
async def test_no_feature_is_claimed(api: str) -> None:
    provider, sender = account(api, "v2_show")
    assert [provider.supports_feature(feature) for feature in Feature] == [False, False, False]
    assert provider.name == "tensordock"
    await provider.close()
    assert sender.closed


async def test_a_deployments_tag_is_only_its_own() -> None:
    tag = TAG.replace("shopper-", "shopper-prod-")
    rows = [
        {"id": VM, "name": tag},
        {"id": "b", "name": TAG},
        {"id": "c", "name": tag + " "},
        {"id": "d", "name": None},
    ]
    provider, _ = account("v2", answer({"data": rows}), deployment="prod")
    owners = [each.ownership for each in (await provider.list_all_instances()).instances]
    assert owners == [Ownership.OURS, Ownership.FOREIGN, Ownership.FOREIGN, Ownership.FOREIGN]


async def test_a_machine_whose_gpu_was_released_is_billed_for_its_storage() -> None:
    row = {"id": VM, "name": TAG, "rateHourly": 0.273, "resources": {"storage_gb": 100, "gpus": {}}}
    for status, rate in (("running", 0.273), ("stopped", 0.273), ("stoppeddisassociated", 0.005)):
        provider, _ = account("v2", answer(row | {"status": status}))
        machine = await provider.get_instance_status(VM)
        assert (machine.price_per_hour, machine.rate_per_hour) == (0.273, pytest.approx(rate))


async def test_a_snapshot_tells_when_it_was_taken() -> None:
    provider, _ = account("v2", "v2_list_empty", "v2_list_empty")
    first, second = await provider.list_all_instances(), await provider.list_all_instances()
    assert first.started_at <= first.ended_at <= second.ended_at
    assert second.pages == 1


@pytest.mark.parametrize("api", ["v2", "v0"])
@pytest.mark.parametrize("method", METHODS)
async def test_no_answer_makes_a_method_raise_anything_but_the_contracts_errors_or_tell_a_secret(
    api: str, method: str
) -> None:
    strange = [
        Reply(200, {}, body)
        for body in (
            b"",
            b"<html>",
            b"[" * 50_000,
            b'{"data":' + b"9" * 400 + b"}",
            b"\xef\xbb\xbf{}",
            b'{"data":[{"id":1e400}]}',
            b'{"success":true,"virtualmachines":{"a":[]}}',
            f'{{"error":"{TOKEN} {AUTH_ID if api == "v0" else ""}"}}'.encode(),
            b'{"data":{"locations":[7,{"id":{},"gpus":[{"resources":[],"pricing":3,"network_features":"x"}]}]}}',
        )
    ]
    for reply in [*strange, *map(recording, [*recordings("v2"), *recordings("v0")])]:
        provider, sender = account(api, reply)
        try:
            result = await called(provider, method, "ip" if api == "v2" else "30001")
        except ProviderError as error:
            result = error
        assert TOKEN not in repr(result) + str(result)
        assert AUTH_ID not in repr(result) + str(result)
        assert len(sender.requests) == 1


def test_an_order_survives_its_encoding() -> None:
    order = Order(LOCATION, "a100-sxm4-80gb", 8, Size(64, 256, 100), "forward")
    assert Order.decode(order.encode()) == order


@pytest.mark.parametrize(
    "text", ["", "41000001", f"{LOCATION}:gpu:1:8:32:100", f"{LOCATION}:gpu:1:8:32:100:ftp", "a:b\n:1:2:3:4:ip"]
)
def test_what_is_no_order_decodes_to_none(text: str) -> None:
    assert Order.decode(text) is None


@pytest.mark.parametrize(
    ("count", "caps", "size"),
    [
        (1, Caps(), Size(8, 32, 100)),
        (8, Caps(), Size(64, 256, 100)),
        (10, Caps(), Size(80, 256, 100)),
        (1, Caps(vcpus=7, ram_gb=31, storage_gb=100), Size(6, 16, 100)),
        (1, Caps(vcpus=1), None),
        (1, Caps(ram_gb=1), None),
        (1, Caps(storage_gb=99), None),
    ],
    ids=repr,
)
def test_the_default_machine_has_even_vcpus_and_a_memory_that_is_taken(
    count: int, caps: Caps, size: Size | None
) -> None:
    assert default_size(count, caps, Caps()) == size


def test_a_wrong_api_or_a_missing_secret_is_said_at_once(clock: FakeClock) -> None:
    for api, words in (("v3", "allowed are v2 and v0"), ("v0", "auth_id and api_token"), (None, "api_token")):
        with pytest.raises(ValueError, match=words):
            open_tensordock(
                AccountSettings("td", "tensordock", api=api),
                deployment="",
                secrets={},
                clock=clock,
                metrics=Metrics(registry=CollectorRegistry()),
            )
