"""Reading the settings: a TOML file, the environment and the places of secrets, with all that is wrong at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import platformdirs
from attrs import evolve

from shopperd import secrets, settings_accounts, settings_environment, settings_hooks
from shopperd.settings import Problem, Settings, SettingsError
from shopperd.settings_rules import breaches
from shopperd.settings_shape import Place, Tree, describe, prune, sections, shown, structure

__all__ = ["DEFAULT_PATH", "describe", "load", "state_folder", "store_url"]

DEFAULT_PATH = Path("/etc/shopperd/config.toml")
"""Read, if it is there, when no file is named."""

FILE_BYTES_MAX = 1024 * 1024
"""No settings are longer; what is, is the wrong file."""

_TOML_PLACE = re.compile(r"\s*\(at (line \d+, column \d+|end of document)\)$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a file, or of `DEFAULT_PATH` if that exists, or the defaults; the environment beats all of them.

    Relative names of secret files are looked up in ``$CREDENTIALS_DIRECTORY``, then beside the file. Enabled accounts' secrets,
    the web token and the store's password are read once, to see that they can be.

    Raises:
        SettingsError: with every problem, each with its place.
    """
    source = DEFAULT_PATH if path is None and _is_there(DEFAULT_PATH) else path
    tree = {} if source is None else _read(source)
    problems: list[Problem] = []
    if tree.get("accounts", {}) == {} and not settings_environment.declares_accounts(environ):
        tree["accounts"] = settings_accounts.from_environment(environ)
    origins, strangers = settings_environment.overlay(tree, environ)
    folder = Path() if source is None else source.parent

    def place_of(place: Place) -> str:
        if place in origins:
            return f"environment {origins[place]}"
        return ".".join(key if _BARE_KEY.fullmatch(key) else repr(key)[:64] for key in place)

    def locate(name: str) -> str:
        return str(_located(Path(name), folder, environ))

    wrong: dict[Place, str] = {}
    accounts = tree.pop("accounts", {})
    if not isinstance(accounts, dict):
        wrong["accounts",] = f"must be tables such as [accounts.main], not {shown(accounts)}"
        accounts = {}
    wrong |= dict(settings_accounts.prepare(accounts, environ, locate, origins))
    hooks = tree.pop("hooks", {})
    if not isinstance(hooks, dict):
        wrong["hooks",] = f"must be tables such as [hooks.ci], not {shown(hooks)}"
        hooks = {}
    wrong |= dict(settings_hooks.prepare(hooks, locate, origins))
    wrong |= dict(prune(tree, sections(), ()))
    tree |= {"accounts": accounts, "hooks": hooks}
    unset = {name for name, account in accounts.items() if "request_timeout" not in account}
    paces_unset = {"retry_min", "retry_max"} - tree.get("destroys", {}).keys()
    settings, unfit = structure(tree)
    settings = _with_fitting_defaults(settings, unset, paces_unset)
    wrong |= unfit
    problems += [Problem(f"environment {name}", message) for name, message in strangers]
    problems += [Problem(place_of(place), message) for place, message in wrong.items()]
    problems += [
        Problem(place_of(places[0]), message)
        for places, message in breaches(settings)
        # What was taken out for being wrong must not be judged by the default that stands in for it.
        if not wrong.keys() & set(places)
    ]
    if settings.web.token_file is not None:
        token_file = _located(settings.web.token_file, folder, environ)
        settings = evolve(settings, web=evolve(settings.web, token_file=token_file))
    if settings.store.password_file is not None:
        password_file = _located(settings.store.password_file, folder, environ)
        settings = evolve(settings, store=evolve(settings.store, password_file=password_file))
    problems += [
        Problem(place_of(tuple(problem.place.split("."))), problem.message)
        for problem in _unreadable(settings, environ)
    ]
    if settings.store.spool is not None:
        settings = evolve(settings, store=evolve(settings.store, spool=(folder / settings.store.spool).absolute()))
    if settings.store.url is not None:
        _remember_password(settings.store.url)
    if problems:
        raise SettingsError(problems)
    return evolve(settings, source=source)


def store_url(settings: Settings, environ: Mapping[str, str]) -> str:
    """The SQLAlchemy URL of the store. Unless it is set, a SQLite file in ``$STATE_DIRECTORY``, else in the user's state folder.

    The folder may not exist yet.
    """
    if settings.store.url is not None:
        return settings.store.url
    return f"sqlite:///{state_folder(environ) / 'shopperd.db'}"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where this machine keeps what must survive: ``$STATE_DIRECTORY``, else the user's state folder. It may not exist yet."""
    # systemd separates several folders by colons; the first is the unit's own.
    given = environ.get("STATE_DIRECTORY", "").split(":", 1)[0]
    folder = Path(given) if given else platformdirs.user_state_path("shopperd")
    return folder.absolute()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # it cannot be looked at, which reading it will tell


def _read(source: Path) -> Tree:
    place = source.name
    try:
        with source.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a possible file name"
        raise SettingsError([Problem(str(source), f"cannot be read: {reason}")]) from error
    if len(content) > FILE_BYTES_MAX:
        raise SettingsError([Problem(place, f"is larger than {FILE_BYTES_MAX} bytes, which no settings are")])
    try:
        # Some editors put a byte order mark first, which TOML has none of.
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(f"{place} line {line}", "is not UTF-8 text")]) from error
    except tomllib.TOMLDecodeError as error:
        where = _TOML_PLACE.search(str(error))
        message = _TOML_PLACE.sub("", str(error))
        raise SettingsError([Problem(f"{place} {where[1]}" if where else place, message)]) from error
    except RecursionError as error:
        raise SettingsError([Problem(place, "is nested too deeply")]) from error


def _with_fitting_defaults(
    settings: Settings, timeout_unset: Collection[str], paces_unset: Collection[str]
) -> Settings:
    """A default gives way to a setting that it would contradict: to blame somebody for what he never wrote is rude."""
    destroys = settings.destroys
    if "retry_max" in paces_unset:
        destroys = evolve(destroys, retry_max=min(destroys.retry_max, destroys.retry_stuck))
    if "retry_min" in paces_unset:
        destroys = evolve(destroys, retry_min=min(destroys.retry_min, destroys.retry_max))
    settings = evolve(settings, destroys=destroys)
    deadline = settings.sessions.create_deadline
    accounts = {
        name: evolve(account, request_timeout=min(account.request_timeout, deadline))
        if name in timeout_unset
        else account
        for name, account in settings.accounts.items()
    }
    return evolve(settings, accounts=accounts)


def _located(name: Path, folder: Path, environ: Mapping[str, str]) -> Path:
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and not name.is_absolute():
        # The directory's own name is of no use for a file that is not in it.
        given = Path(credentials) / name
        if given.exists():
            return given.absolute()
    return (folder / name).absolute()


def _unreadable(settings: Settings, environ: Mapping[str, str]) -> list[Problem]:
    problems: list[Problem] = []
    for read in (secrets.read_all, secrets.read_web_token, secrets.read_store_password, secrets.read_hooks):
        try:
            read(settings, environ)
        except SettingsError as error:
            problems += error.problems
    return problems


def _remember_password(url: str) -> None:
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        secrets.remember(password)
        secrets.remember(unquote(password))
