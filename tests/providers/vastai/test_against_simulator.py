"""The adapter in front of the simulated marketplace, with every fault that there is."""

import contextlib
from urllib.parse import parse_qsl, urlsplit

import pytest

from shopperd.model import session_of
from shopperd.providers.contract import (
    CreateRequest,
    OfferFilter,
    OfferUnavailable,
    ProviderError,
    Refused,
    Unclear,
)
from shopperd.providers.transport import HttpRequest, Reply
from shopperd.providers.vastai.adapter import VastAI
from shopperd.settings import LimitSettings
from shopperd.simulator import Request, World, WorldSettings
from shopperd.simulator.faults import CATALOGUE
from shopperd.telemetry import Metrics
from tests.clocks import FakeClock
from tests.providers.vastai import recordings
from tests.providers.vastai.recordings import UNLIMITED

TAG = "shopper-3f0c2b1e-9a4d-4f7c-8f11-5f6c0b7f2a10"
FAULTS = sorted(name for name, spec in CATALOGUE.items() if "vastai" in spec.providers)


class Door:
    """A `Sender` that is the simulated marketplace itself."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world = world
        self.clock = clock

    async def send(self, request: HttpRequest) -> Reply:
        parts = urlsplit(request.url)
        asked = Request(
            request.method,
            parts.path,
            tuple(parse_qsl(parts.query)),
            request.headers,
            request.body or b"",
        )
        answer = self.world.handle("vastai", asked, self.clock.now().timestamp())
        if answer.delay_seconds > request.timeout_seconds:
            self.clock.advance(request.timeout_seconds)
            raise Unclear("no answer in time", "timeout")
        self.clock.advance(answer.delay_seconds)
        if answer.drop is not None:
            raise Unclear("the connection was cut", "connection")
        return Reply(answer.status, dict(answer.headers), answer.body)

    async def close(self) -> None: ...


def opened(
    clock: FakeClock, metrics: Metrics, settings: WorldSettings, limits: LimitSettings | None = None
) -> tuple[VastAI, World]:
    world = World.build(settings, now=clock.now().timestamp())
    return recordings.opened(clock, metrics, Door(world, clock), limits=limits or LimitSettings()), world


def rented(world: World) -> set[str]:
    """The ids of all machines that ever carried our tag, by the truth."""
    return {
        str(told["id"])
        for instance in world.truth.everything()
        if (told := world.truth.describe(instance))["tag"] and session_of(str(told["tag"]))
    }


async def test_a_machine_is_found_rented_seen_and_destroyed(clock: FakeClock, metrics: Metrics) -> None:
    vast, world = opened(clock, metrics, WorldSettings())
    market = await vast.list_offers(OfferFilter(gpu="RTX 4090", gpu_count=1))
    assert market
    created = await vast.create_instance(CreateRequest(tag=TAG, offer=market[0], disk_gb=20))
    assert rented(world) == {created.id}
    clock.advance(60)
    snapshot = await vast.list_all_instances()
    assert snapshot.complete
    (seen,) = snapshot.instances
    assert (seen.id, seen.tag, seen.gpu) == (created.id, TAG, "RTX 4090")
    assert await vast.get_instance_status(created.id) == seen
    await vast.destroy_instance(created.id)
    clock.advance(60)
    assert (await vast.list_all_instances()).instances == ()


async def test_a_bid_is_rented_as_one(clock: FakeClock, metrics: Metrics) -> None:
    vast, world = opened(clock, metrics, WorldSettings())
    market = await vast.list_offers(OfferFilter(interruptible=True))
    assert market
    created = await vast.create_instance(CreateRequest(tag=TAG, offer=market[0]))
    instance = world.truth.find("vastai", created.id)
    assert instance is not None
    assert getattr(instance, "is_bid", False) is True


async def test_a_large_account_is_listed_in_full_though_its_limit_is_probed_meanwhile(
    clock: FakeClock, metrics: Metrics
) -> None:
    vast, world = opened(clock, metrics, WorldSettings())
    for _ in range(130):
        world.conjure({"provider": "vastai", "tag": "someone", "state": "running"})
    snapshot = await vast.list_all_instances()
    assert (snapshot.complete, len(snapshot.instances), snapshot.pages) == (True, 130, 6)
    assert 5.0 <= clock.monotonic() < 6.5


@pytest.mark.parametrize("name", FAULTS)
async def test_no_fault_makes_a_call_end_in_anything_but_its_contract(
    clock: FakeClock, metrics: Metrics, name: str
) -> None:
    vast, world = opened(
        clock,
        metrics,
        WorldSettings(offers=60, rate_scale=0.0),
        UNLIMITED,
    )
    for _ in range(30):
        world.conjure({"provider": "vastai", "tag": "someone", "state": "running"})
    market = await vast.list_offers(OfferFilter())
    world.switch_on(name, provider="vastai")
    with contextlib.suppress(ProviderError):
        await vast.list_offers(OfferFilter())
    created = None
    try:
        created = await vast.create_instance(CreateRequest(tag=TAG, offer=market[0]))
    except (Refused, OfferUnavailable):
        # What is called certain must be true, and stay so.
        clock.advance(3600.0)
        world.advance_to(clock.now().timestamp())
        assert not rented(world)
    except ProviderError:
        pass
    else:
        assert world.truth.find("vastai", created.id) is not None
    with contextlib.suppress(ProviderError):
        await vast.list_all_instances()
    for number in (created.id if created else "1", "999"):
        for call in (vast.get_instance_status, vast.destroy_instance):
            with contextlib.suppress(ProviderError):
                await call(number)
