"""Names of marketplaces and the adapters behind them: the built-in ones, and plug-ins of other packages.

A plug-in is an entry point of the group ``shopperd.providers`` whose name is the marketplace's. It loads as a
callable with the signature of `Opener`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from shopperd.clock import Clock
from shopperd.providers.contract import Provider
from shopperd.providers.tensordock import open_tensordock
from shopperd.providers.transport import Sender
from shopperd.providers.vastai import open_vastai
from shopperd.secrets import Secret
from shopperd.settings import AccountSettings
from shopperd.telemetry import Metrics

GROUP = "shopperd.providers"


class Opener(Protocol):
    """Makes the adapter for one account. `sender` replaces the network, for simulations; None for the real
    one."""

    def __call__(
        self,
        settings: AccountSettings,
        *,
        deployment: str,
        secrets: Mapping[str, Secret],
        clock: Clock,
        metrics: Metrics,
        sender: Sender | None = None,
    ) -> Provider:
        """Raises ValueError if the settings or secrets are not enough."""


BUILT_IN: Mapping[str, Opener] = {"vastai": open_vastai, "tensordock": open_tensordock}


class ProviderUnusable(Exception):
    """No adapter can be made for an account. The text names the account and says what to change."""


def provider_names() -> tuple[str, ...]:
    """The marketplaces that an account may name, sorted."""
    return tuple(sorted({*BUILT_IN, *_plug_ins()}))


def open_provider(
    settings: AccountSettings,
    *,
    deployment: str,
    secrets: Mapping[str, Secret],
    clock: Clock,
    metrics: Metrics,
    sender: Sender | None = None,
) -> Provider:
    """The adapter for one account. A plug-in never takes the place of a built-in one.

    Raises:
        ProviderUnusable: nobody knows this marketplace, a plug-in does not load, or the settings are not
            enough.
    """
    try:
        return _opener(settings)(
            settings, deployment=deployment, secrets=secrets, clock=clock, metrics=metrics, sender=sender
        )
    except ValueError as error:
        raise ProviderUnusable(str(error)) from error


def _opener(settings: AccountSettings) -> Opener:
    if settings.provider in BUILT_IN:
        return BUILT_IN[settings.provider]
    plug_in = _plug_ins().get(settings.provider)
    place = f"accounts.{settings.name}.provider"
    if plug_in is None:
        raise ProviderUnusable(f"{place} is {settings.provider!r}; known are {', '.join(provider_names())}")
    try:
        return cast(Opener, plug_in.load())
    except Exception as error:
        # Whatever a plug-in's import raises: it is somebody else's code.
        raise ProviderUnusable(
            f"{place}: the plug-in {plug_in.value} does not load ({type(error).__name__}: {error})"
        ) from error


def _plug_ins() -> dict[str, EntryPoint]:
    return {plug_in.name: plug_in for plug_in in entry_points(group=GROUP)}
