"""The provider contract as checks that any adapter can be put through, a plug-in's as well.

A `Harness` binds an adapter to a pretend marketplace. Each check is an async function of one; it fails by
AssertionError or by any error that the contract does not name. To use them, parametrise a test over
`CHECKS`::

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    async def test_contract(check: Check) -> None:
        async with my_harness() as harness:
            await check(harness)
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol
from uuid import UUID

from shopperd.model import Instance, Offer, Ownership, Snapshot, is_price, session_of, tag_of
from shopperd.providers.contract import (
    AuthFailed,
    BadAnswer,
    CreatedInstance,
    CreateRequest,
    Feature,
    InstanceNotFound,
    OfferFilter,
    OfferUnavailable,
    Provider,
    ProviderError,
    RateLimited,
    Refused,
    Unclear,
)

SESSION = UUID("5d3a9c1e-7f24-4b68-8a0d-c1b2e3f4a596")
OTHER_SESSION = UUID("0a1b2c3d-4e5f-4061-8273-8495a6b7c8d9")
DEPLOYMENT = "proof"
"""The deployment that a harness opens its provider for."""
TAG = tag_of(SESSION, DEPLOYMENT)
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIAIAIA nobody@nowhere"
PASSES_MAX = 40
"""How often the checks look again for something that is only eventually so."""
PASS_SECONDS = 15.0


class Trouble(enum.StrEnum):
    """What a harness can make of the next request of one operation."""

    LOST_ANSWER = "lost_answer"
    """It has its effect, and the connection is cut before the answer."""
    SERVER_ERROR = "server_error"
    """HTTP 500 with a page of HTML, without effect."""
    TOO_MANY = "too_many"
    """HTTP 429 with ``Retry-After: 7``, without effect."""
    GARBAGE = "garbage"
    """HTTP 200 with half a JSON document, without effect."""
    STRANGE_SHAPE = "strange_shape"
    """HTTP 200 with ``{"unheard_of": true}``, without effect."""
    REDIRECT = "redirect"
    """HTTP 302 to another host, without effect."""


class Operation(enum.StrEnum):
    """What a request asks for."""

    OFFERS = "offers"
    LIST = "list"
    SHOW = "show"
    CREATE = "create"
    DESTROY = "destroy"


class Harness(Protocol):
    """An adapter in front of a pretend marketplace with offers and no machines.

    Attributes:
        provider: opened for deployment `DEPLOYMENT` with a good key, on a clock that does not wait for real.
        absent_id: well-formed, and never an instance's.
        secrets: what must never be told.
        keyless: operations that need no key at this marketplace.
    """

    provider: Provider
    absent_id: str
    secrets: tuple[str, ...]
    keyless: frozenset[Operation]

    def with_wrong_key(self) -> Provider:
        """The same adapter with a key that is refused. The harness closes it."""

    async def add_machine(self, tag: str | None) -> str:
        """A running machine out of nowhere; returns its id. None: without a tag, or with the marketplace's
        default one."""

    async def trouble_next(self, trouble: Trouble, operation: Operation) -> None:
        """Let the next request of that operation meet trouble."""

    async def arrived(self, operation: Operation) -> int:
        """How many requests of that operation have arrived so far."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, for the marketplace and for the adapter."""


Check = Callable[[Harness], Awaitable[None]]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def name_of(function: Check) -> str:
    return getattr(function, "__name__", repr(function))


async def error_of(call: Awaitable[object]) -> ProviderError:
    """The contract's error that a call ends with. Any other one passes through; none at all fails."""
    try:
        result = await call
    except ProviderError as error:
        return error
    raise AssertionError(f"expected an error, got {result!r}")


async def wish(harness: Harness, tag: str = TAG) -> CreateRequest:
    offers = await harness.provider.list_offers(OfferFilter(gpu_count=1))
    return CreateRequest(tag=tag, offer=offers[0], ssh_key=SSH_KEY, env={"PROOF": "a value"}, onstart="true")


async def created(harness: Harness) -> CreatedInstance:
    return await harness.provider.create_instance(await wish(harness))


async def called(harness: Harness, provider: Provider, operation: Operation) -> object:
    """One call of the method that makes requests of this operation; what it needs beforehand was asked for by
    the good one."""
    match operation:
        case Operation.OFFERS:
            return await provider.list_offers(OfferFilter())
        case Operation.LIST:
            return await provider.list_all_instances()
        case Operation.SHOW:
            return await provider.get_instance_status(await harness.add_machine(TAG))
        case Operation.CREATE:
            return await provider.create_instance(await wish(harness))
        case Operation.DESTROY:
            await provider.destroy_instance(await harness.add_machine(TAG))
    return None


