"""The promises of the heart over random accounts, snapshots and settings; `make prove` tries a million of them."""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.heart.properties import PROPERTIES, STANDING

CASES = int(os.environ.get("SHOPPERD_PROPERTY_CASES", "6000"))
"""Of all properties together."""

SHRUNK_SHARE = 0.05
"""So much of the cases is drawn by hypothesis itself, which is slow and finds the smallest one that fails."""

WITHOUT_SHRINKING = (Phase.explicit, Phase.generate)
"""What is known to fail need not be made small again."""


def _marked(name: str) -> object:
    marks = [pytest.mark.xfail(reason=STANDING[name], strict=True)] if name in STANDING else []
    return pytest.param(name, id=name.replace("_", " "), marks=marks)


NAMES = [_marked(name) for name in PROPERTIES]
EACH = max(1, CASES // len(PROPERTIES))


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_for_the_cases_of_many_seeds(name: str) -> None:
    for number in range(EACH - int(EACH * SHRUNK_SHARE)):
        seed = f"{name}/{number}"
        try:
            PROPERTIES[name](random.Random(seed))
        except Exception as error:
            raise AssertionError(f"it fails for Random({seed!r}): {error}") from error


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_for_what_hypothesis_comes_upon(name: str) -> None:
    @given(st.randoms(use_true_random=False))
    @hypothesis_settings(
        max_examples=max(1, int(EACH * SHRUNK_SHARE)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=WITHOUT_SHRINKING if name in STANDING else tuple(Phase),
    )
    def holds(rng: random.Random) -> None:
        PROPERTIES[name](rng)

    holds()


def test_a_property_that_does_not_hold_yet_is_one_of_them() -> None:
    assert STANDING.keys() <= PROPERTIES.keys()
