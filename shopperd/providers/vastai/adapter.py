"""The provider contract over Vast.ai's API."""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import evolve

from shopperd.clock import Clock
from shopperd.model import Instance, Snapshot
from shopperd.providers.contract import (
    BadAnswer,
    CreatedInstance,
    CreateRequest,
    Feature,
    InstanceNotFound,
    OfferFilter,
    OfferList,
    ProviderError,
    Refused,
    Rights,
    Unclear,
)
from shopperd.providers.limiter import Endpoint, Limiter, Published
from shopperd.providers.opening import open_transport
from shopperd.providers.rows import Rows
from shopperd.providers.transport import Call, Reply, Sender, Transport
from shopperd.providers.vastai import answers, market, renting, wire
from shopperd.providers.vastai.instances import NAME, identified, to_instance
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings
from shopperd.telemetry import Metrics

BASE_URL = "https://console.vast.ai"
PUBLISHED = Published(
    {
        Endpoint.DESTROY: 3.0,
        Endpoint.CREATE: 4.5,
        Endpoint.LIST: 1.0,
        Endpoint.SHOW: 2.0,
        Endpoint.OFFERS: 6.0,
    }
)
"""Seconds between two calls of an endpoint, by the published API; searches are ten a minute."""
PAGE_ROWS = 25
"""The most that a page of instances holds."""
PAGES_MAX = 400
"""Ten thousand instances. More pages are a cursor that runs in circles."""
RIGHTS = Rights(list_instances="instance_read", list_offers="misc", change="instance_write", balance="user_read")
OFFERS_BYTES_MAX = 256 * 2**20


def open_vastai(
    settings: AccountSettings,
    *,
    deployment: str,
    secrets: Mapping[str, Secret],
    clock: Clock,
    metrics: Metrics,
    sender: Sender | None = None,
) -> VastAI:
    """The adapter for one account. `secrets` holds ``api_key``.

    Raises:
        ValueError: the key is missing.
    """
    if "api_key" not in secrets:
        raise ValueError(f"accounts.{settings.name} needs api_key for Vast.ai")
    key = secrets["api_key"]
    transport = open_transport(
        settings,
        provider=NAME,
        base_url=BASE_URL,
        published=PUBLISHED,
        headers=lambda: {"Authorization": f"Bearer {key.get()}"},
        clock=clock,
        metrics=metrics,
        sender=sender,
    )
    return VastAI(settings.name, transport, deployment, clock)


class VastAI:
    """One Vast.ai account. The label is the tag, and the environment holds it a second time."""

    def __init__(self, account: str, transport: Transport, deployment: str, clock: Clock) -> None:
        self._account = account
        self._transport = transport
        self._deployment = deployment
        self._clock = clock
        self._gpu_names: set[str] = set()

    @property
    def name(self) -> str:
        """The marketplace."""
        return NAME

    @property
    def limiter(self) -> Limiter:
        """What this account's calls wait for."""
        return self._transport.limiter

    async def list_offers(self, filter: OfferFilter) -> OfferList:
        """The offers that fit now, from as many searches as it takes to see all of them."""

        async def search(part: market.Part, take: market.Take) -> None:
            call = Call(
                Endpoint.OFFERS,
                "POST",
                "/api/v0/bundles/",
                json=market.query(filter, part),
                body_limit_bytes=OFFERS_BYTES_MAX,
                intake=Rows("offers", wire.OFFER_ROWS, take),
            )
            take(
                await self._transport.fetch(
                    call,
                    lambda reply: answers.of_search(reply, self._clock.wall()),
                    lambda reply: wire.read_offers(reply.body),
                )
            )

        return await market.survey(filter, self._account, search, self._clock, self._gpu_names)

    async def list_all_instances(self) -> Snapshot:
        """All instances of the account, by walking through all pages in the order of their ids."""
        walk = _Walk(self._account, self._deployment, self._clock)
        token: str | None = None
        while True:
            try:
                page = await self._page(token)
            except ProviderError as error:
                if walk.pages == 0:
                    raise
                walk.spoil("page_failed", str(error))
                break
            token = walk.take(page)
            if token is None:
                break
        return walk.snapshot()

    async def _page(self, token: str | None) -> wire.Listing:
        rows: list[wire.InstanceRow | None] = []
        return await self._transport.fetch(
            evolve(_page_call(token), intake=Rows("instances", wire.INSTANCE_ROWS, rows.extend)),
            lambda reply: answers.common(reply, self._clock.wall()),
            lambda reply: wire.read_listing(reply.body, rows),
        )

    async def create_instance(self, request: CreateRequest) -> CreatedInstance:
        """Rent a machine.

        Raises:
            OfferUnavailable, Refused: nothing was rented. ``Refused`` with code ``invalid_request``: nothing
            was sent.
        """
        return await self._transport.fetch(
            _create_call(request), lambda reply: answers.of_create(reply, self._clock.wall()), _read_created
        )

    def check_create(self, request: CreateRequest) -> None:
        """Raise what a create would raise before it is sent.

        Raises:
            Refused: the request is beyond what the API takes.
        """
        _create_call(request)

    async def destroy_instance(self, id: str) -> None:
        """Ask for an instance to be destroyed; one that is destroyed already is `InstanceNotFound`."""
        instance_id = wire.identifier(id)
        if instance_id is None:
            raise Refused("not sent: Vast.ai has no instance with such an id", "invalid_request")
        call = Call(Endpoint.DESTROY, "DELETE", f"/api/v0/instances/{instance_id}/", json={})
        await self._transport.call(call, lambda reply: answers.of_destroy(reply, self._clock.wall()))

    @property
    def rights(self) -> Rights:
        """By the table of routes and scopes that Vast.ai ships with its command (``api_scopes.json``)."""
        return RIGHTS

    async def balance_usd(self) -> float | None:
        """The prepaid credit; the figure that is called ``balance`` is another one.

        Raises:
            AuthFailed: the key lacks ``user_read``.
        """
        call = Call(Endpoint.SHOW, "GET", "/api/v0/users/current/")
        return await self._transport.fetch(
            call,
            lambda reply: answers.common(reply, self._clock.wall()),
            lambda reply: wire.number((wire.fields_of(reply.body) or {}).get("credit")),
        )

    async def get_instance_status(self, id: str) -> Instance:
        """One instance, read by itself.

        Raises:
            InstanceNotFound: ``"instances": null``, which is also said of one just created; or
                ``no_such_instance``.
        """
        instance_id = wire.identifier(id)
        if instance_id is None:
            raise BadAnswer("not asked: Vast.ai has no instance with such an id")

        def read(reply: Reply) -> Instance:
            row = wire.read_instance(reply.body)
            if row is None:
                raise InstanceNotFound('"instances": null')
            told = identified(row)
            if told != instance_id:
                raise BadAnswer(f"asked for {instance_id}, and the answer is about {told}")
            return to_instance(row, instance_id, self._account, self._deployment, self._clock.now())

        call = Call(Endpoint.SHOW, "GET", f"/api/v0/instances/{instance_id}/")
        return await self._transport.fetch(call, lambda reply: answers.of_one_instance(reply, self._clock.wall()), read)

    def supports_feature(self, feature: Feature) -> bool:
        """Whether this adapter can do it."""
        return feature in (Feature.IDLE_DETECTION, Feature.INSTANCE_TAGS, Feature.SPOT_PRICING)

    async def close(self) -> None:
        """Give back connections. Calls in flight end with an error."""
        await self._transport.close()


