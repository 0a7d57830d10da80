"""Timed steps from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shopperd.simulator.scenario import BadScenarioError, load_scenario, parse_scenario, play
from tests.simulator.visitor import TAG, Visitor

TOML = """
[[steps]]
at_seconds = 10
fault = { name = "server_error", count = 1 }

[[steps]]
at_seconds = 20
instance = { provider = "vastai", tag = "from-a-file" }

[[steps]]
at_seconds = 30
advance = 3600

[[steps]]
at_seconds = 5
fault = { name = "slow", provider = "tensordock" }

[[steps]]
at_seconds = 6
clear = "slow"
"""


def test_steps_happen_at_their_time(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(TOML)
    visitor = Visitor()
    play(visitor.world, load_scenario(path))
    assert visitor.page().status == 200
    visitor.wait(10)
    assert visitor.world.faults.active.keys() == {"f2"}
    assert visitor.page().status == 500
    assert visitor.listed() == []
    visitor.wait(10)
    assert [row["label"] for row in visitor.rows()] == ["from-a-file"]
    visitor.wait(10)
    visitor.wait(0)
    assert visitor.world.truth.now == visitor.now + 3600


def test_a_scenario_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps({"steps": [{"instance": {"provider": "tensordock", "tag": TAG}}]}))
    visitor = Visitor("v2")
    play(visitor.world, load_scenario(path))
    visitor.wait(0)
    assert len(visitor.listed()) == 1


def test_all_faults_can_be_cleared_at_once() -> None:
    visitor = Visitor()
    visitor.world.switch_on("slow")
    play(visitor.world, parse_scenario({"steps": [{"clear": True}]}))
    visitor.wait(0)
    assert visitor.world.faults.active == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "needs a list named steps"),
        ({"steps": [5]}, "step 1: must be a table"),
        ({"steps": [{"at_seconds": -1, "clear": True}]}, "at_seconds must be"),
        ({"steps": [{"at_seconds": 1}]}, "exactly one of"),
        ({"steps": [{"clear": True, "advance": 1}]}, "exactly one of"),
        ({"steps": [{"clear": True}, {"fault": {"name": "nonsense"}}]}, "step 2: no fault is named"),
        ({"steps": [{"fault": {"name": "slow", "count": 0}}]}, "step 1: count must be"),
        ({"steps": [{"fault": "slow"}]}, "fault must be a table"),
        ({"steps": [{"instance": {"provider": "aws"}}]}, "provider must be one of"),
        ({"steps": [{"advance": -1}]}, "advance must be"),
        ({"steps": [{"clear": "nonsense"}]}, "clear must be"),
    ],
)
def test_a_bad_step_is_refused_before_anything_is_served(content: object, reason: str) -> None:
    with pytest.raises(BadScenarioError, match=reason):
        parse_scenario(content)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[[steps")
    with pytest.raises(BadScenarioError, match=r"broken\.toml"):
        load_scenario(path)
