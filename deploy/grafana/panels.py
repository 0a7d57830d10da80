"""The parts that dashboards are built from: queries, panels, rows, and a dashboard around them, as plain dicts in Grafana's form.

A panel that is told its alert takes threshold, colour and runbook from the rules, so that a graph turns red where the alert fires.
In a query, ``@target`` stands for the matchers of job and instance, and ``@account`` for those and the account's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from deploy.prometheus.rules import Rule, alerts

Json = dict[str, Any]

TARGET = 'job=~"$job", instance=~"$instance"'
ACCOUNT = f'{TARGET}, account=~"$account"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
ALERTS: Mapping[str, Rule] = alerts()
RUNBOOK = next(iter(ALERTS.values())).runbook_url.partition("#")[0]

GRID_COLUMNS = 24
COLUMN_PIXELS_MIN = 80
TALL = 8
"""So many cells of the grid a graph is high; a number that stands beside one has no graph behind it."""
SCHEMA_VERSION = 39
"""Of Grafana 11; newer ones read it and convert it by themselves, 10 reads it as it is."""

_AXIS_SOFT_MAX = {"short": 1, "s": 0.01, "percentunit": 0.01, "currencyUSD": 0.1}
"""An axis goes at least that far up, so that a flat zero does not get an axis to 100."""

_NEVER = {"type": "range", "options": {"from": 1e12, "to": None, "result": {"text": "never", "color": "orange"}}}
"""An age is infinite until something was seen once, as after a start."""

_COLOURS = {"critical": "red", "warning": "orange"}
_GOOD = "green"


def matchers_of(alert: str, label: str) -> str:
    """The pattern that an alert's expression matches a label with, so that a panel counts what the alert counts."""
    found = re.search(rf'{label}=~"([^"]+)"', ALERTS[alert].expr)
    if found is None:
        raise ValueError(f"{alert} matches no {label}")
    return found[1]


@frozen
class Query:
    """One query and the names of its series."""

    expr: str
    legend: str = ""

    def target(self, number: int, *, instant: bool = False) -> Json:
        """As Grafana has it; `instant`: of the present moment alone, for a table."""
        expr = self.expr.replace("{@target", "{" + TARGET).replace("{@account", "{" + ACCOUNT)
        made: Json = {
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": expr,
            "legendFormat": self.legend or "__auto",
            "range": not instant,
            "instant": instant,
            "refId": chr(ord("A") + number),
        }
        return made | ({"format": "table"} if instant else {})


@frozen
class Panel:
    """A panel without its place.

    Attributes:
        body: what Grafana has of it beside id and place.
        width, height: in Grafana's grid of 24 columns.
    """

    body: Json
    width: int
    height: int


@frozen
class Row:
    """What answers one question."""

    question: str
    panels: Sequence[Panel]


def row(question: str, *panels: Panel) -> Row:
    """A row; its panels stand from left to right, and go on below where there is no room."""
    return Row(question, panels)


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str = "short",
    alert: str = "",
    low_is_bad: bool = False,
    words: Mapping[int, tuple[str, str]] | None = None,
    more: str = "",
    width: int = 4,
    height: int = 4,
) -> Panel:
    """One number. `words`: text and colour for certain values; `more`: the colour of all above."""
    defaults: Json = {
        **_unit(unit),
        "color": {"mode": "thresholds"},
        "thresholds": _thresholds(alert, low_is_bad=low_is_bad),
    }
    if words:
        meanings = {str(value): {"text": text, "color": colour} for value, (text, colour) in words.items()}
        defaults["mappings"] = [{"type": "value", "options": meanings}]
    if more:
        above = {"from": 1 + max(words or (0,)), "to": None, "result": {"color": more}}
        defaults["mappings"] = [*defaults.get("mappings", []), {"type": "range", "options": above}]
    options: Json = {
        "colorMode": "value" if alert or words else "none",
        "graphMode": "area" if height < TALL and (more or not words) else "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "wideLayout": True,
    }
    return _panel("stat", title, description, [Query(expr)], defaults, options, alert, width, height)


def name(title: str, description: str, expr: str, legend: str, *, width: int = 4) -> Panel:
    """The name of a series, for what a label tells."""
    made = stat(title, description, expr, width=width)
    body = made.body | {"options": made.body["options"] | {"textMode": "name", "graphMode": "none"}}
    body["targets"] = [Query(expr, legend).target(0)]
    return evolve(made, body=body)


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    alert: str = "",
    stack: bool = False,
    none: str = "",
    width: int = 8,
) -> Panel:
    """Lines over time, from zero up; with an alert, a dashed line where it fires.

    `none` is what is written there if there is nothing to show: for queries that leave out what is zero, as most of many are.
    """
    custom: Json = {
        "axisSoftMin": 0,
        "drawStyle": "line",
        "fillOpacity": 25 if stack else 8,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if alert else "off"},
    }
    if unit in _AXIS_SOFT_MAX:
        custom["axisSoftMax"] = _AXIS_SOFT_MAX[unit]
    defaults: Json = {**_unit(unit), "min": 0, "custom": custom, "thresholds": _thresholds(alert)}
    defaults["color"] = {"mode": "palette-classic"}
    if none:
        defaults["noValue"] = none
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, queries, defaults, options, alert, width, TALL)


@frozen
class Column:
    """A column of a table: one query, its name and unit; with an alert, red where it fires."""

    name: str
    expr: str
    unit: str = "short"
    alert: str = ""


