"""What a PromQL expression reads, and whether shopperd has it: metrics, labels, and the values that labels can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import promql_parser
from attrs import fields, frozen
from prometheus_client import CollectorRegistry
from promql_parser import Call, Expr, MatrixSelector, VectorSelector

from deploy.prometheus.rules import read
from shopperd.jobs.creates import CreatesJob
from shopperd.telemetry import ACCOUNT_JOBS, SHARED_JOBS, Metrics
from tests.test_telemetry import TABLE

OF_TARGETS = {"job", "instance", "pod"}
"""Labels that Prometheus gives to every series of a target."""

OTHERS: Mapping[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate"},
    "ALERTS_FOR_STATE": {"alertname"},
    "process_start_time_seconds": set(),
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
}
"""Series that are not shopperd's own, by their labels."""

OPEN_LABELS = {
    "account",
    "hook",
    "provider",
    "gpu",
    "route",
    "method",
    "code",
    "version",
    "python",
    "le",
    "alertname",
    "alertstate",
}
"""Labels that may have any value."""

_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",), "summary": ("",)}


@frozen
class Selector:
    """One place at which an expression reads series.

    Attributes:
        matchers: by label: operator and value.
        function: what is called with it, directly; "" if nothing is.
        range_seconds: of a range; None if it is of one moment.
        functions: all that it is inside of, the outermost first.
    """

    metric: str
    matchers: Mapping[str, tuple[str, str]]
    function: str = ""
    range_seconds: float | None = None
    functions: tuple[str, ...] = ()


def selectors(expr: str) -> list[Selector]:
    """Every selector of an expression.

    Raises:
        ValueError: it is not PromQL.
    """
    found: list[Selector] = []
    above: list[Expr] = []

    def enter(node: Expr) -> None:
        if isinstance(node, MatrixSelector):
            found.append(_selector(node.vector_selector, above, node.range.total_seconds()))
        elif isinstance(node, VectorSelector) and not (above and isinstance(above[-1], MatrixSelector)):
            found.append(_selector(node, above, None))
        above.append(node)

    def leave(_: Expr) -> None:
        above.pop()

    promql_parser.walk(promql_parser.parse(expr), enter, leave)
    return found


def _selector(node: VectorSelector, above: list[Expr], seconds: float | None) -> Selector:
    functions = tuple(parent.func.name for parent in above if isinstance(parent, Call))
    direct = above[-1] if above else None
    matchers = {matcher.name: (str(matcher.op).rpartition(".")[2], matcher.value) for matcher in node.matchers.matchers}
    return Selector(
        metric=node.name or "",
        matchers=matchers,
        function=direct.func.name if isinstance(direct, Call) else "",
        range_seconds=seconds,
        functions=functions,
    )


@cache
def known_labels() -> dict[str, set[str]]:
    """The labels of every series that can be there, by its name."""
    known = {name: labels | OF_TARGETS for name, labels in OTHERS.items()}
    for name, (kind, labels) in TABLE.items():
        # Prometheus has a label `job` of its own and renames ours.
        own = {"exported_job" if label == "job" else label for label in labels}
        for suffix in _SUFFIXES[kind]:
            known[f"shopperd_{name}{suffix}"] = own | OF_TARGETS | ({"le"} if suffix == "_bucket" else set())
    return known


@cache
def known_values() -> dict[tuple[str, str], set[str]]:
    """The values that shopperd gives to the labels of a metric from the start, by metric and label."""
    metrics = Metrics(CollectorRegistry())
    metrics.initialise([("a", "p")])
    values: dict[tuple[str, str], set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                own = "exported_job" if label == "job" else label
                values.setdefault((sample.name, own), set()).add(value)
                if own == "exported_job":
                    values[sample.name, own] |= {*ACCOUNT_JOBS, *SHARED_JOBS, str(fields(CreatesJob).name.default)}
    return values


def faults(expr: str) -> list[str]:
    """What an expression reads that will never be there."""
    return list(_faults(expr, known_labels(), known_values()))


def _faults(expr: str, labels: Mapping[str, set[str]], values: Mapping[tuple[str, str], set[str]]) -> Iterator[str]:
    recorded = {name for name, rule in read().items() if not rule.alerts}
    for selector in selectors(expr):
        if selector.metric in recorded:
            continue
        if selector.metric not in labels:
            yield f"no metric {selector.metric}"
            continue
        for label, (_, value) in selector.matchers.items():
            if label not in labels[selector.metric]:
                yield f"{selector.metric} has no label {label}"
            elif label not in OPEN_LABELS | OF_TARGETS and (selector.metric, label) in values:
                unknown = set(value.split("|")) - values[selector.metric, label]
                if unknown:
                    yield f"{label} of {selector.metric} is never {', '.join(sorted(unknown))}"


def substituted(expr: str, values: Mapping[str, str]) -> str:
    """An expression of a dashboard with its variables filled in."""
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${{{name}}}", values[name]).replace(f"${name}", values[name])
    return expr
