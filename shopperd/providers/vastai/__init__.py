"""Vast.ai: the adapter and what it is made of.

`wire` says what the API says and `adapter` what is asked of it; between them `answers` reads refusals,
`instances` and `market` say what rows mean, and `renting` what to send for a new machine. Nothing in here
does I/O but through `providers.transport`.
"""

from __future__ import annotations

from shopperd.providers.vastai.adapter import VastAI, open_vastai

__all__ = ["VastAI", "open_vastai"]
