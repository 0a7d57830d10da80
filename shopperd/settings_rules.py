"""What single values cannot tell: settings that are right by themselves and impossible together, and texts with a grammar."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import urlsplit

from shopperd import settings_hooks
from shopperd.model import DEPLOYMENT_PATTERN
from shopperd.settings import AccountSettings, Settings, format_duration, split_listen
from shopperd.settings_accounts import SECRETS_OF
from shopperd.settings_environment import spelled
from shopperd.settings_shape import Place

Breach = tuple[tuple[Place, ...], str]
"""The places that a rule looked at, the one to be changed first, and what is wrong there."""

TENSORDOCK_APIS = ("v2", "v0")
STORE_SCHEMES = ("sqlite", "postgresql")


def breaches(settings: Settings) -> Iterator[Breach]:
    """Every rule that the settings break. Texts that may hold a secret are not repeated."""
    if settings.deployment and not DEPLOYMENT_PATTERN.fullmatch(settings.deployment):
        yield (("deployment",),), "must be 1 to 16 small letters and digits, or empty: it is part of every tag"
    for account in settings.accounts.values():
        yield from _account(account, settings)
    yield from _pairs_of_accounts(settings)
    for hook in settings.hooks.values():
        for key, message in settings_hooks.breaches(hook):
            yield (("hooks", hook.name, key),), message
    for first, second in itertools.combinations(settings.hooks, 2):
        if spelled(first) == spelled(second):
            yield (("hooks", second),), f"is spelled like {first} in the environment ({spelled(first)}); rename one"
    if settings.destroys.retry_min > settings.destroys.retry_max:
        low, high = ("destroys", "retry_min"), ("destroys", "retry_max")
        yield (low, high), f"must be at most destroys.retry_max ({format_duration(settings.destroys.retry_max)})"
    if settings.destroys.retry_stuck < settings.destroys.retry_max:
        high, stuck = ("destroys", "retry_max"), ("destroys", "retry_stuck")
        yield (stuck, high), f"must be at least destroys.retry_max ({format_duration(settings.destroys.retry_max)})"
    yield from _web(settings)
    if settings.store.url is not None and not _is_store_url(settings.store.url):
        yield (("store", "url"),), "must begin with sqlite:/// or postgresql://"
    yield from _password(settings)


def _password(settings: Settings) -> Iterator[Breach]:
    file, url = ("store", "password_file"), ("store", "url")
    if settings.store.password_file is None:
        return
    if settings.store.url is None or not settings.store.url.startswith("postgresql"):
        yield (file, url), "only a PostgreSQL store has a password; set store.url to postgresql://user@host/database"
    elif _has_password(settings.store.url):
        yield (file, url), "store.url has a password too; take it out there"


def _account(account: AccountSettings, settings: Settings) -> Iterator[Breach]:
    def place(key: str) -> Place:
        return ("accounts", account.name, key)

    if account.base_url is not None and not _is_origin(account.base_url):
        yield (
            (place("base_url"),),
            "must be an origin such as https://host or http://host:port: no path, query or credentials",
        )
    deadline = settings.sessions.create_deadline
    if account.request_timeout > deadline:
        yield (
            (place("request_timeout"), ("sessions", "create_deadline")),
            f"must be at most sessions.create_deadline ({format_duration(deadline)}): "
            "a create's answer could come when nobody looks for it any more",
        )
    if account.provider == "tensordock":
        if account.api not in (None, *TENSORDOCK_APIS):
            yield (place("api"),), f"must be one of {', '.join(TENSORDOCK_APIS)}"
        elif account.api == "v0" and "auth_id" not in account.secrets:
            yield (
                (place("api"), place("auth_id_env"), place("auth_id_file")),
                "v0 needs an auth_id beside the api_token: set auth_id_env, auth_id_file or TENSORDOCK_AUTH_ID",
            )
    elif account.provider == "vastai" and account.api is not None:
        yield (place("api"),), "leave it out: there is one API only"
    if account.options and account.provider in SECRETS_OF:
        yield (place("options"),), f"only plug-ins have options, {account.provider} has none"


def _identity(account: AccountSettings) -> tuple[object, ...]:
    return (account.provider, account.api, account.base_url, account.secrets)


def _pairs_of_accounts(settings: Settings) -> Iterator[Breach]:
    for first, second in itertools.combinations(settings.accounts.values(), 2):
        place = ("accounts", second.name)
        if spelled(first.name) == spelled(second.name):
            yield (place,), f"is spelled like {first.name} in the environment ({spelled(first.name)}); rename one"
        if first.enabled and second.enabled and first.secrets and _identity(first) == _identity(second):
            yield (place,), f"has the same credentials as {first.name}: every machine would be there twice"


def _web(settings: Settings) -> Iterator[Breach]:
    listen, token = ("web", "listen"), ("web", "token_file")
    try:
        split_listen(settings.web.listen)
    except ValueError as error:
        yield (listen,), str(error)
        return
    if not settings.web.loopback and settings.web.token_file is None:
        yield (token, listen), "is needed because web.listen is not a loopback address: others can reach it"


def _is_origin(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port_is_right
        and url == f"{parts.scheme}://{parts.netloc}"
        and "@" not in parts.netloc
        and all("!" <= character <= "~" for character in url)
    )


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:
        return False


def _is_store_url(url: str) -> bool:
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.split("+", 1)[0] in STORE_SCHEMES
