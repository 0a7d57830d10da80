"""The catalogue follows the code, and what plays it is not fooled. `make mutants` plays the mutants themselves."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from attrs import evolve

from tests.mutants.catalogue import MUTANTS
from tests.mutants.guard import WRONG_PACKAGE, strangers
from tests.mutants.mutant import ROOT, Mutant, StaleMutantError
from tests.mutants.score import SAME, TESTS, changes
from tests.mutants.trial import Run, Verdict, copied, judged, run, tried

PACKAGE = ROOT / "shopperd"
CITED = re.compile(
    r"LESSONS (?:[A-L]\d{1,2}b?|O\d{1,2}|\d\.\d{1,2}|rule \d{1,2})(?=[,;]|$)|api notes on (?:Vast\.ai|TensorDock)\b"
)
QUICK = "tests/test_clock.py"
ONE = MUTANTS[0]


def name_of(mutant: Mutant) -> str:
    return mutant.name


@cache
def defined_in(path: Path) -> frozenset[str]:
    """The tests of a file, as the ends of their node ids."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found.update(f"{node.name}::{one.name}" for one in inner)
    return frozenset(found)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mutant_fits_into_the_code_as_it_is_and_is_a_program(mutant: Mutant) -> None:
    module = PACKAGE / mutant.file
    text = module.read_text(encoding="utf-8")
    changed = mutant.applied(text)
    compile(changed, str(module), "exec")
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)), "it changes nothing but the looks"


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_mutant_says_where_it_comes_from_and_what_it_does(mutant: Mutant) -> None:
    assert CITED.match(mutant.source), mutant.source
    assert re.fullmatch(r"[A-Z].*\.", mutant.what)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", mutant.name)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_the_tests_that_must_notice_a_mutant_exist(mutant: Mutant) -> None:
    assert mutant.killed_by
    for node in mutant.killed_by:
        path, _, name = node.partition("::")
        assert name.partition("[")[0] in defined_in(ROOT / path), node


def test_every_mutant_has_a_name_and_a_change_of_its_own() -> None:
    names = Counter(mutant.name for mutant in MUTANTS)
    changes = Counter((mutant.file, mutant.before, mutant.after, mutant.occurrence) for mutant in MUTANTS)
    assert [name for name, count in names.items() if count > 1] == []
    assert [change for change, count in changes.items() if count > 1] == []


def test_there_are_many_and_in_every_part_of_the_core() -> None:
    assert len(MUTANTS) >= 40
    core = {
        *("model", "sightings", "lifecycle", "reconcile", "decisions", "jobs/creates", "jobs/destroys", "jobs/status"),
        *("jobs/sweep", "store/sessions", "store/destroys", "providers/sender", "providers/transport"),
        *("providers/vastai/answers", "providers/tensordock/complaints"),
    }
    touched = {mutant.file.removesuffix(".py") for mutant in MUTANTS}
    assert core - touched == set()


def test_a_text_that_is_gone_or_not_alone_is_said() -> None:
    with pytest.raises(StaleMutantError, match=r"holds its text 0 times, not exactly one"):
        evolve(ONE, before="there is no such line").applied("a\nb\n")
    with pytest.raises(StaleMutantError, match=r"holds its text 2 times, not exactly one"):
        evolve(ONE, before="a").applied("a b a")
    with pytest.raises(StaleMutantError, match=r"holds its text 2 times, not occurrence 3"):
        evolve(ONE, before="a", occurrence=3).applied("a b a")


def test_one_of_several_texts_can_be_meant() -> None:
    second = evolve(ONE, before="a", after="x", occurrence=2)
    assert second.applied("a b a a") == "a b x a"


# --- what plays them --------------------------------------------------------------------------------------------------


def ran(status: int | None, **first: object) -> Run:
    return Run(status, first, "the last line\n\n", 1.0)


CAUGHT = {"test": "tests/test_x.py::test_y", "when": "call", "error": "AssertionError", "timed_out": False}


