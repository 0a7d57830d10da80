"""The tables under ``[accounts]``: one for each set of credentials, with keys that depend on the provider.

``<secret>_env`` and ``<secret>_file`` become `AccountSettings.secrets`. What a provider's secrets are called is known for
the built-in ones; a plug-in's may have any name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from importlib.metadata import entry_points

import attrs

from shopperd.settings import AccountSettings
from shopperd.settings_shape import EnvironmentText, Place, Tree, fields_of, prune, shown, suggestion

PLUGIN_GROUP = "shopperd.providers"
"""The entry point group in which plug-ins name their providers."""

SECRETS_OF: Mapping[str, Mapping[str, str]] = {
    "vastai": {"api_key": "VASTAI_API_KEY"},
    "tensordock": {"api_token": "TENSORDOCK_API_TOKEN", "auth_id": "TENSORDOCK_AUTH_ID"},
}
"""The built-in providers' secrets, and the environment variables that they come from unless a table says otherwise."""

_OPTIONAL_SECRETS = frozenset({"auth_id"})
"""Only TensorDock's v0 needs it."""

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]|_(?!_)){0,61}")
"""It stands in labels, paths and, in capitals with ``_`` for ``-``, in names of environment variables."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_SECRET_KEY = re.compile(r"([a-z][a-z0-9_]*)_(env|file)")
_BARE_SECRET = re.compile(r"(?:.*_)?(?:key|token|secret|password|auth_id)", re.IGNORECASE)

_WAYS = ("env", "file")

Faults = Iterator[tuple[Place, str]]
Locate = Callable[[str], str]


def providers() -> frozenset[str]:
    """The built-in providers and those that installed plug-ins bring."""
    return frozenset(SECRETS_OF) | {point.name for point in entry_points(group=PLUGIN_GROUP)}


def from_environment(environ: Mapping[str, str]) -> Tree:
    """The accounts of a deployment that declares none: one for each provider whose secret is in the environment."""
    wanted = {
        provider: secrets for provider, secrets in SECRETS_OF.items() if environ.get(next(iter(secrets.values())))
    }
    return {provider: {"provider": provider} for provider in wanted}


def prepare(accounts: Tree, environ: Mapping[str, str], locate: Locate, overridden: Collection[Place]) -> Faults:
    """Bring the raw tables into the shape of `AccountSettings`, and yield what is wrong with their keys.

    Args:
        locate: makes a secret's relative file name absolute.
        overridden: keys whose values come from the environment; they beat the file's other way to give the same secret.
    """
    known = {name: field for name, field in fields_of(AccountSettings).items() if name not in ("name", "secrets")}
    for name in list(accounts):
        table, path = accounts[name], ("accounts", name)
        if not isinstance(table, dict):
            del accounts[name]
            yield path, f'must be a table such as [accounts.main] with provider = "vastai", not {shown(table)}'
            continue
        if not NAME.fullmatch(name):
            yield (
                path,
                "an account's name is 1 to 62 letters, digits, - and single _, and begins with a letter or digit",
            )
        yield from _provider(name, table, path)
        secrets: dict[str, dict[str, str]] = {}
        yield from _secrets(table, path, known, environ, overridden, secrets)
        options = table.pop("options", {})
        yield from prune(table, known, path)
        if isinstance(options, dict):
            table["options"] = {
                key: str(each) if isinstance(each, EnvironmentText) else each for key, each in options.items()
            }
        else:
            yield (*path, "options"), f"must be a table, not {shown(options)}"
        table |= {"name": name, "secrets": secrets}
        for source in secrets.values():
            if "file" in source:
                source["file"] = locate(source["file"])
        if isinstance(url := table.get("base_url"), str) and url.endswith("/"):
            table["base_url"] = url[:-1]


def _provider(name: str, table: Tree, path: Place) -> Faults:
    """An account that is named like a provider needs not say which it is."""
    allowed = providers()
    provider = table.setdefault("provider", name if name in allowed else None)
    if isinstance(provider, str) and provider in allowed:
        return
    if provider is None:
        yield (*path, "provider"), f"is missing; allowed are {', '.join(sorted(allowed))} and plug-ins' names"
    else:
        meant = (
            suggestion(provider, allowed) if isinstance(provider, str) else f"allowed are {', '.join(sorted(allowed))}"
        )
        yield (
            (*path, "provider"),
            f"no such provider: {shown(provider)}; {meant} (plug-ins: entry point group {PLUGIN_GROUP})",
        )
    table["provider"] = ""


def _secrets(
    table: Tree,
    path: Place,
    known: Mapping[str, attrs.Attribute[object]],
    environ: Mapping[str, str],
    overridden: Collection[Place],
    given: dict[str, dict[str, str]],
) -> Faults:
    """Move the places of secrets from the table to `given`, and add those that the provider's come from unless it says otherwise."""
    names = SECRETS_OF.get(table["provider"])
    named = yield from take_secrets(table, path, known, names, overridden, given)
    for secret, variable in (names or {}).items():
        if secret not in named and (secret not in _OPTIONAL_SECRETS or environ.get(variable)):
            given[secret] = {"env": variable}


def take_secrets(
    table: Tree,
    path: Place,
    known: Mapping[str, attrs.Attribute[object]],
    names: Iterable[str] | None,
    overridden: Collection[Place],
    given: dict[str, dict[str, str]],
) -> Generator[tuple[Place, str], None, Collection[str]]:
    """Move the places of secrets from the table to `given`, yield what is wrong with them, and return which the table names.

    Args:
        names: what its secrets are called; None if they may have any name.
    """
    named: set[str] = set()
    for key in [each for each in table if each not in known]:
        match = _SECRET_KEY.fullmatch(key)
        if match and (names is None or match[1] in names):
            named.add(match[1])
            value = table.pop(key)
            fault = _fault_of_source(match[2], value)
            if fault:
                yield (*path, key), fault
            elif value:
                given.setdefault(match[1], {})[match[2]] = str(value)
        elif match and names is not None:
            del table[key]
            yield (
                (*path, key),
                f"no such secret; {suggestion(key, [f'{each}_{way}' for each in names for way in _WAYS])}",
            )
        elif _BARE_SECRET.fullmatch(key):
            del table[key]
            yield (
                (*path, key),
                f"a secret is never in the settings; name its variable with {key}_env or its file with {key}_file",
            )
    for secret, ways in list(given.items()):
        if len(ways) == 2:
            by_environment = [way for way in ways if (*path, f"{secret}_{way}") in overridden]
            if len(by_environment) == 1:
                given[secret] = {by_environment[0]: ways[by_environment[0]]}
            else:
                del given[secret]
                yield (*path, f"{secret}_file"), f"give {secret}_env or {secret}_file, not both"
    return named


def _fault_of_source(way: str, value: object) -> str:
    """What is wrong with where a secret is said to be; "" if nothing. The value is never repeated: it may be the secret."""
    if not isinstance(value, str):
        return f"must be a text, not {shown(value)}"
    if way == "env" and value and not _VARIABLE.fullmatch(value):
        return "must be the name of an environment variable"
    return "must be the name of a file" if "\0" in value else ""
