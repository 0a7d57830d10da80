"""The audit trail in plain words: what was seen, what was decided, what was done."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from attrs import frozen

from shopperd.demo.belief import Happening

ID_CHARS = 8
"""So much of a session's or a machine's id is shown; enough to tell them apart in a demo."""


class Voice(enum.StrEnum):
    """Who or what a line is about."""

    SCRIPT = "demo"
    """What the demo does as an ordinary user."""
    TROUBLE = "trouble"
    """What the demo lets go wrong."""
    SEEN = "seen"
    DECIDED = "decided"
    DONE = "done"


@frozen
class Line:
    """One line of the story. `at`: seconds since its start."""

    at: float
    voice: Voice
    text: str
    account: str = ""


_SAID: Mapping[str, tuple[Voice, str]] = {
    "session.created": (Voice.DECIDED, "session {session}: wanted, the intent is on disk"),
    "session.registered": (Voice.DECIDED, "session {session}: registered, its machine is awaited"),
    "create.requested": (Voice.DONE, "session {session}: asked the marketplace to rent ({message})"),
    "create.accepted": (Voice.SEEN, "session {session}: the marketplace gave machine {instance}"),
    "create.refused": (Voice.SEEN, "session {session}: this offer was refused ({message})"),
    "create.unclear": (Voice.SEEN, "session {session}: no clear answer, so its tag is looked for ({message})"),
    "session.bound": (Voice.DECIDED, "session {session}: machine {instance} carries its tag, so it is bound"),
    "session.rebound": (Voice.DECIDED, "session {session}: now on machine {instance}, which carries its tag"),
    "session.starting": (Voice.SEEN, "session {session}: machine {instance} starts"),
    "session.running": (Voice.SEEN, "session {session}: machine {instance} runs"),
    "session.stopped": (Voice.SEEN, "session {session}: machine {instance} is stopped"),
    "session.lost": (Voice.DECIDED, "session {session}: lost, machine {instance} is proven gone"),
    "session.returned": (Voice.SEEN, "session {session}: its machine {instance} is back"),
    "session.expired": (Voice.DECIDED, "session {session}: its time is over"),
    "session.ending": (Voice.DECIDED, "session {session}: to end, machine {instance} will be destroyed"),
    "session.ended": (Voice.DONE, "session {session}: ended ({message})"),
    "session.failed": (Voice.DECIDED, "session {session}: failed ({message})"),
    "session.extended": (Voice.DECIDED, "session {session}: extended ({message})"),
    "destroy.recorded": (Voice.DECIDED, "machine {instance}: to be destroyed until proven gone ({message})"),
    "destroy.requested": (Voice.DONE, "machine {instance}: destroy sent, {message}"),
    "destroy.accepted": (Voice.SEEN, "machine {instance}: {message}; only listings can prove it"),
    "destroy.failed": (Voice.SEEN, "machine {instance}: the destroy failed ({message})"),
    "destroy.held": (Voice.DECIDED, "machine {instance}: the destroy waits, {message}"),
    "destroy.verified": (Voice.DONE, "machine {instance}: proven gone"),
    "orphan.detected": (Voice.SEEN, "orphan? {message}"),
    "fleet.jumped": (Voice.DECIDED, "{message}"),
    "instance.returned": (Voice.SEEN, "{message}"),
    "instance.replaced": (Voice.SEEN, "{message}"),
    "deployment.frozen": (Voice.DECIDED, "frozen: {message}"),
    "deployment.unfrozen": (Voice.DECIDED, "unfrozen: {message}"),
}


def short(id_: str | None) -> str:
    """An id as it is shown."""
    if not id_:
        return "not known yet"
    return id_[:ID_CHARS] if "-" in id_ else id_


def line_of(happening: Happening, at: float) -> Line:
    """A row of the audit trail as a line. A kind that has no words here is shown as it is."""
    voice, text = _SAID.get(happening.kind, (Voice.SEEN, f"{happening.kind}: {{message}}"))
    said = text.format(
        session=short(happening.session_id), instance=short(happening.instance_id), message=happening.message
    )
    return Line(at, voice, said, happening.account or "")
