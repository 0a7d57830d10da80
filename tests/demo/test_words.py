import pytest
from attrs import evolve

from shopperd.demo.words import Voice, line_of, short
from tests.demo.scenes import KEPT, happening


@pytest.mark.parametrize(
    ("kind", "voice"),
    [
        ("session.running", Voice.SEEN),
        ("orphan.detected", Voice.SEEN),
        ("destroy.recorded", Voice.DECIDED),
        ("destroy.requested", Voice.DONE),
        ("destroy.verified", Voice.DONE),
    ],
)
def test_an_event_tells_whether_it_was_seen_decided_or_done(kind: str, voice: Voice) -> None:
    assert line_of(happening(1, kind, "i1"), 2.0).voice is voice


def test_an_event_is_told_with_short_ids() -> None:
    line = line_of(evolve(happening(1, "session.running", "54000001"), session_id=KEPT), 2.0)
    assert line.text == "session 00000001: machine 54000001 runs"
    assert (line.at, line.account) == (2.0, "vast-demo")


def test_an_event_without_words_is_told_as_it_is() -> None:
    line = line_of(evolve(happening(1, "moon.rose", "i1"), message="{session} is no placeholder here"), 0.0)
    assert line.text == "moon.rose: {session} is no placeholder here"


def test_an_event_about_nothing_in_particular_says_so() -> None:
    assert short(None) == "not known yet"
    assert short("54000001234") == "54000001234"
