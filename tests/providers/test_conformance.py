"""Every built-in adapter keeps the contract."""

import math
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from attrs import evolve

from shopperd.model import Instance, Snapshot
from shopperd.providers.contract import CreatedInstance, CreateRequest, Provider, ProviderError, Unclear
from tests.providers import conformance
from tests.providers.conformance import CHECKS, Check, name_of
from tests.providers.harness import simulated


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("kind", ["vastai", "tensordock-v2", "tensordock-v0"])
async def test_the_contract_holds(kind: str, check: Check) -> None:
    async with simulated(kind) as harness:
        await check(harness)


class Liar:
    """An adapter that takes every failure of a listing for an empty account, as careless ones do."""

    def __init__(self, honest: Provider) -> None:
        self._honest = honest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)

    async def list_all_instances(self) -> Snapshot:
        try:
            return await self._honest.list_all_instances()
        except ProviderError:
            now = datetime(2026, 11, 22, tzinfo=UTC)
            return Snapshot("main", self._honest.name, (), now, now, complete=True)


class Repeater(Liar):
    """An adapter that sends a create again when it got no answer."""

    async def list_all_instances(self) -> Snapshot:
        return await self._honest.list_all_instances()

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        try:
            return await self._honest.create_instance(request)
        except Unclear:
            return await self._honest.create_instance(request)


class Priceless(Liar):
    """An adapter that counts with what its provider did not tell."""

    async def list_all_instances(self) -> Snapshot:
        listed = await self._honest.list_all_instances()
        return evolve(listed, instances=tuple(evolve(one, price_per_hour=math.nan) for one in listed.instances))


class Generous(Liar):
    """An adapter whose prices may be below zero where a machine is read alone."""

    async def get_instance_status(self, id: str) -> Instance:
        return evolve(await self._honest.get_instance_status(id), billed_per_hour=-0.1)


@pytest.mark.parametrize(
    ("faulty", "check"),
    [
        (Priceless, conformance.a_price_is_a_finite_number_that_is_not_below_zero_or_is_not_told),
        (Generous, conformance.a_price_is_a_finite_number_that_is_not_below_zero_or_is_not_told),
        (Liar, conformance.a_listing_of_a_shape_that_is_not_known_is_an_error_or_incomplete_and_never_no_machines),
        (Liar, conformance.a_wrong_key_is_an_auth_failure_and_nothing_else),
        (Liar, conformance.an_error_of_the_server_is_unclear_and_never_repeated),
        (
            Repeater,
            conformance.a_create_whose_answer_is_lost_is_unclear_was_sent_once_and_can_be_found_by_its_tag,
        ),
        (Repeater, conformance.an_error_of_the_server_is_unclear_and_never_repeated),
    ],
)
async def test_an_adapter_that_breaks_the_contract_is_caught(faulty: type[Liar], check: Check) -> None:
    async with simulated("tensordock-v0") as harness:
        harness.provider = cast(Provider, faulty(harness.provider))
        wrong = harness.with_wrong_key
        harness.with_wrong_key = lambda: cast(Provider, faulty(wrong()))  # type: ignore[method-assign]
        with pytest.raises(AssertionError):
            await check(harness)
