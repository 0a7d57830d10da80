"""A schedule that breaks a promise is made as short as it can be, and comes out as Python that plays the same."""

from attrs import evolve

from tests.simulation.ledger import Ledger
from tests.simulation.play import play
from tests.simulation.schedules import Schedule, Step, schedule_of
from tests.simulation.shapes import DOCK, VAST, Shape
from tests.simulation.shrink import as_python, shrink
from tests.simulation.verdicts import replay, told, verdict_on


def kinds(schedule: Schedule) -> list[str]:
    return [step.kind for step in schedule.steps]


def long_one() -> Schedule:
    """A schedule of everything, in which only two steps matter."""
    steps = [Step(5.0 + place, "appear", {"account": VAST, "tag": "foreign", "age": 0.0}) for place in range(30)]
    steps.append(Step(40.123, "freeze"))
    steps.append(Step(50.0, "fault", {"name": "server_error", "provider": "vastai", "count": 2, "seconds": 9.5}))
    steps.append(Step(60.0, "create", {"key": "one", "account": DOCK, "lifetime": None}))
    shape = Shape(accounts=(VAST, DOCK), exclusive=(VAST,), deployment="sim", sweep=12.0, boot=5.0)
    return Schedule(7, shape, tuple(steps), 120.0, cut_at=9)


def test_only_what_breaks_the_promise_is_left() -> None:
    short = shrink(long_one(), lambda schedule: {"freeze", "fault"} <= set(kinds(schedule)))
    assert kinds(short) == ["freeze", "fault"]
    assert len(short.shape.accounts) == 1
    assert short.steps[0].at == 40.0
    assert dict(short.steps[1].values) == {"name": "server_error"}
    assert short.cut_at is None
    assert short.safety_seconds < 60.0
    assert (short.shape.exclusive, short.shape.deployment, short.shape.boot) == ((), "", 0.0)


def test_what_cannot_be_shortened_is_left_as_it_was() -> None:
    schedule = long_one()
    assert shrink(schedule, lambda other: other == schedule) == schedule


def test_the_search_gives_up_after_so_many_plays() -> None:
    played: list[Schedule] = []

    def breaks(schedule: Schedule) -> bool:
        played.append(schedule)
        return False

    shrink(long_one(), breaks, plays=10)
    assert len(played) == 10


def _something_is_destroyed(ledger: Ledger) -> bool:
    """Stands in for an oracle: that anything is ever destroyed is what it takes for a violation."""
    return any(sent.effect is not None and "destroyed:" in sent.effect for sent in ledger.sent)


def test_a_planted_violation_is_shortened_to_what_leads_to_it() -> None:
    noise = (Step(3.0, "appear", {"account": VAST, "tag": "foreign", "age": 0.0}), Step(9.0, "copy"))
    session = (
        Step(4.2, "create", {"key": "one", "account": VAST, "lifetime": None}),
        Step(20.1, "end", {"key": "one"}),
    )
    schedule = Schedule(
        3, Shape(sweep=12.0, status_share=1.0), (*noise[:1], *session[:1], *noise[1:], *session[1:]), 80.0
    )
    short = shrink(schedule, lambda other: _something_is_destroyed(play(other)), plays=40)
    assert kinds(short) == ["create", "end"]
    assert [step.at for step in short.steps] == [4.0, 20.0]
    assert short.safety_seconds < schedule.safety_seconds


def test_a_schedule_reads_as_python_that_makes_it_again() -> None:
    for schedule in (long_one(), schedule_of(5), schedule_of(39)):
        names = {"Schedule": Schedule, "Shape": Shape, "Step": Step}
        assert eval(as_python(schedule), names) == schedule  # noqa: S307 - our own text, which is what is tested


def test_a_failure_tells_the_seed_the_command_and_the_shortest_schedule() -> None:
    verdict = evolve(verdict_on(Schedule(11, Shape(sweep=12.0), (), 12.0)), wrong=("O1 no wrongful destroy: so",))
    text = told(verdict, verdict)
    assert "seed 11" in text
    assert replay(11) in text
    assert "Schedule(" in text
    assert "O1 no wrongful destroy: so" in text
