"""The shape of the settings: which keys there are, of which types, and how a tree of raw values becomes `Settings`.

A raw value is what TOML gives, or an `EnvironmentText`, which may stand for any type.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import BaseValidationError, ClassValidationError, IterableValidationError

from shopperd.settings import (
    AccountSettings,
    Bounds,
    HookSettings,
    JobSettings,
    JobsSettings,
    SecretSource,
    Settings,
    format_duration,
    parse_duration,
    shown_url,
)

Place = tuple[str, ...]
"""Where a value stands in the tree, from the top."""

Tree = dict[str, Any]

SHOWN_CHARS_MAX = 24
"""A longer text is not repeated in a message: it may be a secret in the wrong place."""

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


class EnvironmentText(str):
    """A value from the environment: text that stands for a value of whatever type the setting has."""

    __slots__ = ()


class Unfit(ValueError):
    """A raw value is not what the setting takes; the text says what is."""


def fields_of(cls: type) -> dict[str, attrs.Attribute[Any]]:
    """The fields of a settings class by name, with their types resolved."""
    attrs.resolve_types(cls, include_extras=True)
    return {field.name: field for field in attrs.fields(cls)}


NAMED = ("accounts", "hooks")
"""What holds tables whose names an operator chooses; these have keys of their own."""


def sections() -> dict[str, attrs.Attribute[Any]]:
    """What may stand at the top of a file, `NAMED` left out."""
    return {name: field for name, field in fields_of(Settings).items() if name not in (*NAMED, "source")}


def leaves(cls: type | None = None, start: Place = ()) -> Iterator[Place]:
    """Every key outside of `NAMED`."""
    for name, field in (sections() if cls is None else fields_of(cls)).items():
        if field.type is not None and attrs.has(field.type):
            yield from leaves(field.type, (*start, name))
        else:
            yield (*start, name)


def is_optional(kind: object) -> bool:
    """Whether a field of this type may be left unset."""
    origin: object = get_origin(kind)
    return origin in (typing.Union, types.UnionType) and type(None) in get_args(kind)


def suggestion(key: str, known: Iterable[str]) -> str:
    """The end of a sentence that tells an unknown key's author what was probably meant."""
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    elsewhere = [".".join(path) for path in leaves() if path[-1] == key]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return f"allowed are {', '.join(names)}"


def shown(value: object) -> str:
    """A raw value for a message: short texts and numbers as they are, anything else by its type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(str(value)) if len(value) <= SHOWN_CHARS_MAX else f"a text of {len(value)} characters"
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def prune(table: Tree, known: Mapping[str, attrs.Attribute[Any]], path: Place) -> Iterator[tuple[Place, str]]:
    """Take out of the table, and yield with the reason, what no setting is called and what should be a table.

    Unset texts ("" where a setting is optional) are taken out in silence.
    """
    for key in list(table):
        field, value = known.get(key), table[key]
        if field is None:
            del table[key]
            names = known if path else [*known, *NAMED]
            yield (*path, key), f"no such setting; {suggestion(key, names)}"
        elif field.type is not None and attrs.has(field.type):
            if isinstance(value, dict):
                yield from prune(value, fields_of(field.type), (*path, key))
            else:
                del table[key]
                example = ' such as { interval = "60s" }' if field.type is JobSettings else ""
                yield (*path, key), f"must be a table{example}, not {shown(value)}"
        elif value == "" and is_optional(field.type):
            del table[key]


def structure(tree: Tree) -> tuple[Settings, dict[Place, str]]:
    """The settings that a pruned tree makes, and what is wrong with its values; those are taken out of the tree."""
    wrong: dict[Place, str] = {}
    while True:
        _fill_in_intervals(tree)
        try:
            return _CONVERTER.structure(tree, Settings), wrong
        except BaseValidationError as error:
            found = dict(_causes(error, ()))
            if not found.keys() - wrong.keys():
                raise  # nothing more can be taken out: a fault of this module, not of the file
            wrong |= found
            for path in found:
                table = tree
                for key in path[:-1]:
                    table = table[key]
                table.pop(path[-1], None)


def describe(settings: Settings) -> dict[str, Any]:
    """The settings in force, as a file would say them, for people: durations as text, secrets by where they are."""
    result: dict[str, Any] = {"source": None if settings.source is None else str(settings.source)}
    for name in sections():
        result[name] = _described(getattr(settings, name), sections()[name].type)
    if settings.store.url is not None:
        scheme = settings.store.url.partition("://")[0]
        # Where in a URL a password ends is a matter of opinion, so nothing of it is shown.
        result["store"]["url"] = settings.store.url if scheme.startswith("sqlite") else f"{scheme}://***"
    result["accounts"] = {name: _account_described(account) for name, account in settings.accounts.items()}
    result["hooks"] = {name: _hook_described(hook) for name, hook in settings.hooks.items()}
    return result


def differences(before: object, after: object, path: Place = ()) -> list[str]:
    """The keys in which two settings differ, as a file would name them; never their values."""
    if isinstance(before, SecretSource) or before == after:
        return [] if before == after else [".".join(path)]
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = sorted({*before, *after})
        pairs = [(name, before.get(name), after.get(name)) for name in names]
    elif attrs.has(type(before)) and type(before) is type(after):
        pairs = [(name, getattr(before, name), getattr(after, name)) for name in fields_of(type(before))]
    else:
        return [".".join(path)]
    found = []
    for name, old, new in pairs:
        if name == "source" and isinstance(before, Settings):
            continue  # which file it was is no key of it
        # A file has an account's secrets among its other keys.
        inner = path if name == "secrets" and isinstance(before, AccountSettings) else (*path, name)
        found += differences(old, new, inner)
    return found


def _account_described(account: AccountSettings) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, field in fields_of(AccountSettings).items():
        if name == "secrets":
            for secret, source in account.secrets.items():
                shown |= _secret_described(secret, source)
        elif name == "options":
            # Nobody but the plug-in knows which of them are secret.
            shown["options"] = sorted(account.options)
        elif name != "name":
            shown[name] = _described(getattr(account, name), field.type)
    return shown


def _hook_described(hook: HookSettings) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, field in fields_of(HookSettings).items():
        if name == "secret":
            shown |= _secret_described(name, hook.secret)
        elif name == "url":
            shown["url"] = shown_url(hook.url)
        elif name != "name":
            shown[name] = _described(getattr(hook, name), field.type)
    return shown


def _secret_described(name: str, source: SecretSource) -> dict[str, str]:
    return {f"{name}_{'env' if source.file is None else 'file'}": str(source.file or source.env)}


def _described(value: Any, kind: Any) -> Any:
    if attrs.has(type(value)):
        return {name: _described(getattr(value, name), field.type) for name, field in fields_of(type(value)).items()}
    bounds = bounds_of(kind)
    if bounds is not None and bounds.seconds and value is not None:
        return format_duration(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def bounds_of(kind: Any) -> Bounds | None:
    """What a number of this type may be; None for what is no number."""
    if is_optional(kind):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Bounds)), None)


def _fill_in_intervals(tree: Tree) -> None:
    """A job's table may set something else and leave the interval as it is."""
    for name, table in tree.get("jobs", {}).items():
        table.setdefault("interval", getattr(JobsSettings(), name).interval)


