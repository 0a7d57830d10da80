"""shopperd for Pebble: what the answers of its API mean for offers, machines and snapshots."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, TypeVar

from msgspec import Meta, Raw, Struct, json

from shopperd.clock import Clock
from shopperd.model import Instance, InstanceState, Offer, Ownership, Snapshot, session_of
from shopperd.providers import contract, filters, gpus
from shopperd.providers.limiter import Endpoint, Published
from shopperd.providers.opening import open_transport
from shopperd.providers.transport import Call, Reply, Sender, Transport, words
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings
from shopperd.telemetry import Metrics

NAME, MACHINES = "pebble", "/v1/machines"
PUBLISHED = Published({Endpoint.LIST: 1.0, Endpoint.OFFERS: 5.0, Endpoint.CREATE: 2.0, Endpoint.DESTROY: 2.0})
ERRORS = {"no_such_machine": contract.InstanceNotFound, "offer_taken": contract.OfferUnavailable}
STATES = {"booting": InstanceState.STARTING, "up": InstanceState.RUNNING, "halted": InstanceState.STOPPED}
T = TypeVar("T")


class Named(Struct):
    id: Annotated[str, Meta(pattern=r"^[a-z0-9]{1,32}\Z")]


class OfferRow(Named):
    gpu: str
    gpus: Annotated[int, Meta(ge=1)]
    usd_per_hour: Annotated[float, Meta(gt=0)]
    country: str | None = None


class Machine(Named):
    name: str | None
    state: str
    created: Annotated[datetime, Meta(tz=True)]
    usd_per_hour: float | None = None


class Machines(Struct):
    machines: list[Machine]
    total: int


def open_pebble(
    settings: AccountSettings,
    *,
    deployment: str,
    secrets: Mapping[str, Secret],
    clock: Clock,
    metrics: Metrics,
    sender: Sender | None = None,
) -> "Pebble":
    """The adapter for one account. ValueError if it lacks a secret."""
    if "token" not in secrets:
        raise ValueError(f"accounts.{settings.name} needs token_env or token_file")
    transport = open_transport(
        settings,
        provider=NAME,
        base_url="https://api.pebble.example",
        published=PUBLISHED,
        headers=lambda: {"Authorization": f"Bearer {secrets['token'].get()}"},
        clock=clock,
        metrics=metrics,
        sender=sender,
    )
    return Pebble(settings.name, deployment, transport, clock)


def classified(reply: Reply) -> contract.ProviderError | None:
    """What Pebble's own words mean. All else, such as 401, 429 and 500, is left to the rules that hold for everybody."""
    error = contract.Refused if reply.status == 422 else ERRORS.get(words(reply))
    return None if reply.ok or error is None else error(words(reply))


def read(shape: type[T], told: bytes | Raw) -> T:
    """What was told, if it is of this shape. Whatever else it is, nothing is read into it."""
    try:
        return json.decode(told, type=shape)
    except (ValueError, RecursionError) as error:
        raise contract.BadAnswer(f"not of Pebble's form: {error}") from None


def place(id: str) -> str:
    """Where a machine is found. What is no id of Pebble's never becomes part of an address."""
    return f"{MACHINES}/{read(Named, json.encode({'id': id})).id}"


class Pebble:
    """One account at Pebble. A machine's name is its tag."""

    name = NAME

    def __init__(self, account: str, deployment: str, transport: Transport, clock: Clock) -> None:
        self._account, self._deployment, self._transport, self._clock = account, deployment, transport, clock
        self.limiter, self.close = transport.limiter, transport.close

    async def list_offers(self, filter: contract.OfferFilter) -> contract.OfferList:
        offers, bad, at = dict[str, Offer](), 0, (filter.location or "").upper()
        for row in await self._ask(list[Raw], Call(Endpoint.OFFERS, "GET", "/v1/offers")):
            try:
                offer = self._offer(read(OfferRow, row))
            except contract.BadAnswer:
                bad += 1
                continue
            if filters.fits(offer, filter) and at in ("", offer.location):
                offers[offer.id] = offer
        cheapest_first = sorted(offers.values(), key=lambda offer: offer.price_per_hour)
        return contract.OfferList(tuple(cheapest_first), rejected={"bad_row": bad})

    async def list_all_instances(self) -> Snapshot:
        began = self._clock.now()
        told = await self._ask(Machines, Call(Endpoint.LIST, "GET", MACHINES))
        found = {row.id: self._instance(row) for row in told.machines}
        fault = "" if len(found) == len(told.machines) == told.total else "count_mismatch"
        return Snapshot(self._account, NAME, (*found.values(),), began, self._clock.now(), not fault, fault)

    async def create_instance(self, request: contract.CreateRequest) -> contract.CreatedInstance:
        order: dict[str, object] = {"offer": request.offer.provider_id, "name": request.tag, "image": request.image}
        order |= {"disk_gb": request.disk_gb, "env": request.env, "ssh_key": request.ssh_key, "script": request.onstart}
        hidden, wait = tuple(request.env.values()), request.timeout_seconds
        call = Call(Endpoint.CREATE, "POST", MACHINES, json=order, hidden=hidden, timeout_seconds=wait)
        return contract.CreatedInstance((await self._ask(Named, call)).id)

    async def destroy_instance(self, id: str) -> None:
        await self._ask(Named, Call(Endpoint.DESTROY, "DELETE", place(id)))

    async def get_instance_status(self, id: str) -> Instance:
        return self._instance(await self._ask(Machine, Call(Endpoint.SHOW, "GET", place(id))))

    def supports_feature(self, feature: contract.Feature) -> bool:
        return False

    async def _ask(self, shape: type[T], call: Call) -> T:
        return await self._transport.fetch(call, classified, lambda reply: read(shape, reply.body))

    def _offer(self, row: OfferRow) -> Offer:
        name, gpu, price = f"{NAME}-{row.id}", gpus.canonical(NAME, row.gpu, None), row.usd_per_hour
        return Offer(name, NAME, row.id, self._account, gpu.name, row.gpus, gpu.vram_gb, price, row.country)

    def _instance(self, row: Machine) -> Instance:
        session = session_of(row.name, self._deployment)
        state, price, born = STATES.get(row.state, InstanceState.UNKNOWN), row.usd_per_hour, row.created
        told = (row.id, row.name, session, Ownership.OURS if session else Ownership.FOREIGN, state, row.state)
        return Instance(self._account, NAME, *told, price_per_hour=price, started_at=born)
