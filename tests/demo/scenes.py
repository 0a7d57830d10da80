"""A scene in which belief, truth and what was asked for agree, for tests to spoil in one place each."""

from typing import Any

from attrs import define, evolve, field

from shopperd.demo.belief import Belief, BelievedInstance, BelievedOrphan, BelievedSession, Happening
from shopperd.demo.comparison import Outcome, compare
from shopperd.demo.record import Asked, Conjured, Record, Role
from shopperd.demo.truth import Machine, Request, Truth

VAST, DOCK = "vast-demo", "td-demo"
ACCOUNTS = (VAST, DOCK)
NOW = 1_000.0

KEPT, OVER, EXPIRED, LOST = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(1, 5))


def tag(session: str) -> str:
    return f"shopper-{session}"


def machine(id_: str, label: str | None, *, account: str = VAST, gone_at: float | None = None) -> Machine:
    return Machine(
        account=account,
        id=id_,
        tag=label,
        created_at=100.0,
        destroyed_at=gone_at,
        price_per_hour=3.6,
        billed=0.1,
    )


def destroy(instance: str, at: float, *, account: str = VAST, hit: bool = True, n: int = 1) -> Request:
    effects = (f"destroyed:{instance}",) if hit else ()
    return Request(account=account, n=n, at=at, operation="destroy", status=200, effects=effects, instance=instance)


def session(id_: str, state: str, instance: str | None, account: str = VAST) -> BelievedSession:
    return BelievedSession(id=id_, account=account, state=state, tag=tag(id_), instance_id=instance)


def happening(number: int, kind: str, instance: str, account: str = VAST) -> Happening:
    return Happening(id=number, at="2026-11-25T02:00:00Z", kind=kind, message="", account=account, instance_id=instance)


def _record() -> Record:
    asked = [
        Asked(KEPT, VAST, tag(KEPT), "stays", keep=True),
        Asked(OVER, VAST, tag(OVER), "ended", end_asked_at=300.0),
        Asked(EXPIRED, VAST, tag(EXPIRED), "expires", expires_at=400.0),
        Asked(LOST, DOCK, tag(LOST), "lost", machine_lost_at=500.0),
    ]
    conjured = [
        Conjured(VAST, "f1", "training-run-7", Role.FOREIGN, 50.0),
        Conjured(DOCK, "u1", tag("99999999-0000-4000-8000-000000000000"), Role.UNKNOWN, 200.0),
        Conjured(VAST, "back", tag(OVER), Role.ORPHAN, 600.0),
    ]
    return Record(
        asked={each.id: each for each in asked}, conjured=conjured, heard=frozenset({1, 2, 3}), kills=1, revivals=1
    )


def _truth() -> Truth:
    machines = (
        machine("k1", tag(KEPT)),
        machine("o1", tag(OVER), gone_at=310.0),
        machine("e1", tag(EXPIRED), gone_at=420.0),
        machine("back", tag(OVER), gone_at=650.0),
        machine("l1", tag(LOST), account=DOCK, gone_at=500.0),
        machine("f1", "training-run-7"),
        machine("u1", tag("99999999-0000-4000-8000-000000000000"), account=DOCK),
    )
    requests = (
        Request(VAST, 1, 110.0, "create", None, ("created:k1",), ("create_answer_lost",)),
        Request(VAST, 2, 120.0, "list", 429),
        destroy("o1", 305.0, n=3),
        destroy("e1", 415.0, n=4),
        destroy("back", 640.0, n=5),
    )
    return Truth(NOW, machines, requests)


def _belief() -> Belief:
    return Belief(
        sessions=(
            session(KEPT, "running", "k1"),
            session(OVER, "ended", "o1"),
            session(EXPIRED, "ended", "e1"),
            session(LOST, "lost", "l1", DOCK),
        ),
        instances=(
            BelievedInstance(VAST, "k1", "ours", tag(KEPT)),
            BelievedInstance(VAST, "f1", "foreign", "training-run-7"),
            BelievedInstance(DOCK, "u1", "unknown"),
        ),
        orphans=(BelievedOrphan(DOCK, "u1", "unknown", "held", "not_exclusive"),),
        trail=(
            happening(1, "orphan.detected", "e1"),
            happening(2, "orphan.detected", "u1", DOCK),
            happening(3, "orphan.detected", "back"),
            happening(4, "destroy.verified", "o1"),
            happening(5, "destroy.verified", "e1"),
            happening(6, "destroy.verified", "back"),
        ),
    )


@define
class Scene:
    """The three witnesses. As made, they agree."""

    record: Record = field(factory=_record)
    belief: Belief = field(factory=_belief)
    truth: Truth = field(factory=_truth)

    def compared(self) -> Outcome:
        return compare(ACCOUNTS, self.record, self.belief, self.truth)

    def with_session(self, id_: str, **changes: Any) -> None:
        """Have the daemon believe otherwise of one session."""
        rows = tuple(evolve(row, **changes) if row.id == id_ else row for row in self.belief.sessions)
        self.belief = evolve(self.belief, sessions=rows)

    def with_machine(self, id_: str, **changes: Any) -> None:
        """Change what is true of one machine."""
        rows = tuple(evolve(row, **changes) if row.id == id_ else row for row in self.truth.machines)
        self.truth = evolve(self.truth, machines=rows)

    def with_request(self, request: Request) -> None:
        """Have one more request in the marketplaces' log."""
        self.truth = evolve(self.truth, requests=(*self.truth.requests, request))
