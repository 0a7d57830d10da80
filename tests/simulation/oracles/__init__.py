"""What must hold in every run, judged from the ledger alone. Nothing here knows of faults, jobs or the store.

Each oracle gives the sentences of what is wrong; none means that all is well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tests.simulation.ledger import Ledger
from tests.simulation.oracles.healing import belief_is_truth, gauges_are_true, no_leak, one_per_intent
from tests.simulation.oracles.manners import (
    keeps_seals,
    keeps_secrets,
    no_fault_of_our_own,
    polite_spacing,
    progress,
    urgent_first,
    waits_as_told,
)
from tests.simulation.oracles.safety import (
    fenced,
    looks_first,
    no_lost_handle,
    no_wrongful_destroy,
    one_rental_per_request,
    under_the_cap,
)

Oracle = Callable[[Ledger], Iterator[str]]

ORACLES: Mapping[str, Oracle] = {
    "O1 no wrongful destroy": no_wrongful_destroy,
    "O1 looks first": looks_first,
    "O2 no leak": no_leak,
    "O3 no lost handle": no_lost_handle,
    "O3 no second request": one_rental_per_request,
    "O4 one machine per intent": one_per_intent,
    "O5 cap": under_the_cap,
    "O6 spacing": polite_spacing,
    "O6 Retry-After": waits_as_told,
    "O6 destroys first": urgent_first,
    "O7 belief equals truth": belief_is_truth,
    "O7 gauges equal truth": gauges_are_true,
    "O8 no fault of our own": no_fault_of_our_own,
    "O8 progress": progress,
    "O8 seals": keeps_seals,
    "O9 secrecy": keeps_secrets,
    "O10 fencing": fenced,
}

LASTING: tuple[Oracle, ...] = (no_leak, one_per_intent, belief_is_truth, gauges_are_true)
"""The oracles that a healed world must satisfy, now and from then on."""


def judge(ledger: Ledger) -> list[str]:
    """Everything that is wrong with a run."""
    return [f"{name}: {text}" for name, oracle in ORACLES.items() for text in oracle(ledger)]


def names_in(wrong: list[str]) -> tuple[str, ...]:
    """The names of the oracles that have found something, each once."""
    return tuple(dict.fromkeys(text.partition(":")[0] for text in wrong))
