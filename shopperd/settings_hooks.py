"""The tables under ``[hooks]``: one for each receiver of events, with ``secret_env`` or ``secret_file`` for `HookSettings.secret`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlsplit

import attrs

from shopperd.settings import HookSettings, is_loopback
from shopperd.settings_accounts import NAME, Faults, Locate, take_secrets
from shopperd.settings_shape import Place, Tree, fields_of, prune, shown

SIGNED_WITH = "secret"

_PATTERN = re.compile(r"\*|[a-z_]+\.(?:\*|[a-z_]+)")


def prepare(hooks: Tree, locate: Locate, overridden: Collection[Place]) -> Faults:
    """Bring the raw tables into the shape of `HookSettings`, and yield what is wrong with their keys.

    Args:
        locate: makes a secret's relative file name absolute.
        overridden: keys whose values come from the environment; they beat the file's other way to give the same secret.
    """
    known = {name: field for name, field in fields_of(HookSettings).items() if name not in ("name", SIGNED_WITH)}
    for name in list(hooks):
        table, path = hooks[name], ("hooks", name)
        if not isinstance(table, dict):
            del hooks[name]
            yield path, f'must be a table such as [hooks.ci] with url = "https://...", not {shown(table)}'
            continue
        faults = list(_table(table, name, path, known, locate, overridden))
        if "url" not in table or SIGNED_WITH not in table:
            del hooks[name]
        yield from faults


def breaches(hook: HookSettings) -> Iterator[tuple[str, str]]:
    """Every rule that a hook breaks: the key, and what is wrong there. Its URL is not repeated."""
    if fault := _fault_of_url(hook.url):
        yield "url", fault
    if not hook.events:
        yield "events", "must name at least one kind of event, such as session.*; enabled = false switches a hook off"
    for pattern in hook.events:
        if not _PATTERN.fullmatch(pattern):
            yield "events", f"must be *, or such as session.* or orphan.detected, not {shown(pattern)}"


def _table(
    table: Tree,
    name: str,
    path: Place,
    known: Mapping[str, attrs.Attribute[object]],
    locate: Locate,
    overridden: Collection[Place],
) -> Faults:
    if not NAME.fullmatch(name):
        yield path, "a hook's name is 1 to 62 letters, digits, - and single _, and begins with a letter or digit"
    secrets: dict[str, dict[str, str]] = {}
    named = yield from take_secrets(table, path, known, (SIGNED_WITH,), overridden, secrets)
    yield from prune(table, known, path)
    if "url" not in table:
        yield (*path, "url"), "is missing"
    elif not isinstance(table["url"], str):
        yield (*path, "url"), f"must be a text, not {shown(table.pop('url'))}"
    if SIGNED_WITH in secrets:
        table |= {"name": name, SIGNED_WITH: secrets[SIGNED_WITH]}
        if "file" in table[SIGNED_WITH]:
            table[SIGNED_WITH]["file"] = locate(table[SIGNED_WITH]["file"])
    elif SIGNED_WITH not in named:
        yield (
            (*path, f"{SIGNED_WITH}_file"),
            "is missing; deliveries are signed: name a file, or a variable with secret_env",
        )


def _fault_of_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port_is_right = parts.hostname or "", parts.port is None or parts.port > 0
    except ValueError:
        return "must be a URL such as https://host/path"
    if parts.scheme not in ("http", "https") or not host or not port_is_right:
        return "must be a URL such as https://host/path"
    if "@" in parts.netloc or parts.fragment or not all("!" <= character <= "~" for character in url):
        return "must be a URL without credentials, fragment, blanks and other than ASCII characters"
    if parts.scheme == "http" and not is_loopback(host):
        return "must begin with https:// unless its host is this machine (localhost, 127.0.0.1, [::1])"
    return ""
