"""`shopperd check`: is the configuration right, and do the credentials work."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import asdict, field, frozen
from prometheus_client import CollectorRegistry

from shopperd.cli.client import EXIT_FAILED, EXIT_USAGE
from shopperd.cli.output import printable, show_json, show_line
from shopperd.clock import SystemClock
from shopperd.providers.contract import (
    AuthFailed,
    NamesRights,
    OfferFilter,
    Provider,
    ProviderError,
    RateLimited,
    Rights,
    TellsBalance,
    Unclear,
)
from shopperd.providers.registry import ProviderUnusable, open_provider
from shopperd.redaction import redact
from shopperd.secrets import Secret, read_all
from shopperd.settings import AccountSettings, Settings, SettingsError
from shopperd.settings_file import describe, load
from shopperd.telemetry import Metrics

ACCOUNT_SECONDS_MAX = 180.0
"""A listing of many pages and a search, at the pace that the provider wants."""

SMALL = OfferFilter(gpu="RTX 4090", gpu_count=1)
"""A search that every market answers quickly; finding nothing is fine."""

NOT_TOLD = "not told"
NOT_TRIED = "not tried"
WHY_NOT_TRIED = (
    "not tried: {}, to rent and destroy, which no marketplace tells without a change; the first one shows it"
)
"""Neither API tells a key's rights, nor promises that a destroy of what does not exist asks for the right first; so none is sent."""
NO_RIGHTS: Mapping[str, str] = {}

T = TypeVar("T")


@frozen
class Finding:
    """What an account answered. `rights`: by the provider's name of each that was tried, whether the credentials have it."""

    account: str
    provider: str
    ok: bool
    detail: str
    rights: Mapping[str, str] = field(factory=dict)


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Default: /etc/shopperd/config.toml, if it is there.")
@click.option(
    "--online",
    is_flag=True,
    help="Also ask every account for its instances and a few offers, which tells its rights to read.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the settings, and with --online the findings, as JSON.")
def check(config: Path | None, online: bool, as_json: bool) -> None:
    """Print the settings in force, or everything that is wrong with them.

    Secrets are named by where they are, never shown. With --online nothing is asked for that changes anything, so the right to rent
    and destroy is named and not tried. Exit status 2: the settings are wrong; 1: an account does not work, or its key lacks a right to
    read, which is named.

    \b
    Examples:
      shopperd check --config shopperd.toml
      shopperd check --config shopperd.toml --online
    """
    try:
        settings = load(config, os.environ)
        secrets = read_all(settings, os.environ)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(printable(problem), err=True)
        sys.exit(EXIT_USAGE)
    told: dict[str, Any] = describe(settings)
    if not online:
        show_json(told) if as_json else _show_settings(told)
        return
    findings = asyncio.run(_ask_all(settings, secrets))
    if as_json:
        show_json({"settings": told, "accounts": [asdict(finding) for finding in findings]})
    else:
        _show_settings(told)
        click.echo()
        for finding in findings:
            mark, colour = ("ok", "green") if finding.ok else ("FAILED", "red")
            show_line(f"{mark}: {finding.account} ({finding.provider}): {finding.detail}", colour=colour)
        if not findings:
            show_line("no account is enabled, so there is nothing to ask", colour="yellow")
    if not all(finding.ok for finding in findings):
        sys.exit(EXIT_FAILED)


def _show_settings(told: Mapping[str, Any]) -> None:
    """One key a line, with its whole path: easy to read, and to search."""
    for path, value in _leaves(told, ()):
        click.echo(f"{'.'.join(map(printable, path))} = {printable(_text(value))}")


def _leaves(value: object, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping) and value:
        return [leaf for key, each in value.items() for leaf in _leaves(each, (*path, str(key)))]
    return [(path, value)]


def _text(value: object) -> object:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value == {} else value


async def _ask_all(settings: Settings, secrets: Mapping[str, Mapping[str, Secret]]) -> list[Finding]:
    enabled = [account for account in settings.accounts.values() if account.enabled]
    return list(await asyncio.gather(*(_ask(account, settings, secrets.get(account.name, {})) for account in enabled)))


async def _ask(account: AccountSettings, settings: Settings, secrets: Mapping[str, Secret]) -> Finding:
    def found(ok: bool, detail: str, rights: Mapping[str, str] = NO_RIGHTS) -> Finding:
        return Finding(account.name, account.provider, ok, redact(detail), rights)

    try:
        provider = open_provider(
            account,
            deployment=settings.deployment,
            secrets=secrets,
            clock=SystemClock(),
            metrics=Metrics(CollectorRegistry()),
        )
    except ProviderUnusable as error:
        return found(False, str(error))
    try:
        async with asyncio.timeout(ACCOUNT_SECONDS_MAX):
            return found(*await _look(provider))
    except TimeoutError:
        return found(False, f"no answer within {ACCOUNT_SECONDS_MAX:.0f} s")
    except AuthFailed as error:
        return found(False, f"{error}; check the key, that it is this provider's, and its rights")
    except RateLimited as error:
        return found(False, f"{error}; the key works, but something else uses up its limit: try again later")
    except Unclear as error:
        where = account.base_url or "the marketplace"
        return found(False, f"Unclear: {error}; can {where} be reached from here, and is it well?")
    except ProviderError as error:
        return found(False, f"{type(error).__name__}: {error}")
    finally:
        await provider.close()


async def _look(provider: Provider) -> tuple[bool, str, Mapping[str, str]]:
    """What the account answers, and which of the rights that are needed its credentials have."""
    names = provider.rights if isinstance(provider, NamesRights) else Rights("listing", "the market", "changes")
    rights = {names.change: NOT_TRIED}
    snapshot, no_list = await _with_right(provider.list_all_instances(), names.list_instances, rights)
    offers, no_offers = await _with_right(provider.list_offers(SMALL), names.list_offers, rights)
    if no_list is not None and no_offers is not None:
        raise no_list  # no right is missing: these credentials are not taken at all
    missing = [
        f"{name}, which is needed to {purpose} (the answer was: {error})"
        for name, purpose, error in (
            (names.list_instances, "see instances", no_list),
            (names.list_offers, "search the market", no_offers),
        )
        if error is not None
    ]
    if missing:
        return False, f"the key lacks the right {' and '.join(missing)}; give it that at the marketplace", rights
    if snapshot is not None and not snapshot.complete:
        return False, f"its listing is not complete ({snapshot.reason}): {snapshot.detail}", rights
    seen = 0 if snapshot is None else len(snapshot.instances)
    found = 0 if offers is None else len(offers)
    detail = f"{seen} instances; the market answers ({found} offers of one {SMALL.gpu}); {WHY_NOT_TRIED.format(names.change)}"
    if isinstance(provider, TellsBalance):
        detail += await _balance(provider, names.balance, rights)
    return True, detail, rights


async def _balance(provider: TellsBalance, name: str, rights: dict[str, str]) -> str:
    try:
        left, refused = await _with_right(provider.balance_usd(), name, rights)
    except ProviderError:
        rights[name] = NOT_TOLD
        return ""
    if refused is not None:
        return f"; without the right {name} the balance is not watched, which is all that it is for"
    return "" if left is None else f"; {left:.2f} USD are left"


async def _with_right(asked: Awaitable[T], name: str, rights: dict[str, str]) -> tuple[T | None, AuthFailed | None]:
    try:
        told = await asked
    except AuthFailed as error:
        rights[name] = "missing"
        return None, error
    rights[name] = "ok"
    return told, None
