"""How a fault enters the catalogue: a decorator that names its hook and takes name and text from the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import evolve

from shopperd.simulator.call import OPERATIONS, Parameter, Spec
from shopperd.simulator.truth import PROVIDERS

HOOKS = ("before", "created", "seen", "row", "offers", "after", "start", "stop")
CATALOGUE: dict[str, Spec] = {}
VAST = ("vastai",)
DOCK = ("tensordock",)
BOTH = PROVIDERS

Hook = TypeVar("Hook", bound=Callable[..., Any])


def fault(
    hook: str,
    *,
    providers: tuple[str, ...] = BOTH,
    operations: tuple[str, ...] = (),
    parameters: Mapping[str, Parameter] | None = None,
    name: str | None = None,
) -> Callable[[Hook], Hook]:
    """Enter the decorated function at that hook.

    A second function may add another hook to the same fault by giving its `name`.

    Raises:
        ValueError: the entry is not well-formed; found when the module is imported.
    """

    def enter(function: Hook) -> Hook:
        key = name or function.__name__
        known = CATALOGUE.get(key)
        if known is not None:
            if getattr(known, hook) is not None:
                raise ValueError(f"fault {key} has two functions at {hook}")
            added: dict[str, Any] = {hook: function}
            CATALOGUE[key] = evolve(known, **added)
            return function
        text = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        unknown = [operation for operation in operations if operation not in OPERATIONS]
        if hook not in HOOKS or not text or unknown:
            raise ValueError(f"fault {key} is not well-formed: hook {hook}, operations {unknown}, text {text!r}")
        CATALOGUE[key] = Spec(key, text, providers, operations, dict(parameters or {}), **{hook: function})
        return function

    return enter
