"""Fills in what the pages in docs/ take from the code: python -m scripts.reference [--check]

What stands between ``<!-- made: WHAT -->`` and ``<!-- made: end -->`` is written anew; the rest of a page is written by hand. WHAT is
``settings SECTION``, ``secrets``, ``metrics``, ``labels``, or ``code FILE NAME...`` for a file's definitions. With --check nothing is
written: the exit status is 1 if a page is not as it would be.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from shopperd.settings import AccountSettings, HookSettings, LimitSettings, SecretSource, Settings, format_duration
from shopperd.settings_accounts import SECRETS_OF
from shopperd.settings_shape import bounds_of, fields_of, is_optional
from shopperd.telemetry import Metrics

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "config.example.toml"
BLOCK = re.compile(r"(<!-- made: (?!end)([^\n]+) -->\n).*?(<!-- made: end -->)", re.DOTALL)
HEADER = re.compile(r"#?\[([a-z.-]+)\]")
KEY = re.compile(r"#?(\w+) = ")
REMARK = re.compile(r"  # (.+)$")
NO_CHOICE = frozenset({"account", "provider", "gpu", "quantile", "version", "python", "route"})
"""Labels whose values are an operator's own, the market's, or those of this build."""

Fields = Mapping[str, "attrs.Attribute[Any]"]
Words = Mapping[tuple[str, str], str]
"""What is said of a key, by its section and its name."""


def filled_in(page: str) -> str:
    """The page with every block as the code has it now."""
    return BLOCK.sub(lambda match: match[1] + _block(*match[2].split()) + match[3], page)


def _block(what: str, *arguments: str) -> str:
    makers: dict[str, Callable[..., Iterator[str]]] = {
        "settings": _settings,
        "secrets": _secrets,
        "metrics": _metrics,
        "labels": _labels,
        "code": _code,
    }
    return "\n".join(makers[what](*arguments)) + "\n"


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _settings(section: str) -> Iterator[str]:
    """The keys of one section, which is "top", "accounts", "limits", or as in the file."""
    words, intros = _example()
    if section != "top":
        yield from (_prose(intros.get(section, "")), "") if section in intros else ()
    yield from _table(("key, and its variable", "value", "default", "what it does"), _keys(section, words))


def _keys(section: str, words: Words) -> Iterator[Sequence[str]]:
    if section == "top":
        own = {name: field for name, field in fields_of(Settings).items() if not _has_keys(field.type)}
        yield from _rows(section, "", Settings(), _without(own, "accounts", "hooks", "source"), words)
    elif section == "accounts":
        flat = _without(fields_of(AccountSettings), "name", "secrets", "limits", "options")
        yield from _rows(section, "accounts.NAME.", AccountSettings("", ""), flat, words)
    elif section == "hooks":
        flat = _without(fields_of(HookSettings), "name", "secret")
        yield from _rows(section, "hooks.NAME.", HookSettings("", "", SecretSource(env="")), flat, words)
    elif section == "limits":
        yield from _rows(section, "accounts.NAME.limits.", LimitSettings(), fields_of(LimitSettings), words)
    else:
        values = getattr(Settings(), section)
        yield from _rows(section, f"{section}.", values, fields_of(type(values)), words)


def _rows(section: str, prefix: str, values: object, fields: Fields, words: Words) -> Iterator[Sequence[str]]:
    said = _attributes(type(values))
    for name, field in fields.items():
        what = words.get((section, name)) or said.get(name)
        if not what:
            raise SystemExit(
                f"neither {EXAMPLE.name} nor the docstring of {type(values).__name__} tells what {name} does"
            )
        value = getattr(values, name)
        leaves = [(prefix + name, field, value)]
        if _has_keys(field.type):
            inner = fields_of(type(value)).items()
            leaves = [(f"{prefix}{name}.{key}", each, getattr(value, key)) for key, each in inner]
        keys = (f"`{key}`<br>`SHOPPERD_{key.replace('.', '__').upper()}`" for key, _, _ in leaves)
        kinds = (_kind(each.type) for _, each, _ in leaves)
        defaults = (
            "" if each.default is attrs.NOTHING and len(leaves) == 1 else _default(of, each.type)
            for _, each, of in leaves
        )
        yield "<br>".join(keys), "<br><br>".join(kinds), "<br><br>".join(defaults), _prose(what)


def _without(fields: Fields, *names: str) -> Fields:
    return {name: field for name, field in fields.items() if name not in names}


def _secrets() -> Iterator[str]:
    words, _ = _example()
    yield from (_prose(words.pop(("accounts", "api_key_env"))), "")
    heads = ("provider", "keys", "read from, unless one is set", "remark")
    rows = (
        (provider, f"`{name}_env`, `{name}_file`", f"`{variable}`", _prose(words.get(("accounts", f"{name}_env"), "")))
        for provider, secrets in SECRETS_OF.items()
        for name, variable in secrets.items()
    )
    yield from _table(heads, rows)


def _example() -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """What the example file says right above each key, or behind it, and right above each table."""
    words: dict[tuple[str, str], str] = {}
    intros: dict[str, str] = {}
    section, said = "top", list[str]()
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if header := HEADER.fullmatch(line):
            first, *rest = header[1].split(".")
            section = rest[1] if len(rest) > 1 else first
            intros.setdefault(section, " ".join(said))
        elif key := KEY.match(line):
            remark = REMARK.search(line)
            words.setdefault((section, key[1]), remark[1] if remark else " ".join(said))
        elif line.startswith("# "):
            said.append(line[2:])
            continue
        said = []
    return words, intros


def _attributes(cls: type) -> dict[str, str]:
    """What a class's docstring says of its attributes; several may share one text."""
    _, _, listed = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    said: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", listed):
        names, _, text = entry.strip().partition(": ")
        said |= dict.fromkeys(names.split(", "), " ".join((text[:1].upper() + text[1:]).split()))
    return said


