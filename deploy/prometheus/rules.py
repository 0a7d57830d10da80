"""Reads `shopperd.rules.yaml`, so that thresholds and names of alerts are taken from there and stand nowhere else.

The file keeps to a plain form of YAML, which is all that is read here, so nothing needs to be installed. What is not of that form
is an error and never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

RULES = Path(__file__).with_name("shopperd.rules.yaml")

_BEGIN = re.compile(r"      - (alert|record): (\S+)")
_KEY = re.compile(r"        (?:  )?(\w+): (?! )(.+)")
_OPEN = re.compile(r"        (labels|annotations):")
_BLOCK_INDENT = " " * 10
_COMPARISON = re.compile(r"(?:==|!=|>=|<=|>|<) ([0-9.]+)\b")


class RulesError(Exception):
    """The file is not of the form that is read here; the text names the line."""


@frozen
class Rule:
    """One recording rule or alert.

    Attributes:
        fields: what the rule says beside its name, labels and annotations included: ``expr``, ``for``, ``severity``, ``summary``...
    """

    name: str
    alerts: bool
    fields: Mapping[str, str] = field(factory=dict)

    @property
    def expr(self) -> str:
        """The PromQL expression."""
        return self.fields["expr"]

    @property
    def severity(self) -> str:
        """Of an alert: critical (wakes somebody) or warning (can wait for the day)."""
        return self.fields["severity"]

    @property
    def threshold(self) -> float:
        """What an alert's value is compared with: the first comparison of its expression.

        Raises:
            RulesError: there is none.
        """
        found = _COMPARISON.search(self.expr)
        if found is None:
            raise RulesError(f"{self.name} compares with no number")
        return float(found[1])

    @property
    def runbook_url(self) -> str:
        """Where the runbook says what to do about an alert."""
        return self.fields["runbook_url"]


def read(path: Path = RULES) -> dict[str, Rule]:
    """Every rule by its name, in the order of the file.

    Raises:
        RulesError: something in the file is not of the form that is read here, or a name stands twice.
    """
    rules: dict[str, Rule] = {}
    for rule in _rules(path):
        if rule.name in rules:
            raise RulesError(f"{rule.name} stands twice in {path.name}")
        rules[rule.name] = rule
    return rules


def alerts(path: Path = RULES) -> dict[str, Rule]:
    """The alerts alone."""
    return {name: rule for name, rule in read(path).items() if rule.alerts}


def _rules(path: Path) -> Iterator[Rule]:
    name, is_alert, fields, block = "", False, dict[str, str](), ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if block and line.startswith(_BLOCK_INDENT):
            fields[block] += line.removeprefix(_BLOCK_INDENT) + "\n"
            continue
        block = ""
        if (begin := _BEGIN.fullmatch(line)) is not None:
            if name:
                yield Rule(name, is_alert, fields)
            name, is_alert, fields = begin[2], begin[1] == "alert", {}
        elif (found := _KEY.fullmatch(line)) is not None:
            key, value = found.groups()
            if key in fields:
                raise RulesError(f"{path.name}:{number}: {key} stands twice")
            block = key if value == "|" else ""
            fields[key] = "" if block else _scalar(value)
        elif not (_OPEN.fullmatch(line) or re.fullmatch(r"|\s*#.*|groups:|  - name: [\w.]+|    rules:", line)):
            raise RulesError(f"{path.name}:{number}: not of the form that is read here: {line!r}")
    if name:
        yield Rule(name, is_alert, fields)


def _scalar(text: str) -> str:
    quoted = re.fullmatch(r"'((?:[^']|'')*)'", text)
    return text if quoted is None else quoted[1].replace("''", "'")
