"""Every reason has words."""

from shopperd.model import HoldReason, OrphanKind
from shopperd.reasons import HOLDS, KINDS


def test_every_hold_says_what_must_be_so_why_it_holds_and_what_would_change_it() -> None:
    assert set(HOLDS) == set(HoldReason)
    for words in HOLDS.values():
        assert words.rule
        assert words.hold
        assert words.remedy


def test_every_kind_of_orphan_has_words() -> None:
    assert set(KINDS) == set(OrphanKind)