async def until(harness: Harness, snapshot_fits: Callable[[Snapshot], bool]) -> Snapshot:
    """The first complete snapshot that fits."""
    for _ in range(PASSES_MAX):
        snapshot = await harness.provider.list_all_instances()
        if snapshot.complete and snapshot_fits(snapshot):
            return snapshot
        await harness.pass_time(PASS_SECONDS)
    raise AssertionError(f"not so after {PASSES_MAX} listings")


def by_id(snapshot: Snapshot, instance_id: str) -> Instance | None:
    return next((each for each in snapshot.instances if each.id == instance_id), None)


# --- what an adapter is
# ---------------------------------------------------------------------------------------------


@check
async def every_feature_is_answered_with_a_truth_value(harness: Harness) -> None:
    answers = [harness.provider.supports_feature(feature) for feature in Feature]
    assert all(isinstance(each, bool) for each in answers)
    assert harness.provider.name


@check
async def closing_ends_it(harness: Harness) -> None:
    await harness.provider.list_all_instances()
    await harness.provider.close()


# --- offers
# ---------------------------------------------------------------------------------------------------------


@check
async def offers_are_unique_priced_and_cheapest_first(harness: Harness) -> None:
    offers = await harness.provider.list_offers(OfferFilter())
    assert len(offers) > 0
    assert len({offer.id for offer in offers}) == len(offers)
    prices = [offer.price_per_hour for offer in offers]
    assert prices == sorted(prices)
    for offer in offers:
        assert offer.provider == harness.provider.name
        assert offer.id.startswith(f"{offer.provider}-")
        assert offer.provider_id
        assert offer.gpu
        assert offer.gpu_count >= 1
        assert offer.price_per_hour > 0
        assert offer.reliability is None or 0 <= offer.reliability <= 1
        assert not offer.interruptible


