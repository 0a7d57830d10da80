"""What is true, as the simulators' control APIs tell it: machines, what they cost, and every request that was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

SECONDS_PER_HOUR = 3600


@frozen
class Machine:
    """A machine that exists or existed. Times are epoch seconds, money is USD."""

    account: str
    id: str
    tag: str | None
    created_at: float
    destroyed_at: float | None
    price_per_hour: float
    billed: float
    ended_by: str | None = None

    @property
    def alive(self) -> bool:
        """Whether it exists now."""
        return self.destroyed_at is None

    def cost_since(self, at: float, now: float) -> float:
        """USD that it cost from then until its end, or until now."""
        start = max(at, self.created_at)
        end = self.destroyed_at if self.destroyed_at is not None else now
        return max(0.0, end - start) / SECONDS_PER_HOUR * self.price_per_hour


@frozen
class Request:
    """A request that a marketplace received.

    Attributes:
        status: None where the connection was dropped instead of an answer.
        effects: such as ``created:54000001``; empty if it changed nothing.
        instance: the machine that its path names, if it names one.
    """

    account: str
    n: int
    at: float
    operation: str
    status: int | None
    effects: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    instance: str | None = None

    @property
    def targets(self) -> frozenset[str]:
        """The machines that it named or hit."""
        hit = {effect.partition(":")[2] for effect in self.effects}
        return frozenset(hit | ({self.instance} if self.instance else set()))


@frozen
class Truth:
    """All accounts' truth at one moment (epoch seconds)."""

    now: float
    machines: tuple[Machine, ...] = ()
    requests: tuple[Request, ...] = ()

    def alive(self, account: str) -> dict[str, Machine]:
        """The machines that exist in an account, by id."""
        return {machine.id: machine for machine in self.machines if machine.account == account and machine.alive}

    def find(self, account: str, instance_id: str) -> Machine | None:
        """A machine that exists or existed."""
        for machine in self.machines:
            if machine.account == account and machine.id == instance_id:
                return machine
        return None


def machine_of(account: str, row: Mapping[str, Any]) -> Machine:
    """A machine from `GET /_sim/state`."""
    return Machine(
        account=account,
        id=str(row["id"]),
        tag=row["tag"],
        created_at=float(row["created_at"]),
        destroyed_at=row["destroyed_at"],
        price_per_hour=float(row["price_per_hour"]),
        billed=float(row["billed"]),
        ended_by=row.get("ended_by"),
    )


def request_of(account: str, row: Mapping[str, Any]) -> Request:
    """A request from `GET /_sim/requests`."""
    effect = row["effect"]
    return Request(
        account=account,
        n=int(row["n"]),
        at=float(row["at"]),
        operation=str(row["operation"]),
        status=row["status"],
        effects=tuple(effect.split(",")) if effect else (),
        faults=tuple(row["faults"]),
        instance=row["instance"],
    )
