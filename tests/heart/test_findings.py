"""The shortest way to each promise that was once broken."""

import pytest
from attrs import evolve

from tests.heart.findings import FINDINGS, Finding, wrongs_of
from tests.heart.model import Heart


def _told(finding: Finding) -> object:
    marks = [pytest.mark.xfail(reason=finding.cause, strict=True)] if finding.cause else []
    return pytest.param(finding, id=finding.name, marks=marks)


@pytest.mark.parametrize("finding", [_told(finding) for finding in FINDINGS])
def test_what_once_went_wrong_goes_wrong_no_more(finding: Finding) -> None:
    assert finding.rule not in wrongs_of(finding, Heart())


def test_the_way_of_a_finding_that_stands_is_walked_to_its_end() -> None:
    for finding in FINDINGS:
        if finding.cause:
            assert finding.rule in wrongs_of(finding, Heart())
            shorter = evolve(finding, path=finding.path[:-1])
            assert finding.rule not in wrongs_of(shorter, Heart()), "its way is longer than it must be"