@check
async def every_condition_of_a_filter_holds(harness: Harness) -> None:
    everything = await harness.provider.list_offers(OfferFilter())
    sample: Offer = everything[len(everything) // 2]
    filters: list[tuple[OfferFilter, Callable[[Offer], bool]]] = [
        (OfferFilter(gpu=sample.gpu), lambda offer: offer.gpu == sample.gpu),
        (OfferFilter(gpu_count=sample.gpu_count), lambda offer: offer.gpu_count == sample.gpu_count),
        (
            OfferFilter(max_price_per_hour=sample.price_per_hour),
            lambda offer: offer.price_per_hour <= sample.price_per_hour,
        ),
        (OfferFilter(min_vram_gb=24), lambda offer: offer.vram_gb is not None and offer.vram_gb >= 24),
        (OfferFilter(min_reliability=0.99), lambda offer: offer.reliability is not None and offer.reliability >= 0.99),
    ]
    for wanted, holds in filters:
        found = await harness.provider.list_offers(wanted)
        assert all(holds(offer) for offer in found), wanted


# --- listings
# -------------------------------------------------------------------------------------------------------


@check
async def an_empty_account_is_a_complete_and_empty_snapshot(harness: Harness) -> None:
    snapshot = await harness.provider.list_all_instances()
    assert snapshot.complete
    assert snapshot.reason == ""
    assert snapshot.instances == ()


@check
async def a_snapshot_tells_when_it_began_and_ended(harness: Harness) -> None:
    first = await harness.provider.list_all_instances()
    await harness.pass_time(5.0)
    second = await harness.provider.list_all_instances()
    assert first.started_at.tzinfo is not None
    assert first.started_at <= first.ended_at < second.started_at <= second.ended_at
    assert first.pages >= 1
    assert first.provider == harness.provider.name


@check
async def all_machines_are_listed_and_only_the_exact_tag_is_ours(harness: Harness) -> None:
    ours = await harness.add_machine(TAG)
    foreign = [
        await harness.add_machine(tag)
        for tag in (
            None,
            "somebody else's",
            tag_of(SESSION),
            tag_of(SESSION, f"{DEPLOYMENT}x"),
            TAG.upper(),
            f"{TAG}0",
            f" {TAG}",
        )
    ]
    snapshot = await until(harness, lambda found: len(found.instances) == len(foreign) + 1)
    mine = by_id(snapshot, ours)
    assert mine is not None
    assert (mine.tag, mine.session_id, mine.ownership) == (TAG, SESSION, Ownership.OURS)
    for instance_id in foreign:
        other = by_id(snapshot, instance_id)
        assert other is not None
        assert other.session_id is None
        assert other.ownership is Ownership.FOREIGN
        assert session_of(other.tag, DEPLOYMENT) is None


# --- the life of a machine
# ------------------------------------------------------------------------------------------


@check
async def a_machine_that_was_created_is_listed_under_its_id_and_tag(harness: Harness) -> None:
    made = await created(harness)
    snapshot = await until(harness, lambda found: by_id(found, made.id) is not None)
    listed = by_id(snapshot, made.id)
    assert listed is not None
    assert (listed.tag, listed.session_id, listed.ownership) == (TAG, SESSION, Ownership.OURS)
    shown = await harness.provider.get_instance_status(made.id)
    assert (shown.id, shown.tag) == (made.id, TAG)
    assert await harness.arrived(Operation.CREATE) == 1


@check
async def a_price_is_a_finite_number_that_is_not_below_zero_or_is_not_told(harness: Harness) -> None:
    made = await created(harness)
    snapshot = await until(harness, lambda found: by_id(found, made.id) is not None)
    for instance in (*snapshot.instances, await harness.provider.get_instance_status(made.id)):
        for name, price in (("price", instance.price_per_hour), ("billed", instance.billed_per_hour)):
            assert is_price(price), (
                f"{name}_per_hour of instance {instance.id} is {price}; None means that it is not told"
            )


@check
async def a_machine_that_was_destroyed_is_gone_in_the_end_and_not_found(harness: Harness) -> None:
    instance_id = await harness.add_machine(TAG)
    stays = await harness.add_machine(None)
    await until(harness, lambda found: by_id(found, instance_id) is not None)
    await harness.provider.destroy_instance(instance_id)
    snapshot = await until(harness, lambda found: by_id(found, instance_id) is None)
    assert by_id(snapshot, stays) is not None
    assert isinstance(await error_of(harness.provider.get_instance_status(instance_id)), InstanceNotFound)
    assert isinstance(await error_of(harness.provider.destroy_instance(instance_id)), InstanceNotFound)


@check
async def an_id_that_does_not_exist_is_not_found(harness: Harness) -> None:
    assert isinstance(await error_of(harness.provider.get_instance_status(harness.absent_id)), InstanceNotFound)
    assert isinstance(await error_of(harness.provider.destroy_instance(harness.absent_id)), InstanceNotFound)


@check
async def an_id_that_is_none_ends_in_an_error_of_the_contract(harness: Harness) -> None:
    await harness.add_machine(TAG)
    for strange in ("", "..", "../../x", "a b", "0", "%2e%2e", "\n"):
        await error_of(harness.provider.get_instance_status(strange))
        await error_of(harness.provider.destroy_instance(strange))
    assert len((await harness.provider.list_all_instances()).instances) == 1


@check
async def an_offer_that_does_not_exist_is_refused(harness: Harness) -> None:
    request = await wish(harness)
    offer = request.offer
    nowhere = Offer(
        id=f"{offer.provider}-nowhere",
        provider=offer.provider,
        provider_id="nowhere",
        account=offer.account,
        gpu=offer.gpu,
        gpu_count=offer.gpu_count,
        vram_gb=offer.vram_gb,
        price_per_hour=offer.price_per_hour,
    )
    error = await error_of(harness.provider.create_instance(CreateRequest(TAG, nowhere, ssh_key=SSH_KEY)))
    assert isinstance(error, Refused | OfferUnavailable)
    assert (await harness.provider.list_all_instances()).instances == ()


# --- trouble
# --------------------------------------------------------------------------------------------------------


@check
async def a_create_whose_answer_is_lost_is_unclear_was_sent_once_and_can_be_found_by_its_tag(harness: Harness) -> None:
    request = await wish(harness)
    await harness.trouble_next(Trouble.LOST_ANSWER, Operation.CREATE)
    assert isinstance(await error_of(harness.provider.create_instance(request)), Unclear)
    snapshot = await until(harness, lambda found: len(found.instances) > 0)
    assert [each.tag for each in snapshot.instances] == [TAG]
    assert await harness.arrived(Operation.CREATE) == 1


@check
async def a_destroy_whose_answer_is_lost_is_unclear_and_was_sent_once(harness: Harness) -> None:
    instance_id = await harness.add_machine(TAG)
    await harness.trouble_next(Trouble.LOST_ANSWER, Operation.DESTROY)
    assert isinstance(await error_of(harness.provider.destroy_instance(instance_id)), Unclear)
    assert await harness.arrived(Operation.DESTROY) == 1


async def _errors_under(harness: Harness, trouble: Trouble) -> dict[Operation, ProviderError]:
    """What each operation ends with in this trouble; each must have been tried exactly once."""
    errors = {}
    for operation in Operation:
        before = await harness.arrived(operation)
        await harness.trouble_next(trouble, operation)
        errors[operation] = await error_of(called(harness, harness.provider, operation))
        assert await harness.arrived(operation) == before + 1, operation
        _tells_no_secret(harness, errors[operation])
    return errors


@check
async def an_error_of_the_server_is_unclear_and_never_repeated(harness: Harness) -> None:
    errors = await _errors_under(harness, Trouble.SERVER_ERROR)
    assert {type(error) for error in errors.values()} == {Unclear}
    assert {error.outcome for error in errors.values()} == {"server"}


@check
async def too_many_requests_is_rate_limited_with_the_hint_and_never_repeated(harness: Harness) -> None:
    errors = await _errors_under(harness, Trouble.TOO_MANY)
    for error in errors.values():
        assert isinstance(error, RateLimited)
        assert error.retry_after_seconds is not None
        assert error.retry_after_seconds >= 7.0


@check
async def an_answer_that_is_no_json_is_never_read(harness: Harness) -> None:
    errors = await _errors_under(harness, Trouble.GARBAGE)
    for mutating in (Operation.CREATE, Operation.DESTROY):
        assert isinstance(errors.pop(mutating), Unclear | BadAnswer), mutating
    assert {type(error) for error in errors.values()} == {BadAnswer}


@check
async def a_market_or_machine_of_a_shape_that_is_not_known_is_an_error(harness: Harness) -> None:
    for operation in (Operation.OFFERS, Operation.SHOW):
        await harness.trouble_next(Trouble.STRANGE_SHAPE, operation)
        assert isinstance(await error_of(called(harness, harness.provider, operation)), BadAnswer), operation


@check
async def a_listing_of_a_shape_that_is_not_known_is_an_error_or_incomplete_and_never_no_machines(
    harness: Harness,
) -> None:
    await harness.trouble_next(Trouble.STRANGE_SHAPE, Operation.LIST)
    try:
        snapshot = await harness.provider.list_all_instances()
    except BadAnswer:
        return
    assert not snapshot.complete


@check
async def a_destroy_that_is_neither_confirmed_nor_refused_is_an_error(harness: Harness) -> None:
    await harness.trouble_next(Trouble.STRANGE_SHAPE, Operation.DESTROY)
    error = await error_of(called(harness, harness.provider, Operation.DESTROY))
    assert isinstance(error, Unclear | BadAnswer)


@check
async def a_create_with_an_answer_without_an_id_is_unclear(harness: Harness) -> None:
    request = await wish(harness)
    await harness.trouble_next(Trouble.STRANGE_SHAPE, Operation.CREATE)
    assert isinstance(await error_of(harness.provider.create_instance(request)), Unclear | BadAnswer)


@check
async def a_redirect_is_not_followed(harness: Harness) -> None:
    errors = await _errors_under(harness, Trouble.REDIRECT)
    assert {type(error) for error in errors.values()} == {BadAnswer}


@check
async def after_any_trouble_the_next_call_works(harness: Harness) -> None:
    instance_id = await harness.add_machine(TAG)
    for trouble in Trouble:
        await harness.trouble_next(trouble, Operation.LIST)
        with suppress(ProviderError):
            await harness.provider.list_all_instances()
        snapshot = await until(harness, lambda found: by_id(found, instance_id) is not None)
        assert snapshot.complete


# --- credentials
# ----------------------------------------------------------------------------------------------------


@check
async def a_wrong_key_is_an_auth_failure_and_nothing_else(harness: Harness) -> None:
    stranger = harness.with_wrong_key()
    for operation in Operation:
        if operation not in harness.keyless:
            error = await error_of(called(harness, stranger, operation))
            assert isinstance(error, AuthFailed), operation
            _tells_no_secret(harness, error)
    assert await harness.arrived(Operation.CREATE) == 1


@check
async def nothing_tells_a_secret(harness: Harness) -> None:
    made = await created(harness)
    offers = await harness.provider.list_offers(OfferFilter())
    snapshot = await harness.provider.list_all_instances()
    for thing in (harness.provider, made, offers, snapshot, await wish(harness)):
        _tells_no_secret(harness, thing)


def _tells_no_secret(harness: Harness, thing: object) -> None:
    told = f"{thing!r} {thing}"
    chain = thing.__cause__ if isinstance(thing, BaseException) else None
    while chain is not None:
        told += f" {chain!r} {chain}"
        chain = chain.__cause__
    for secret in harness.secrets:
        assert secret not in told
