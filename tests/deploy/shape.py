"""Holds a document against a JSON Schema, as far as the schema of dashboards needs it: a rule that is not known here is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

SCHEMA = Path(__file__).with_name("dashboard.schema.json")

_SAY_NOTHING = {"$schema", "$comment", "definitions"}


def misfits(document: object, schema: Path = SCHEMA) -> list[str]:
    """Where a document is not of the form, each with its place. Empty: it is."""
    whole = json.loads(schema.read_text())
    return list(_misfits(document, whole, whole, "dashboard"))


def _misfits(value: object, rule: Mapping[str, Any], whole: Mapping[str, Any], place: str) -> Iterator[str]:
    parts: dict[str, object] = value if isinstance(value, dict) else {}
    items: list[object] = value if isinstance(value, list) else []
    for word, content in rule.items():
        if word in _SAY_NOTHING:
            continue
        if word == "$ref":
            name = unquote(content.removeprefix("#/definitions/"))
            yield from _misfits(value, whole["definitions"][name], whole, place)
        elif word == "type":
            kinds = [content] if isinstance(content, str) else content
            if not any(_is(value, kind) for kind in kinds):
                yield f"{place}: {value!r} is not of type {' or '.join(kinds)}"
        elif word in ("enum", "const"):
            allowed = content if word == "enum" else [content]
            if value not in allowed:
                yield f"{place}: {value!r} is none of {allowed}"
        elif word == "anyOf":
            tried = [list(_misfits(value, each, whole, place)) for each in content]
            if all(tried):
                yield from min(tried, key=len)
        elif word == "required":
            missing = sorted(set(content) - parts.keys()) if isinstance(value, dict) else []
            if missing:
                yield f"{place}: {', '.join(missing)} missing"
        elif word == "items":
            for number, item in enumerate(items):
                yield from _misfits(item, content, whole, f"{place}[{number}]")
        elif word == "properties":
            for key in sorted(content.keys() & parts.keys()):
                yield from _misfits(parts[key], content[key], whole, f"{place}.{key}")
        elif word == "additionalProperties":
            others = sorted(parts.keys() - rule.get("properties", {}).keys())
            if content is False and others:
                yield f"{place}: {', '.join(others)} not known"
            for key in others if isinstance(content, dict) else ():
                yield from _misfits(parts[key], content, whole, f"{place}.{key}")
        else:
            raise NotImplementedError(f"the schema's word {word!r}")


def _is(value: object, kind: str) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, types[kind])
