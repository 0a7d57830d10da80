"""One request on its way through the world, and the faults that may meet it.

A fault is data plus one small function at a named hook. The hooks, in the order in which a request passes them:

| hook | is asked | answers |
|---|---|---|
| `before` | before keys, limits and effects | an answer that replaces everything, or None |
| `created` | once for each machine that the request rented | True if it changed something |
| `seen` | what a listing or a look at one machine knows of | the machines, or None |
| `row` | for each machine of a listing or a look | the row, or None |
| `offers` | for the rows of a market answer | the rows, or None |
| `after` | with the finished answer | another answer, or None |

Two more are not about a request: `start` when a fault is switched on, `stop` when it ends. None means that the fault did not
apply: nothing is counted, and a fault that was asked for a number of times stays on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import define, field, frozen

from shopperd.simulator.exchange import Answer, Request
from shopperd.simulator.instances import Instance
from shopperd.simulator.truth import Truth

READS = ("search", "list", "show", "user", "charges", "audit", "gpu_names", "filters", "secrets", "balance", "auth")
WRITES = ("create", "destroy", "update", "start", "stop", "reboot", "bid", "ssh", "modify", "secret", "api_key")
OPERATIONS = (*READS, *WRITES, "unknown")
"""What a request asks for, over all dialects. Markets of every kind are `search`; Vast.ai's start, stop and label are `update`."""

Row = dict[str, Any]

T = TypeVar("T")


@frozen
class Parameter:
    """One knob of a fault: its default, which also tells its type, and what it does."""

    default: Any
    doc: str


@frozen
class Spec:
    """A kind of fault: what it does, to whom, and its hooks."""

    name: str
    doc: str
    providers: tuple[str, ...]
    operations: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    before: Callable[[Call, Fault], Answer | None] | None = None
    created: Callable[[Call, Fault, Instance], bool] | None = None
    seen: Callable[[Call, Fault, list[Instance]], list[Instance] | None] | None = None
    row: Callable[[Call, Fault, Instance, Row], Row | None] | None = None
    offers: Callable[[Call, Fault, list[Row]], list[Row] | None] | None = None
    after: Callable[[Call, Fault, Answer], Answer | None] | None = None
    start: Callable[[Truth, Fault], None] | None = None
    stop: Callable[[Truth, Fault], None] | None = None


@define(eq=False)
class Fault:
    """A fault that is on.

    Attributes:
        provider: only there; None: wherever its kind applies.
        operations: only these; the kind's own unless told.
        instance: only requests about this machine, and only its rows.
        count: how many requests it still meets; None: no limit.
        probability: the chance to meet a request that it applies to.
        until: the world's time at which it ends; None: when it is switched off.
        memory: what the fault's function keeps between requests.
    """

    id: str
    spec: Spec
    since: float
    provider: str | None = None
    operations: tuple[str, ...] = ()
    instance: str | None = None
    count: int | None = None
    probability: float | None = None
    until: float | None = None
    values: dict[str, Any] = field(factory=dict)
    fired: int = 0
    memory: dict[str, Any] = field(factory=dict)

    def __getitem__(self, name: str) -> Any:
        """The value of one of its parameters."""
        return self.values[name]

    def covers(self, provider: str) -> bool:
        """It applies to that provider."""
        return provider in self.spec.providers and self.provider in (None, provider)

    def may_meet(self, provider: str, operation: str, instance_id: str | None) -> bool:
        """It applies to a request of that kind. A listing is about every machine."""
        if not self.covers(provider) or (self.operations and operation not in self.operations):
            return False
        return self.instance is None or operation == "list" or instance_id == self.instance


@define(eq=False)
class Call:
    """One request with all that its handler, and the faults, may need.

    Attributes:
        dialect: ``vastai``, ``v2`` or ``v0``.
        params: the named parts of the path.
        key: the credential it came with; never shown.
        faults: those that may meet it.
        effects: what it changed, such as ``created:54000001``.
        created, ended: the machines that it rented and destroyed.
        fired: the faults that did meet it.
    """

    truth: Truth
    request: Request
    provider: str
    dialect: str
    operation: str
    params: Mapping[str, str] = field(factory=dict)
    key: str = field(default="", repr=False)
    faults: tuple[Fault, ...] = ()
    effects: list[str] = field(factory=list)
    created: list[Instance] = field(factory=list)
    ended: list[Instance] = field(factory=list)
    fired: list[Fault] = field(factory=list)

    @property
    def now(self) -> float:
        """The world's time."""
        return self.truth.now

    @property
    def instance_id(self) -> str | None:
        """The machine that the path names."""
        return self.params.get("instance")

    def met(self, fault: Fault) -> None:
        """Count that the fault applied; once per request."""
        if fault not in self.fired:
            self.fired.append(fault)
            fault.fired += 1

    def replaced(self) -> Answer | None:
        """The answer of the first fault that stands in for the whole request."""
        for fault in self.faults:
            if fault.spec.before is not None:
                answer = fault.spec.before(self, fault)
                if answer is not None:
                    self.met(fault)
                    return answer
        return None

    def did_create(self, instance: Instance) -> None:
        """Note a new machine and let the faults have it."""
        self.created.append(instance)
        self.effects.append(f"created:{instance.id}")
        for fault in self.faults:
            if fault.spec.created is not None and fault.spec.created(self, fault, instance):
                self.met(fault)

    def did_destroy(self, instance: Instance) -> None:
        """End a machine as this request asks, and note it."""
        self.truth.destroy(instance)
        self.ended.append(instance)
        self.effects.append(f"destroyed:{instance.id}")

    def seen(self, instances: list[Instance]) -> list[Instance]:
        """What this request gets to know of these machines."""
        for fault in self.faults:
            if fault.spec.seen is not None:
                changed = self._altered(fault, fault.spec.seen, instances)
                if changed is not None:
                    instances = changed
                    self.met(fault)
        return instances

    def row(self, instance: Instance, row: Row) -> Row:
        """How this request is shown one machine. What a fault has made into no object cannot be changed further."""
        shown: Any = row
        for fault in self.faults:
            if fault.spec.row is not None and fault.instance in (None, instance.id) and isinstance(shown, dict):
                changed = self._altered(fault, fault.spec.row, instance, shown)
                if changed is not None:
                    shown = changed
                    self.met(fault)
        return shown  # type: ignore[no-any-return]

    @property
    def alters_offers(self) -> bool:
        """Some fault wants to see the market's rows; without one they are never built as objects."""
        return any(fault.spec.offers is not None for fault in self.faults)

    def offers(self, rows: list[Row]) -> list[Row]:
        """How this request is shown the market."""
        for fault in self.faults:
            if fault.spec.offers is not None:
                changed = self._altered(fault, fault.spec.offers, rows)
                if changed is not None:
                    rows = changed
                    self.met(fault)
        return rows

    def finished(self, answer: Answer) -> Answer:
        """The answer after every fault that changes answers."""
        for fault in self.faults:
            if fault.spec.after is not None:
                changed = self._altered(fault, fault.spec.after, answer)
                if changed is not None:
                    answer = changed
                    self.met(fault)
        return answer

    def _altered(self, fault: Fault, alter: Callable[..., T], *what: Any) -> T | None:
        """What a fault makes of this; None if another one has made that into something which it cannot read."""
        try:
            return alter(self, fault, *what)
        except (LookupError, TypeError, ValueError, AttributeError):
            if not any(other is not fault for other in self.fired):
                raise
            return None