def _has_keys(kind: object) -> bool:
    return isinstance(kind, type) and attrs.has(kind)


def _kind(kind: Any) -> str:
    """What a value may be, in words."""
    if is_optional(kind):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{word}"`' for word in get_args(kind))
    if get_origin(kind) is tuple:
        return "list of texts"
    if (bounds := bounds_of(kind)) is None:
        return {bool: "true or false", str: "text", Path: "file"}[kind]
    if bounds.seconds:
        return f"duration, at least {format_duration(bounds.least)}" if bounds.least else "duration"
    whole = "whole number" if get_args(kind)[0] is int else "number"
    return (
        f"{whole}, {bounds.least:g} or more"
        if bounds.most == float("inf")
        else f"{whole}, {bounds.least:g} to {bounds.most:.0f}"
    )


def _default(value: object, kind: Any) -> str:
    if value is None:
        return "not set"
    bounds = bounds_of(kind)
    if bounds is not None and bounds.seconds and isinstance(value, float):
        return "`0`" if value == 0 else f'`"{format_duration(value)}"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f'`"{each}"`' for each in value)
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _metrics() -> Iterator[str]:
    rows = (
        (f"`shopperd_{name}`", family.type, _labels_of(metric), _prose(family.documentation))
        for name, metric in _all(Metrics(registry=CollectorRegistry()))
        for family in metric.describe()
    )
    yield from _table(("metric", "type", "labels", "what it tells, and what to do"), rows)


def _labels() -> Iterator[str]:
    metrics = Metrics(registry=CollectorRegistry())
    metrics.initialise([("account", "provider")])
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, metric in _all(metrics):
        values: dict[str, dict[str, None]] = {}
        for sample in (sample for family in metric.collect() for sample in family.samples):
            for label, value in sample.labels.items():
                values.setdefault(label, {})[value] = None
        for label in metric._labelnames:
            if label not in NO_CHOICE and len(values.get(label, ())) > 1:
                found.setdefault((label, tuple(sorted(values[label]))), []).append(name)
    rows = (
        (f"`{label}`", ", ".join(f"`{name}`" for name in names), ", ".join(f"`{value}`" for value in values))
        for (label, values), names in sorted(found.items())
    )
    yield from _table(("label", "of", "values"), rows)


def _all(metrics: Metrics) -> Iterator[tuple[str, MetricWrapperBase]]:
    for name, metric in vars(metrics).items():
        if isinstance(metric, MetricWrapperBase):
            yield name, metric


def _labels_of(metric: MetricWrapperBase) -> str:
    # The library tells the names of labels in public only with their values, and there may be none yet.
    return ", ".join(f"`{name}`" for name in metric._labelnames)


def _code(path: str, *names: str) -> Iterator[str]:
    """Definitions of a file as they are there: ``name``, ``Class.method``, or ``Class`` for all of it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines, found = text.splitlines(), _definitions(ast.parse(text).body)
    yield "```python"
    for number, name in enumerate(names):
        yield from ("",) * (2 if number > 0 and "." not in name else number > 0)
        start, end = found[name]
        yield from lines[start:end]
    yield "```"


def _definitions(body: Sequence[ast.stmt], prefix: str = "") -> dict[str, tuple[int, int]]:
    """The lines of each definition and assignment, decorators included."""
    found: dict[str, tuple[int, int]] = {}
    for node in body:
        lines = (node.lineno - 1, node.end_lineno or node.lineno)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[prefix + node.targets[0].id] = lines
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start = min([node.lineno, *(each.lineno for each in node.decorator_list)]) - 1
            found[prefix + node.name] = (start, lines[1])
            if isinstance(node, ast.ClassDef):
                found |= _definitions(node.body, f"{prefix}{node.name}.")
    return found


def _prose(text: str) -> str:
    """Plain words as a cell of a table in Markdown, with a full stop."""
    text = re.sub(r"<(?=\w)", "&lt;", text.replace("|", "\\|"))
    return text and text + ("" if text.endswith((".", ":")) else ".")


def main(*arguments: str) -> int:
    """See the module."""
    stale = []
    for path in sorted((ROOT / "docs").glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (made := filled_in(page)) != page:
            stale.append(f"docs/{path.name}")
            if arguments != ("--check",):
                path.write_text(made, encoding="utf-8")
    if stale:
        print("not as the code has it:" if arguments == ("--check",) else "written:", *stale)
    return int(bool(stale) and arguments == ("--check",))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