def table(title: str, description: str, labels: Mapping[str, str], *columns: Column, height: int = TALL) -> Panel:
    """The present values of several queries side by side, one line for each set of `labels` (label -> heading)."""
    queries = [Query(column.expr) for column in columns]
    overrides = []
    for column in columns:
        properties = [{"id": key, "value": value} for key, value in _unit(column.unit).items()]
        if column.alert:
            properties.append({"id": "thresholds", "value": _thresholds(column.alert)})
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        overrides.append({"matcher": {"id": "byName", "options": column.name}, "properties": properties})
    # Narrower than Grafana's own, or the last columns of many are out of sight.
    custom: Json = {
        "align": "auto",
        "cellOptions": {"type": "auto"},
        "filterable": True,
        "inspect": False,
        "minWidth": COLUMN_PIXELS_MIN,
    }
    defaults: Json = {"unit": "short", "thresholds": _thresholds(""), "custom": custom}
    defaults["color"] = {"mode": "thresholds"}
    options = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"}
    made = _panel("table", title, description, queries, defaults, options, "", GRID_COLUMNS, height)
    body = made.body
    body["targets"] = [query.target(number, instant=True) for number, query in enumerate(queries)]
    body["fieldConfig"]["overrides"] = overrides
    # Grafana gives the values of a query its letter only if there are several.
    letters = [f" #{chr(ord('A') + number)}" for number in range(len(columns))] if len(columns) > 1 else [""]
    values = {f"Value{letter}": column.name for letter, column in zip(letters, columns, strict=True)}
    order = {heading: number for number, heading in enumerate([*labels, *values])}
    body["transformations"] = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": order,
                "renameByName": dict(labels) | values,
            },
        },
    ]
    return made


def _panel(
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Query],
    defaults: Json,
    options: Json,
    alert: str,
    width: int,
    height: int,
) -> Panel:
    links = []
    if alert:
        rule = ALERTS[alert]
        description += f" The threshold is that of the alert {alert}."
        links.append(_link(f"Runbook: {alert}", rule.runbook_url))
    body: Json = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "targets": [query.target(number) for number, query in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "links": links,
    }
    return Panel(body, width, height)


def _unit(unit: str) -> Json:
    """A unit, and how its numbers are written. What is counted has no decimals, though an increase is an estimate."""
    if unit == "short":
        return {"unit": unit, "decimals": 0}
    return {"unit": unit, "mappings": [_NEVER]} if unit == "s" else {"unit": unit}


def _thresholds(alert: str, *, low_is_bad: bool = False) -> Json:
    """Green up to where the alert fires. Grafana counts a step as reached at its value, so "above 0" begins at 1."""
    if not alert:
        return {"mode": "absolute", "steps": [{"color": _GOOD, "value": None}]}
    rule = ALERTS[alert]
    colours = (_GOOD, _COLOURS[rule.severity])
    below, above = reversed(colours) if low_is_bad else colours
    return {
        "mode": "absolute",
        "steps": [{"color": below, "value": None}, {"color": above, "value": rule.threshold or 1}],
    }


def choice(name: str, label: str, query: str, all_value: str = ".+") -> Json:
    """A variable that is chosen from the values of a label, several or all of them."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": all_value,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "regex": "",
        "sort": 1,
        "hide": 0,
    }


ACCOUNTS = choice("account", "Account", f"label_values(shopperd_account_owned{{{TARGET}}}, account)", ".*")
"""Of all values, none too: what is done for no single account stays in sight."""


def dashboard(uid: str, title: str, description: str, variables: Sequence[Json], rows: Sequence[Row]) -> Json:
    """A whole dashboard; it reads the metrics alone, and needs none of the recording rules."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "options": [],
        "refresh": 1,
        "regex": "",
        "hide": 0,
    }
    places = [
        choice("job", "Job", "label_values(shopperd_build_info, job)"),
        choice("instance", "Instance", 'label_values(shopperd_build_info{job=~"$job"}, instance)'),
    ]
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["shopperd"],
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_RESTARTS, _FROZEN]},
        "links": [
            _LINK
            | {"type": "dashboards", "title": "shopperd", "tags": ["shopperd"], "includeVars": True, "keepTime": True},
            _link("Runbook", RUNBOOK),
        ],
        "templating": {"list": [source, *places, *variables]},
        "panels": _placed(rows),
    }


def _placed(rows: Sequence[Row]) -> list[Json]:
    """Every panel with its number and place."""
    made: list[Json] = []
    top = 0
    for each in rows:
        place = {"x": 0, "y": top, "w": GRID_COLUMNS, "h": 1}
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": each.question,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top += 1
        left = height = 0
        for panel in each.panels:
            if left + panel.width > GRID_COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            made.append({"id": len(made) + 1, **panel.body, "gridPos": place})
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return made


_LINK: Json = {
    "type": "link",
    "title": "",
    "tooltip": "",
    "url": "",
    "tags": [],
    "icon": "external link",
    "asDropdown": False,
    "includeVars": False,
    "keepTime": False,
    "targetBlank": False,
}


def _link(title: str, url: str) -> Json:
    return _LINK | {"title": title, "url": url, "icon": "doc", "targetBlank": True}


_RESTARTS = {
    "name": "Restarts",
    "datasource": SOURCE,
    "enable": True,
    "iconColor": "blue",
    "expr": f"process_start_time_seconds{{{TARGET}}} * 1000",
    "useValueForTime": True,
    "titleFormat": "shopperd was started",
    "textFormat": "{{instance}}",
    "tagKeys": "instance",
}
_FROZEN = {
    "name": "Kill switch",
    "datasource": SOURCE,
    "enable": True,
    "iconColor": "orange",
    "expr": f"shopperd_frozen{{{TARGET}}} == 1",
    "titleFormat": "The kill switch was on",
    "textFormat": "{{instance}}",
    "tagKeys": "instance",
}