@pytest.mark.parametrize(
    ("outcome", "verdict", "by"),
    [
        (ran(1, **CAUGHT), Verdict.CAUGHT, "tests/test_x.py::test_y"),
        (ran(1, **(CAUGHT | {"error": "Failed"})), Verdict.CAUGHT, "tests/test_x.py::test_y"),
        (ran(0), Verdict.SURVIVED, ""),
        (ran(1, **(CAUGHT | {"when": "setup"})), Verdict.BROKEN, "AssertionError at the setup"),
        (ran(1, **(CAUGHT | {"error": "NameError"})), Verdict.BROKEN, "NameError at the call"),
        (ran(1), Verdict.BROKEN, "pytest ended with 1: the last line"),
        (ran(2, **CAUGHT), Verdict.BROKEN, "pytest ended with 2"),
        (ran(4), Verdict.BROKEN, "pytest ended with 4"),
        (ran(5), Verdict.BROKEN, "pytest ended with 5"),
        (ran(WRONG_PACKAGE, **CAUGHT), Verdict.BROKEN, "the tests did not get the copy"),
        (ran(None), Verdict.BROKEN, "hung"),
        (ran(1, **(CAUGHT | {"timed_out": True})), Verdict.BROKEN, "hung: tests/test_x.py::test_y"),
    ],
)
def test_only_a_test_that_ran_and_failed_has_noticed_a_mutant(outcome: Run, verdict: Verdict, by: str) -> None:
    result = judged(ONE, outcome)
    assert (result.verdict, result.by[: len(by)]) == (verdict, by)


def test_a_hang_counts_where_it_is_the_bug() -> None:
    assert judged(evolve(ONE, hangs=True), ran(None)).verdict is Verdict.CAUGHT


def test_a_bug_in_a_copy_is_noticed_and_the_checkout_is_left_alone(tmp_path: Path) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == "tag-by-prefix")
    module = PACKAGE / mutant.file
    before = module.read_bytes()
    result = tried(mutant, PACKAGE, tmp_path / "copy")
    assert (result.verdict, result.by.partition("[")[0]) == (Verdict.CAUGHT, mutant.killed_by[0])
    assert module.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_without_a_bug_the_same_tests_notice_nothing(tmp_path: Path) -> None:
    copied(PACKAGE, tmp_path)
    outcome = run(tmp_path, (QUICK,), 60.0)
    assert judged(ONE, outcome).verdict is Verdict.SURVIVED, outcome.output


def test_a_package_from_elsewhere_ends_the_run(tmp_path: Path) -> None:
    outcome = run(tmp_path, (QUICK,), 60.0)
    assert outcome.status == WRONG_PACKAGE
    assert "not from" in outcome.output


def test_a_module_from_elsewhere_is_noticed(tmp_path: Path) -> None:
    assert str(PACKAGE / "__init__.py") in strangers(tmp_path)
    assert strangers(ROOT) == []


def test_the_catalogue_is_told_without_playing_it(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.mutants.__main__ import main

    main(["--list", "-k", ONE.name], standalone_mode=False)
    assert ONE.what in capsys.readouterr().out


# --- what makes changes up --------------------------------------------------------------------------------------------

SMALL = """
def first(a, b):
    log.info("words", count=1)
    if a is None or b > 1:
        return 1
    b.append(a + 1)
    return "text"
"""


def test_small_changes_are_made_up_and_those_that_read_alike_have_a_number() -> None:
    assert [change.name for change in changes(SMALL)] == [
        "first: a is None or b > 1 -> (not (a is None or b > 1))",
        "first: a is None or b > 1 -> (b > 1)",
        "first: a is None or b > 1 -> (a is None)",
        "first: a is None -> (a is not None)",
        "first: b > 1 -> (b >= 1)",
        "first: 1 -> 2",
        "first: 1 -> 2 (2)",
        "first: b.append(a + 1) -> pass",
        "first: a + 1 -> (a - 1)",
        "first: 1 -> 2 (3)",
    ]
    for change in changes(SMALL):
        assert ast.dump(ast.parse(change.text)) != ast.dump(ast.parse(SMALL))


@pytest.mark.parametrize("module", list(TESTS))
def test_what_is_said_to_be_the_same_is_a_change_that_there_is(module: str) -> None:
    names = [change.name for change in changes((PACKAGE / module).read_text(encoding="utf-8"))]
    assert max(Counter(names).values()) == 1
    assert SAME.get(module, {}).keys() - names == set()
    assert SAME.keys() <= TESTS.keys()
