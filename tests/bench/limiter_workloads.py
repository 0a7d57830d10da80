"""What the clients of the benchmark want, and what is measured of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from attrs import define, frozen

from shopperd.providers.pacing import Endpoint
from tests.bench.limiter_servers import Case, Server
from tests.bench.limiter_world import Call, Client, Strategy, World, longest_gap

SETTLE_SECONDS = 600.0
HOURS_2 = 7200.0
HOURS_3 = 10_800.0
SATURATED = (Endpoint.LIST, Endpoint.SHOW, Endpoint.DESTROY)
CALLERS = 3
PRIORITY_CALLERS = 6
DESTROYS_FROM = 900.0
DESTROYS_EVERY = 60.0
LIST_EVERY = 20.0
OFFERS_EVERY = 60.0
PAGE = 25
BURSTS = ((600.0, 50), (2400.0, 200))
CREATES = 20

Make = Callable[[Case, Server, Random], Strategy]
"""A fresh strategy for a server whose limits it may only look at if it is told so."""


@frozen
class Figures:
    """One run of a workload in which somebody always waits. Shares are of 1.

    Attributes:
        settled, whole: goodput; settled leaves out the beginning and what follows a change.
        refused: of all requests.
        longest_gap: seconds without one accepted call, after the beginning.
    """

    settled: float
    whole: float
    refused: float
    refusals: int
    requests: int
    longest_gap: float
    too_soon: int
    used_up: int


def _always(client: Client, endpoint: Endpoint, callers: int) -> None:
    def again(call: Call, now: float) -> None:
        client.submit(endpoint, then=again)

    for _ in range(callers):
        client.submit(endpoint, then=again)


def _figures(server: Server, clients: Sequence[Client], seconds: float) -> Figures:
    sent = sorted((each for client in clients for each in client.sent), key=lambda each: each.arrived_at)
    accepted = [each for each in sent if each.accepted]
    edges = [0.0, *(at for at in server.changes if at < seconds), seconds]
    served = possible = 0.0
    for start, end in pairwise(edges):
        begin = start + SETTLE_SECONDS
        if begin >= end:
            continue
        counts = Counter(each.endpoint for each in accepted if begin <= each.arrived_at < end)
        share = server.goodput(counts, begin, end)
        weight = _possible(server, begin, end)
        served, possible = served + share * weight, possible + weight
    whole = server.goodput(Counter(each.endpoint for each in accepted if each.arrived_at < seconds), 0.0, seconds)
    refusals = len(sent) - len(accepted)
    return Figures(
        settled=served / possible if possible else math.nan,
        whole=whole,
        refused=refusals / max(1, len(sent)),
        refusals=refusals,
        requests=len(sent),
        longest_gap=longest_gap([each.arrived_at for each in accepted], min(SETTLE_SECONDS, seconds / 2), seconds),
        too_soon=sum(client.too_soon for client in clients),
        used_up=sum(each.used_up for each in sent),
    )


def _possible(server: Server, start: float, end: float) -> float:
    """How much can be served in that time, up to a factor that is the same for all of a server's times."""
    return (end - start) / server.ideal(Endpoint.LIST, start)


def saturated(
    case: Case, make: Make, seed: int, seconds: float = HOURS_2, replicas: int = 1, start_jitter: float = 0.0
) -> Figures:
    """Three callers each on lists, reads and destroys, and on offers where those have a quota."""
    random = Random(seed)
    server = case.make(Random(seed * 7919 + 1))
    world = World(server, random)
    clients = [Client(world, make(case, server, Random(seed * 104_729 + number))) for number in range(replicas)]

    def begin(client: Client) -> Callable[[], None]:
        def start() -> None:
            for endpoint in SATURATED if case.name != "M5" else (*SATURATED, Endpoint.OFFERS):
                _always(client, endpoint, CALLERS)

        return start

    for client in clients:
        world.at(random.random() * start_jitter, begin(client))
    world.run(seconds)
    return _figures(server, clients, seconds)


@frozen
class PriorityFigures:
    """Lone destroys while everything else always wants to go.

    Attributes:
        intervals: what each destroy waited, in the ideal spacing of its limit.
        offers_silence: the longest time without an accepted search, seconds.
    """

    intervals: tuple[float, ...]
    behind: int
    offers_silence: float
    too_soon: int


