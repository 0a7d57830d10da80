"""Settings from the environment: ``SHOPPERD_<SECTION>__<KEY>``, laid over what the file says.

``SHOPPERD_ORPHANS__MODE=report`` sets ``orphans.mode``, ``SHOPPERD_ACCOUNTS__VAST_MAIN__EXCLUSIVE=true`` the key of the account
``vast-main``: capitals and dashes do not matter there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shopperd.settings import AccountSettings, LimitSettings
from shopperd.settings_accounts import providers
from shopperd.settings_shape import EnvironmentText, Place, Tree, fields_of, leaves, suggestion

PREFIX = "SHOPPERD_"

CLIENT_VARIABLES = frozenset({"SHOPPERD_URL", "SHOPPERD_TOKEN"})
"""What the commands that speak to a running daemon read; no settings."""

_SERVICE = re.compile(
    r"SHOPPERD(?:_[A-Z0-9_]+?)?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)"
)
"""Kubernetes puts these into every container of a namespace that has a Service named shopperd or shopperd-..."""


def overlay(tree: Tree, environ: Mapping[str, str]) -> tuple[dict[Place, str], list[tuple[str, str]]]:
    """Lay the environment over the tree of a file.

    Returns:
        the variable that each value of the tree now comes from, and pairs of a variable that sets nothing and why.
    """
    origins: dict[Place, str] = {}
    strangers: list[tuple[str, str]] = []
    known = {_variable(path): path for path in leaves()}
    accounts, hooks = tree.get("accounts", {}), tree.get("hooks", {})
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in CLIENT_VARIABLES or (_SERVICE.fullmatch(name) and name not in known):
            continue
        path = known.get(name)
        try:
            if path is None and name.startswith(f"{PREFIX}ACCOUNTS__"):
                path = _account_path(name, accounts if isinstance(accounts, dict) else {}, environ)
            elif path is None and name.startswith(f"{PREFIX}HOOKS__"):
                path = _hook_path(name, hooks if isinstance(hooks, dict) else {}, environ)
        except ValueError as error:
            strangers.append((name, str(error)))
            continue
        if path is None:
            strangers.append((name, f"no such setting; {_meant(name, known)}"))
        elif _place(tree, path, EnvironmentText(environ[name])):
            origins[path] = name
    return origins, strangers


def declares_accounts(environ: Mapping[str, str]) -> bool:
    """Whether the environment names an account's provider, and so declares the accounts itself."""
    return any(re.fullmatch(rf"{PREFIX}ACCOUNTS__.+__PROVIDER", name) for name in environ)


def spelled(account: str) -> str:
    """An account's name as it stands in a variable's name."""
    return account.replace("-", "_").upper()


def _variable(path: Iterable[str]) -> str:
    return PREFIX + "__".join(path).upper()


def _account_path(name: str, accounts: Mapping[str, object], environ: Mapping[str, str]) -> Place | None:
    """The place that the variable sets; None if it names no key of an account.

    Raises:
        ValueError: two accounts are spelled so, or none is and the environment does not declare it.
    """
    _, account, *keys = name.removeprefix(PREFIX).split("__")
    if not account or not keys or not all(keys):
        return None
    owners = [each for each in accounts if spelled(each) == account]
    if len(owners) > 1:
        raise ValueError(f"accounts {' and '.join(owners)} are spelled alike in the environment; rename one")
    if not owners and f"{PREFIX}ACCOUNTS__{account}__PROVIDER" not in environ and account.lower() not in providers():
        raise ValueError(
            f"no account is spelled {account}; there are {', '.join(accounts) or 'none'}. "
            f"A new one needs {PREFIX}ACCOUNTS__{account}__PROVIDER"
        )
    start = ("accounts", owners[0] if owners else account.lower())
    below = tuple(key.lower() for key in keys)
    nested = {"limits": fields_of(LimitSettings), "options": None}
    if len(below) == 1 and below[0] not in nested:
        return (*start, *below)
    if len(below) == 2 and below[0] in nested:
        allowed = nested[below[0]]
        return (*start, *below) if allowed is None or below[1] in allowed else None
    return None


def _hook_path(name: str, hooks: Mapping[str, object], environ: Mapping[str, str]) -> Place | None:
    """The place that the variable sets; None if it names no key of a hook.

    Raises:
        ValueError: two hooks are spelled so, or none is and the environment does not declare it.
    """
    _, hook, *keys = name.removeprefix(PREFIX).split("__")
    if not hook or len(keys) != 1 or not keys[0]:
        return None
    owners = [each for each in hooks if spelled(each) == hook]
    if len(owners) > 1:
        raise ValueError(f"hooks {' and '.join(owners)} are spelled alike in the environment; rename one")
    if not owners and f"{PREFIX}HOOKS__{hook}__URL" not in environ:
        raise ValueError(
            f"no hook is spelled {hook}; there are {', '.join(hooks) or 'none'}. A new one needs {PREFIX}HOOKS__{hook}__URL"
        )
    return ("hooks", owners[0] if owners else hook.lower(), keys[0].lower())


def _meant(name: str, known: Mapping[str, Place]) -> str:
    if name.startswith(f"{PREFIX}ACCOUNTS__"):
        keys = [key for key in fields_of(AccountSettings) if key not in ("name", "secrets", "limits", "options")]
        return (
            f"an account's are {PREFIX}ACCOUNTS__<NAME>__<KEY>, with keys {', '.join(keys)}, limits__..., options__..."
        )
    if name.startswith(f"{PREFIX}HOOKS__"):
        return f"a hook's are {PREFIX}HOOKS__<NAME>__<KEY>, with keys url, secret_env, secret_file, enabled, events, timeout"
    # Without what all have in common, or everything would look near.
    near = suggestion(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known])
    start, meant, _ = near.partition("did you mean ")
    return (
        f"did you mean {PREFIX}{near.removeprefix(meant)}"
        if meant and not start
        else "`config.example.toml` has them all"
    )


def _place(tree: Tree, path: Place, value: EnvironmentText) -> bool:
    table = tree
    for key in path[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            return False  # the file has something else than a table there, which is reported as such
    table[path[-1]] = value
    return True
