"""What a person may decide about a machine, and what follows from it, in words."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Act(enum.StrEnum):
    """What a person may decide about a machine."""

    ADOPT = "adopt"
    EXEMPT = "exempt"
    UNEXEMPT = "unexempt"
    DESTROY = "destroy"


CONSEQUENCES: Mapping[Act, str] = {
    Act.ADOPT: "A session will claim it: it stays, and is destroyed when that session ends. It goes on costing money.",
    Act.EXEMPT: "Nothing will destroy it until that is ended. It goes on costing money.",
    Act.UNEXEMPT: "It is protected no longer: if no session claims it, it will be destroyed.",
    Act.DESTROY: "It will be destroyed until it is proven gone, and its session ended. What is on it is lost for ever.",
}
DONE: Mapping[Act, str] = {
    Act.ADOPT: "Adopted: a session claims the machine now.",
    Act.EXEMPT: "Exempt: nothing destroys the machine.",
    Act.UNEXEMPT: "Not exempt any more.",
    Act.DESTROY: "Recorded: the machine is destroyed until it is proven gone.",
}


def acts_on(*, condemned: bool, going: bool, exempt: bool) -> tuple[Act, ...]:
    """What makes sense for a machine that is not foreign.

    Args:
        condemned: a verdict says that it should not be.
        going: a destroy of it is recorded already.
        exempt: a person protects it.
    """
    found = [Act.ADOPT] if condemned and not going else []
    found.append(Act.UNEXEMPT if exempt else Act.EXEMPT)
    if not going and not exempt:
        found.append(Act.DESTROY)
    return tuple(found)
