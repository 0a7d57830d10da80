"""US dollars in words, the same wherever a person reads them: in commands and on the status page."""

from __future__ import annotations


def dollars(usd: float | None) -> str:
    """What was spent or is left. What is less than a cent is not nothing; what is not known is ``-``."""
    if usd is None:
        return "-"
    return "<0.01" if 0 < usd < 0.005 else f"{usd:.2f}"


def dollars_per_hour(usd: float | None) -> str:
    """What an hour costs: to a tenth of a cent, as machines have such prices."""
    return "-" if usd is None else f"{usd:.3f}"
