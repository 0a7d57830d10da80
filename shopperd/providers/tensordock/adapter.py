"""TensorDock as a provider: what the answers of either dialect mean for offers, instances and snapshots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from shopperd.clock import Clock
from shopperd.model import Instance, Offer, Ownership, Snapshot, session_of
from shopperd.providers import gpus
from shopperd.providers.contract import (
    BadAnswer,
    CreatedInstance,
    CreateRequest,
    Feature,
    InstanceNotFound,
    OfferFilter,
    OfferList,
    Refused,
    Rights,
)
from shopperd.providers.filters import fits
from shopperd.providers.limiter import Endpoint, Limiter
from shopperd.providers.opening import open_transport
from shopperd.providers.tensordock.countries import fits as is_at
from shopperd.providers.tensordock.dialect import Dialect, Machine, Order, Rentable
from shopperd.providers.tensordock.fields import IDENTIFIER
from shopperd.providers.tensordock.sizing import Size, default_size, price_per_hour, storage_of
from shopperd.providers.tensordock.statuses import is_gone, is_released, state_of
from shopperd.providers.tensordock.wire_v0 import V0
from shopperd.providers.tensordock.wire_v2 import V2
from shopperd.providers.transport import Call, Classify, Sender, Transport
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings
from shopperd.telemetry import Metrics

NAME = "tensordock"
RIGHTS = Rights(list_instances="read instances", list_offers="read the market", change="change instances")
CREATE_SECONDS_MIN = 120.0
"""Creates that took longer than 60 s and then succeeded are on record; giving up early only leaves them unclear."""


def open_tensordock(
    settings: AccountSettings,
    *,
    deployment: str,
    secrets: Mapping[str, Secret],
    clock: Clock,
    metrics: Metrics,
    sender: Sender | None = None,
) -> TensorDock:
    """The adapter for one account. `settings.api` is ``v2`` (also None) or ``v0``.

    `secrets` are ``api_token``, and for v0 ``auth_id`` too.

    Raises:
        ValueError: a dialect that is not known, or a secret that it needs is missing.
    """
    api = settings.api or "v2"
    needed = {"v2": ("api_token",), "v0": ("auth_id", "api_token")}
    if api not in needed:
        raise ValueError(f"accounts.{settings.name}.api is {api!r}; allowed are v2 and v0")
    if missing := [name for name in needed[api] if name not in secrets]:
        raise ValueError(f"accounts.{settings.name} needs {' and '.join(missing)} for TensorDock's API {api}")
    dialect: Dialect = V2(secrets["api_token"]) if api == "v2" else V0(secrets["auth_id"], secrets["api_token"])
    transport = open_transport(
        settings,
        provider=NAME,
        base_url=dialect.base_url,
        published=dialect.published,
        headers=dialect.headers,
        clock=clock,
        metrics=metrics,
        sender=sender,
    )
    return TensorDock(settings, dialect, transport, deployment, clock)


class TensorDock:
    """One TensorDock account. The name is the only mark that an instance can carry, so the tag is the name."""

    def __init__(
        self, settings: AccountSettings, dialect: Dialect, transport: Transport, deployment: str, clock: Clock
    ) -> None:
        self._account = settings.name
        self._create_seconds = max(CREATE_SECONDS_MIN, settings.request_timeout)
        self._dialect = dialect
        self._transport = transport
        self._deployment = deployment
        self._clock = clock

    @property
    def name(self) -> str:
        """The marketplace."""
        return NAME

    @property
    def limiter(self) -> Limiter:
        """What this account's calls wait for."""
        return self._transport.limiter

    async def list_offers(self, filter: OfferFilter) -> OfferList:
        """The offers that fit, each GPU model of a place in the usual numbers, priced with the default machine around it.

        No list of spot offers is kept by TensorDock, so none is asked for. A row that lacks a rate is dropped as ``unpriced``,
        one without free GPUs as ``no_stock``. Listed stock is often gone by the time of a create.
        """
        if filter.interruptible:
            return OfferList(())
        market = await self._transport.fetch(
            self._dialect.offers_call(),
            self._classify(Endpoint.OFFERS),
            lambda reply: self._dialect.read_market(reply, filter.gpu_count),
        )
        rejected = Counter(market.rejected)
        offers: dict[str, Offer] = {}
        unknown: set[str] = set()
        for rentable in market.rentables:
            size = default_size(rentable.gpu_count, rentable.caps, rentable.floor)
            price = None if size is None else price_per_hour(rentable.gpu_count, size, rentable.rates)
            if size is None or price is None or price <= 0:
                rejected["too_small" if size is None else "unpriced"] += 1
                continue
            gpu = gpus.canonical(NAME, rentable.gpu, None)
            if not gpu.known:
                unknown.add(rentable.gpu)
            offer = self._offer(rentable, size, price, gpu)
            if offer.id in offers:
                rejected["duplicate_id"] += 1
            elif _fits(filter, offer, rentable):
                offers[offer.id] = offer
        cheapest_first = sorted(offers.values(), key=lambda offer: (offer.price_per_hour, offer.id))
        return OfferList(tuple(cheapest_first), rejected=dict(rejected), unknown_gpus=tuple(sorted(unknown)))

    async def list_all_instances(self) -> Snapshot:
        """All instances of the account, from the one answer there is: neither dialect has pages or totals.

        An empty list is complete, as nothing in it could tell a lie from the truth. A row that says ``terminated`` or
        ``deleted`` is left out: by the provider's own word it is gone, and a single read says the same. Price, GPU and SSH
        port are usually None here; `get_instance_status` knows them.
        """
        started_at = self._clock.now()
        listing = await self._transport.fetch(
            self._dialect.list_call(), self._classify(Endpoint.LIST), self._dialect.read_listing
        )
        machines: dict[str, Machine] = {}
        for machine in listing.machines:
            machines.setdefault(machine.id.lower(), machine)
        reason, detail = listing.reason, listing.detail
        if not reason and len(machines) < len(listing.machines):
            reason, detail = "duplicate_id", f"{len(listing.machines) - len(machines)} rows repeat an id"
        return Snapshot(
            account=self._account,
            provider=NAME,
            instances=tuple(self._instance(machine) for machine in machines.values() if not is_gone(machine)),
            started_at=started_at,
            ended_at=self._clock.now(),
            complete=not reason,
            reason=reason,
            detail=detail,
        )

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        """Rent the machine that the offer priced, with more storage if the request wants it, in one request.

        `image` is TensorDock's word (``ubuntu2404`` unless told). `env` and `onstart` reach the machine through cloud-init.

        Raises:
            OfferUnavailable: no node, no address.
            Refused: ``ssh_key_required`` (v2), ``invalid_offer``, ``invalid_env``, ``insufficient_credit``,
                ``invalid_request``.
        """
        return await self._transport.fetch(
            self._create_call(request), self._classify(Endpoint.CREATE), self._dialect.read_created
        )

    def check_create(self, request: CreateRequest) -> None:
        """Raise what a create would raise before it is sent.

        Raises:
            Refused: ``ssh_key_required`` (v2), ``invalid_offer``, ``invalid_env``.
        """
        self._create_call(request)

    def _create_call(self, request: CreateRequest) -> Call:
        order = Order.decode(request.offer.provider_id)
        if order is None:
            raise Refused(f"the offer {request.offer.id} is none of TensorDock's", code="invalid_offer")
        if request.disk_gb is not None:
            order = order.with_storage(max(order.size.storage_gb, storage_of(request.disk_gb)))
        seconds = self._create_seconds if request.timeout_seconds is None else request.timeout_seconds
        return self._dialect.create_call(request, order, seconds)

    async def destroy_instance(self, id: str) -> None:
        """Ask for an instance to be destroyed, in whatever state it is. It stays listed for a while."""
        await self._transport.fetch(
            self._dialect.destroy_call(_checked(id)), self._classify(Endpoint.DESTROY), self._dialect.read_destroyed
        )

    @property
    def rights(self) -> Rights:
        """TensorDock has no names for them."""
        return RIGHTS

    async def get_instance_status(self, id: str) -> Instance:
        """One instance with its price, GPU and SSH port."""
        machine = await self._transport.fetch(
            self._dialect.show_call(_checked(id)),
            self._classify(Endpoint.SHOW),
            lambda reply: _unless_gone(self._dialect.read_machine(reply, id)),
        )
        return self._instance(machine)

    def supports_feature(self, feature: Feature) -> bool:
        """None: no answer tells how busy a GPU is, a name is no tag beside the name, and v2 rents no spot machines."""
        return False

    async def close(self) -> None:
        """Give back connections. Calls in flight end with an error."""
        await self._transport.close()

    def _classify(self, endpoint: Endpoint) -> Classify:
        return lambda reply: self._dialect.classify(endpoint, reply)

    def _offer(self, rentable: Rentable, size: Size, price: float, gpu: gpus.Gpu) -> Offer:
        order = Order(rentable.place, rentable.gpu, rentable.gpu_count, size, rentable.access)
        return Offer(
            id=f"{NAME}-{rentable.place}-{rentable.gpu}x{rentable.gpu_count}",
            provider=NAME,
            provider_id=order.encode(),
            account=self._account,
            gpu=gpu.name,
            gpu_count=rentable.gpu_count,
            vram_gb=gpu.vram_gb,
            price_per_hour=price,
            location=rentable.location,
            reliability=rentable.reliability,
            disk_gb=rentable.caps.storage_gb,
        )

    def _instance(self, machine: Machine) -> Instance:
        session_id = session_of(machine.name, self._deployment)
        gpu = None if machine.gpu is None else gpus.canonical(NAME, machine.gpu, None)
        return Instance(
            account=self._account,
            provider=NAME,
            id=machine.id,
            tag=machine.name,
            session_id=session_id,
            ownership=Ownership.FOREIGN if session_id is None else Ownership.OURS,
            state=state_of(machine),
            provider_state=machine.status,
            gpu=None if gpu is None else gpu.name,
            gpu_count=machine.gpu_count,
            vram_gb=None if gpu is None else gpu.vram_gb,
            price_per_hour=machine.price_per_hour,
            address=machine.address,
            ssh_port=machine.ssh_port,
            started_at=machine.started_at,
            billed_per_hour=machine.disk_per_hour if is_released(machine) else None,
        )


def _checked(id: str) -> str:
    if not IDENTIFIER.fullmatch(id):
        raise BadAnswer("that is no id that TensorDock gives to an instance; nothing was asked")
    return id


def _unless_gone(machine: Machine) -> Machine:
    if is_gone(machine):
        raise InstanceNotFound(f"its status is {machine.status}")
    return machine


def _fits(filter: OfferFilter, offer: Offer, rentable: Rentable) -> bool:
    return fits(offer, filter) and (
        filter.location is None or is_at(filter.location, rentable.location, rentable.country)
    )