def _causes(error: BaseException, path: Place) -> Iterator[tuple[Place, str]]:
    if not isinstance(error, ClassValidationError | IterableValidationError):
        yield path, str(error) if isinstance(error, Unfit) else "is missing"
        return
    if isinstance(error, ClassValidationError):
        for cause, attribute in error.group_exceptions()[0]:
            yield from _causes(cause, (*path, attribute.name))
    else:
        for cause, item in error.group_exceptions()[0]:
            yield from _causes(cause, (*path, str(item.index)))


def _boolean(value: object, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, EnvironmentText) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    raise Unfit(f"must be true or false, not {shown(value)}")


def _text(value: object, _: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise Unfit(f"must be a text, not {shown(value)}")


def _texts(value: object, _: Any) -> tuple[str, ...]:
    if isinstance(value, EnvironmentText):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(str(each) for each in value)
    raise Unfit(f"must be a list of texts, not {shown(value)}")


def _file(value: object, _: Any) -> Path:
    if isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise Unfit("must be the name of a file" + ("" if isinstance(value, str) else f", not {shown(value)}"))


def _is_texts(kind: object) -> bool:
    return get_origin(kind) is tuple


def _is_choice(kind: object) -> bool:
    return get_origin(kind) is Literal


def _word(value: object, kind: Any) -> str:
    allowed = get_args(kind)
    if isinstance(value, str) and value in allowed:
        return str(value)
    raise Unfit(f"must be one of {', '.join(allowed)}, not {shown(value)}")


def _number(value: object, kind: Any) -> float:
    bounds = bounds_of(kind)
    if bounds is None:
        raise TypeError(f"{kind} has no bounds")
    whole = get_args(kind)[0] is int
    number: float | None = None
    if bounds.seconds:
        what = "a duration: a number of seconds or text such as 90s, 5m, 1h30m"
        least, most = format_duration(bounds.least), "a hundred years"
    else:
        what = "a whole number" if whole else "a number"
        least, most = f"{bounds.least:g}", f"{bounds.most:g}"
    try:
        if bounds.seconds and isinstance(value, str | int | float):
            number = parse_duration(value)
        elif isinstance(value, EnvironmentText):
            number = int(value) if whole else float(value)
        elif isinstance(value, int if whole else int | float) and not isinstance(value, bool):
            number = value
    except ValueError:
        number = None
    # The upper bound of a number that has none is infinity, which is no number to set.
    if number is None or not bounds.least <= number <= bounds.most or number == float("inf"):
        most_said = f" and at most {most}" if bounds.most != float("inf") else ""
        raise Unfit(f"must be {what}, at least {least}{most_said}, not {shown(value)}")
    return number if whole else float(number)


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(Path, _file)
    converter.register_structure_hook_func(_is_choice, _word)
    converter.register_structure_hook_func(_is_texts, _texts)
    converter.register_structure_hook_func(lambda kind: not is_optional(kind) and bounds_of(kind) is not None, _number)
    for cls in (SecretSource, AccountSettings, HookSettings, JobsSettings, Settings):
        fields_of(cls)
    return converter


_CONVERTER = _converter()