def _page_call(token: str | None) -> Call:
    query = {"limit": str(PAGE_ROWS), "order_by": json.dumps([{"col": "id", "dir": "asc"}])}
    if token is not None:
        query["after_token"] = token
    return Call(Endpoint.LIST, "GET", "/api/v1/instances/", query=query, repeats=token is not None)


def _create_call(request: CreateRequest) -> Call:
    return Call(
        Endpoint.CREATE,
        "PUT",
        f"/api/v0/asks/{wire.identifier(request.offer.provider_id)}/",
        json=renting.body_of(request),
        hidden=renting.hidden_of(request),
        timeout_seconds=request.timeout_seconds,
    )


def _read_created(reply: Reply) -> CreatedInstance:
    instance_id = wire.identifier((wire.fields_of(reply.body) or {}).get("new_contract"))
    if instance_id is None:
        raise Unclear("no id of an instance", "server")
    return CreatedInstance(instance_id)


class _Walk:
    """One walk through the pages of a listing: what was seen, and whether that can be all."""

    def __init__(self, account: str, deployment: str, clock: Clock) -> None:
        self._account = account
        self._deployment = deployment
        self._clock = clock
        self._started_at = clock.now()
        self._instances: dict[str, Instance] = {}
        self._totals: set[int | None] = set()
        self._tokens: set[str] = set()
        self._unidentified = 0
        self._faults: list[tuple[str, str]] = []
        self.pages = 0

    def take(self, page: wire.Listing) -> str | None:
        """Add a page; gives the cursor of the next one, None if this was the last or no further one can be
        trusted."""
        self.pages += 1
        self._totals.add(page.total_instances)
        if page.instances_found is not None and page.instances_found != len(page.rows):
            self.spoil("count_mismatch", f"a page of {page.instances_found} has {len(page.rows)} rows")
        for row in page.rows:
            self._add(row)
        token = page.next_token
        if token is not None and token in self._tokens:
            self.spoil("cursor_repeated", "a page names a cursor that was used before")
            return None
        if token is not None and self.pages >= PAGES_MAX:
            self.spoil("too_many_pages", f"there are more than {PAGES_MAX} pages")
            return None
        if token is not None:
            self._tokens.add(token)
        return token

    def spoil(self, reason: str, detail: str) -> None:
        """The listing is not complete; the first reason is the one that counts."""
        self._faults.append((reason, detail))

    def snapshot(self) -> Snapshot:
        """What the walk came to."""
        self._count()
        return Snapshot(
            account=self._account,
            provider=NAME,
            instances=tuple(self._instances.values()),
            started_at=self._started_at,
            ended_at=self._clock.now(),
            complete=not self._faults,
            reason=self._faults[0][0] if self._faults else "",
            detail="; ".join(dict.fromkeys(detail for _, detail in self._faults)),
            pages=self.pages,
        )

    def _add(self, row: wire.InstanceRow | None) -> None:
        instance_id = identified(row)
        if row is None or instance_id is None:
            self._unidentified += 1
            self.spoil("bad_row", "a row has no id that could be asked for")
            return
        instance = to_instance(row, instance_id, self._account, self._deployment, self._clock.now())
        if self._instances.setdefault(instance_id, instance) != instance:
            self.spoil("conflict", f"instance {instance_id} is listed twice, and differently")

    def _count(self) -> None:
        """The pages must add up to the API's own total, which must have stayed the same over the walk.

        An instance made or destroyed meanwhile changes it; the next walk will agree again.
        """
        seen = len(self._instances) + self._unidentified
        if None in self._totals:
            self.spoil("count_missing", "a page does not tell how many instances there are")
        elif self._totals != {seen}:
            told = " or ".join(str(total) for total in sorted(t for t in self._totals if t is not None))
            self.spoil("count_mismatch", f"{seen} instances in all pages, {told} by the API's count")
