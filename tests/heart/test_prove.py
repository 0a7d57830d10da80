"""The long proof, made short."""

import json

import pytest

from tests.heart import prove
from tests.heart.findings import FINDINGS
from tests.heart.properties import PROPERTIES, STANDING
from tests.heart.scenarios import SCENARIOS


def test_the_last_line_tells_what_was_walked_and_tried(capsys: pytest.CaptureFixture[str]) -> None:
    status = prove.main(["--transitions", "40", "--cases", "50", "--processes", "1", "--ways", "1"])
    lines = capsys.readouterr().out.splitlines()
    told = json.loads(lines[-1])
    assert told["scenarios"] == len(SCENARIOS)
    assert told["transitions"] >= 40 * len(SCENARIOS) > told["states"]
    assert told["property_cases"] == 50
    assert told["ways"] == len(SCENARIOS)
    found = [line.split("Random")[0] for line in lines if line.startswith("violation")]
    assert told["violations"] == len(set(found))
    assert status == (1 if told["violations"] else 0)


def test_the_cases_are_spread_over_all_properties() -> None:
    pieces = [piece for _, piece in prove._pieces(len(PROPERTIES) * 3000 + 1, "seed")]
    assert sum(piece.count for piece in pieces) == len(PROPERTIES) * 3000 + 1
    assert {piece.name for piece in pieces} == set(PROPERTIES)
    assert max(piece.count for piece in pieces) == prove.PIECE


@pytest.mark.parametrize("name", sorted(STANDING) or ["limits_hold"])
def test_a_case_that_fails_is_told_with_its_seed(name: str) -> None:
    piece = prove._try(("prove", prove.Piece(name, 0, 20)))
    assert all(failure.startswith(f"Random('prove/{name}/") for failure in piece.failed)
    assert bool(piece.failed) is (name in STANDING)


def test_every_finding_is_of_a_scenario_that_there_is() -> None:
    names = {place.name for place in SCENARIOS}
    assert len(names) == len(SCENARIOS)
    for finding in FINDINGS:
        assert {finding.scenario, *finding.elsewhere} <= names