def priority(case: Case, make: Make, seed: int, seconds: float = HOURS_3) -> PriorityFigures:
    """Six callers each on lists, reads and offers; a destroy every minute on average."""
    random = Random(seed)
    server = case.make(Random(seed * 7919 + 1))
    world = World(server, random)
    client = Client(world, make(case, server, Random(seed * 104_729)))
    for endpoint in (Endpoint.LIST, Endpoint.SHOW, Endpoint.OFFERS):
        _always(client, endpoint, PRIORITY_CALLERS)
    at = DESTROYS_FROM
    while (at := at + random.expovariate(1.0 / DESTROYS_EVERY)) < seconds - 300.0:
        world.at(at, lambda: client.submit(Endpoint.DESTROY))
    world.run(seconds)
    ideal = server.ideal(Endpoint.DESTROY, 0.0)
    offers = [each.arrived_at for each in client.sent if each.accepted and each.endpoint is Endpoint.OFFERS]
    return PriorityFigures(
        tuple(sorted(wait / ideal for wait in client.waits)),
        client.behind,
        longest_gap(offers, DESTROYS_FROM, seconds),
        client.too_soon,
    )


@define
class _Rounds:
    """Listings of all pages one after another; a round that is due while one goes on is left out."""

    client: Client
    pages: int
    going: bool = False

    def begin(self) -> None:
        world = self.client.world
        world.at(world.now + LIST_EVERY, self.begin)
        if not self.going:
            self.going = True
            self._page(self.pages)

    def _page(self, left: int) -> None:
        def next_page(call: Call, now: float) -> None:
            if left > 1:
                self._page(left - 1)
            else:
                self.going = False

        self.client.submit(Endpoint.LIST, then=next_page)


@frozen
class RealisticFigures:
    """An account at work, with a burst of destroys.

    Attributes:
        burst: how long the burst of 200 took, over the shortest possible; infinite if it never ended.
        list_silence, offers_silence: the longest time without an accepted call, seconds.
    """

    burst: float
    list_silence: float
    offers_silence: float
    refused: float
    too_soon: int


def realistic(case: Case, make: Make, seed: int, machines: int = 200, seconds: float = HOURS_2) -> RealisticFigures:
    """A listing every 20 s, a search every 60 s, and two bursts of confirming reads and destroys, with creates."""
    random = Random(seed)
    server = case.make(Random(seed * 7919 + 1))
    world = World(server, random)
    client = Client(world, make(case, server, Random(seed * 104_729)))
    ended: dict[float, float] = {}
    world.at(1.0, _Rounds(client, max(1, math.ceil(machines / PAGE))).begin)

    def offers() -> None:
        world.at(world.now + OFFERS_EVERY, offers)
        if not client.waiting[Endpoint.OFFERS]:
            client.submit(Endpoint.OFFERS)

    world.at(2.0, offers)

    def burst(began: float, size: int) -> Callable[[], None]:
        left = size

        def destroyed(call: Call, now: float) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                ended[began] = now

        def confirmed(call: Call, now: float) -> None:
            client.submit(Endpoint.DESTROY, then=destroyed)

        def begin() -> None:
            for _ in range(size):
                client.submit(Endpoint.SHOW, urgent=True, then=confirmed)
            for _ in range(CREATES):
                client.submit(Endpoint.CREATE)

        return begin

    for began, size in BURSTS:
        world.at(began, burst(began, size))
    world.run(seconds)
    began, size = BURSTS[-1]
    ideal = server.ideal(Endpoint.DESTROY, began)
    shortest = (2 * size + CREATES) * ideal if server.of_account else size * ideal
    accepted = [each for each in client.sent if each.accepted]
    refusals = len(client.sent) - len(accepted)
    return RealisticFigures(
        burst=(ended.get(began, math.inf) - began) / shortest,
        list_silence=_silence(accepted, Endpoint.LIST, seconds),
        offers_silence=_silence(accepted, Endpoint.OFFERS, seconds),
        refused=refusals / max(1, len(client.sent)),
        too_soon=client.too_soon,
    )


def _silence(accepted: Sequence[object], endpoint: Endpoint, seconds: float) -> float:
    moments = [each.arrived_at for each in accepted if each.endpoint is endpoint]  # type: ignore[attr-defined]
    return longest_gap(moments, 0.0, seconds)
