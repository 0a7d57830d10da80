"""The dashboards: of Grafana's form, by the rules of its linter, true to the alerts, and with data for every query."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from deploy.prometheus.rules import RULES, alerts, read
from shopperd.clock import SystemClock
from tests.deploy.observed import Prometheus, Refused, observed
from tests.deploy.promql import Selector, faults, selectors, substituted
from tests.deploy.shape import misfits
from tests.test_telemetry import TABLE

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/grafana"
FILES = sorted(FOLDER.glob("*.json"))
PATIENCE_SECONDS = 150.0
POLL_SECONDS = 1.0

Json = dict[str, Any]

VALUES = {
    "job": ".+",
    "instance": ".+",
    "account": ".*",
    "provider": ".+",
    "gpu": ".+",
    "__rate_interval": "15s",
    "__range": "60s",
}
"""What the variables of a dashboard stand for when everything is chosen and Prometheus scrapes every second."""

UNITS = {"short", "s", "currencyUSD", "percentunit", "reqps", "ops", "bytes"}
"""Those of Grafana's units that are used; its linter knows all of them."""

NEVER_SET = {"breaker_open"}
"""Metrics that nothing sets yet: a panel of them would tell what is not so."""


@frozen
class Asked:
    """One query of one panel."""

    dashboard: str
    panel: str
    expr: str
    instant: bool

    @property
    def plain(self) -> str:
        """With its variables filled in."""
        return substituted(self.expr, VALUES)

    @property
    def selectors(self) -> list[Selector]:
        """What it reads."""
        return selectors(self.plain)


@cache
def load(path: Path) -> Json:
    """A dashboard."""
    made: Json = json.loads(path.read_text())
    return made


def panels(dashboard: Json) -> list[Json]:
    """Its panels, without the rows' headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(path: Path) -> list[Asked]:
    """The queries of its panels."""
    return [
        Asked(path.stem, panel["title"], target["expr"], target["instant"])
        for panel in panels(load(path))
        for target in panel["targets"]
    ]


def variables(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def label_values(variable: Json) -> tuple[str, str]:
    """The selector and the label that a variable takes its values from."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
    assert found is not None
    return substituted(found[1], VALUES), found[2]


def soon(expr: str) -> str:
    """The same of alerts that are about to fire: to fire takes some of them minutes."""
    return expr.replace('alertstate="firing"', 'alertstate=~"pending|firing"')


def answers(url: str) -> bool:
    """Whether a page is there; where it leads on does not matter."""
    _, _, address, path = url.split("/", 3)
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", f"/{path}")
        return connection.getresponse().status in (http.client.OK, http.client.FOUND)
    except OSError:
        return False
    finally:
        connection.close()


ALL_QUERIES = [query for path in FILES for query in queries(path)]


def test_the_dashboards_are_what_their_source_makes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "deploy.grafana.dashboards", tmp_path], cwd=ROOT, check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in FILES} == made, "run python -m deploy.grafana.dashboards"
    assert len(made) == 4


def test_every_metric_is_shown_somewhere() -> None:
    text = "".join(path.read_text() for path in FILES)
    unseen = {name for name in TABLE if not re.search(rf"shopperd_{name}\b|shopperd_{name}_(bucket|count|sum)\b", text)}
    assert unseen == NEVER_SET


def test_no_two_dashboards_have_one_name() -> None:
    assert len({load(path)["title"] for path in FILES}) == len(FILES)


def test_each_has_a_configmap_of_its_own_small_enough_to_apply() -> None:
    kustomization = (FOLDER / "kustomization.yaml").read_text()
    assert re.findall(r"files: \[(.+)\]", kustomization) != []
    assert sorted(re.findall(r"files: \[(.+)\]", kustomization)) == [path.name for path in FILES]
    # kubectl keeps what was applied in an annotation, and annotations have 256 KiB in all.
    assert all(path.stat().st_size < 200 * 1024 for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
class TestEveryDashboard:
    def test_it_is_of_grafana_s_form(self, path: Path) -> None:
        assert misfits(load(path)) == []

    def test_it_can_be_found_again_and_is_not_changed_by_hand(self, path: Path) -> None:
        dashboard = load(path)
        assert dashboard["uid"] == path.stem
        assert dashboard["editable"] is False
        assert "id" not in dashboard
        assert dashboard["tags"] == ["shopperd"]

    def test_its_data_source_is_chosen_and_every_panel_uses_it(self, path: Path) -> None:
        dashboard = load(path)
        source = variables(dashboard)["datasource"]
        assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")
        users = [*panels(dashboard), *dashboard["annotations"]["list"]]
        users += [target for panel in panels(dashboard) for target in panel["targets"]]
        users += [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
        assert all(user["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for user in users)

    def test_job_and_instance_are_chosen_several_or_all_and_follow_the_time(self, path: Path) -> None:
        chosen = variables(load(path))
        for name, label in (("job", "Job"), ("instance", "Instance")):
            variable = chosen[name]
            assert (variable["type"], variable["label"], variable["multi"]) == ("query", label, True)
            assert (variable["allValue"], variable["includeAll"], variable["refresh"]) == (".+", True, 2)

    def test_its_other_variables_are_those_that_its_queries_use(self, path: Path) -> None:
        dashboard = load(path)
        for name in variables(dashboard).keys() - {"datasource"}:
            assert any(f"${name}" in query.expr for query in queries(path)), name

    def test_its_variables_take_their_values_from_labels_that_exist(self, path: Path) -> None:
        for name, variable in variables(load(path)).items():
            if name == "datasource":
                continue
            selector, label = label_values(variable)
            assert faults(selector) == []
            # A label can be asked for in a matcher only where the metric has it.
            assert faults(f'{selectors(selector)[0].metric}{{{label}="x"}}') == []

    def test_every_panel_has_a_title_of_its_own_a_description_and_a_unit(self, path: Path) -> None:
        for panel in panels(load(path)):
            assert panel["title"]
            assert panel["description"].endswith(".")
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
            assert panel["targets"]
        names = Counter((panel["type"], panel["title"]) for panel in panels(load(path)))
        assert set(names.values()) == {1}

    def test_every_row_is_a_question(self, path: Path) -> None:
        rows = [panel["title"] for panel in load(path)["panels"] if panel["type"] == "row"]
        assert len(rows) >= 3
        assert all(title.endswith("?") for title in rows)

    def test_panels_lie_side_by_side_and_on_nothing(self, path: Path) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in load(path)["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not cells & taken
            taken |= cells
        ids = [panel["id"] for panel in load(path)["panels"]]
        assert len(set(ids)) == len(ids)

    def test_lines_begin_at_zero(self, path: Path) -> None:
        for panel in panels(load(path)):
            if panel["type"] == "timeseries":
                assert panel["fieldConfig"]["defaults"]["min"] == 0

    def test_restarts_are_marked(self, path: Path) -> None:
        marks = {mark["name"]: mark["expr"] for mark in load(path)["annotations"]["list"]}
        assert "process_start_time_seconds" in marks["Restarts"]
        for expr in marks.values():
            assert faults(substituted(expr, VALUES)) == []

    def test_it_links_to_the_runbook_and_to_the_others(self, path: Path) -> None:
        links = {link["type"]: link for link in load(path)["links"]}
        assert links["link"]["url"] == next(iter(alerts().values())).runbook_url.partition("#")[0]
        assert links["dashboards"]["tags"] == ["shopperd"]

    def test_thresholds_are_those_of_the_alerts_that_the_panel_names(self, path: Path) -> None:
        for panel in panels(load(path)):
            fields = [panel["fieldConfig"]["defaults"]] if "thresholds" in panel["fieldConfig"]["defaults"] else []
            named = re.findall(r"the alert (Shopperd\w+)\.$", panel["description"])
            steps = [
                step["value"] for each in fields for step in each["thresholds"]["steps"] if step["value"] is not None
            ]
            # A step counts as reached at its value: what is told above 0 begins at 1.
            assert steps == [alerts()[name].threshold or 1 for name in named], panel["title"]
            assert [link["url"] for link in panel["links"]] == [alerts()[name].runbook_url for name in named]
            for name in named:
                assert self.reads_the_same(panel, name), f"{panel['title']} shows another thing than {name} tells"

    def reads_the_same(self, panel: Json, name: str) -> bool:
        """Whether a panel reads a metric that the alert reads too, in itself or through what it has recorded."""
        rules = read()
        asked = {selector.metric for selector in selectors(rules[name].expr)}
        for recorded in [rules[metric] for metric in asked if metric in rules]:
            asked |= {selector.metric for selector in selectors(recorded.expr)}
        for recorded in [rules[metric] for metric in asked if metric in rules]:
            asked |= {selector.metric for selector in selectors(recorded.expr)}
        shown = {
            selector.metric
            for target in panel["targets"]
            for selector in selectors(substituted(target["expr"], VALUES))
        }
        return bool(asked & shown)


@pytest.mark.parametrize("query", ALL_QUERIES, ids=lambda query: f"{query.dashboard}: {query.panel}")
class TestEveryQuery:
    def test_it_reads_metrics_labels_and_values_that_shopperd_has(self, query: Asked) -> None:
        assert faults(query.plain) == []

    def test_it_reads_what_is_chosen_alone(self, query: Asked) -> None:
        for selector in query.selectors:
            assert selector.matchers["job"] == ("Re", ".+")
            assert selector.matchers["instance"] == ("Re", ".+")
            if "account" in TABLE.get(selector.metric.removeprefix("shopperd_"), ("", set()))[1]:
                assert selector.matchers["account"] == ("Re", ".*")

    def test_rates_are_of_the_interval_that_grafana_chooses(self, query: Asked) -> None:
        for selector in query.selectors:
            if selector.function == "rate":
                assert selector.range_seconds == 15
            if selector.function == "increase":
                assert selector.range_seconds in (15, 60)

    def test_counters_and_buckets_are_never_shown_as_they_are(self, query: Asked) -> None:
        for selector in query.selectors:
            if re.search(r"_(total|bucket|count|sum)$", selector.metric):
                assert selector.function in ("rate", "increase")
            if selector.metric.endswith("_bucket"):
                assert "histogram_quantile" in selector.functions

    def test_it_needs_no_recording_rule(self, query: Asked) -> None:
        assert not {selector.metric for selector in query.selectors} & read().keys()


class TestTheChecks:
    """What holds dashboards against the rules finds what breaks them."""

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            (("schemaVersion",), "x"),
            (("panels", 1, "gridPos", "w"), "12"),
            (("panels", 1, "fieldConfig", "defaults", "thresholds", "mode"), "abs"),
            (("panels", 1, "links"), [{"title": "a"}]),
            (("templating", "list", 0, "name"), None),
        ],
    )
    def test_a_form_that_is_wrong_is_found(self, path: tuple[str | int, ...], value: object) -> None:
        dashboard = deepcopy(load(FILES[0]))
        part: Any = dashboard
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
        assert len(misfits(dashboard)) == 1

    @pytest.mark.parametrize(
        "expr",
        [
            "shopperd_nothing",
            'shopperd_holds{reason="nothing"}',
            'shopperd_holds{nothing="x"}',
            'shopperd_job_runs_total{exported_job="nothing"}',
            'shopperd_frozen{account="x"}',
        ],
    )
    def test_a_query_for_what_is_never_there_is_found(self, expr: str) -> None:
        assert faults(f"sum({expr})") != []


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    with observed(tmp_path_factory.mktemp("observed")) as running:
        yield running


@pytest.mark.system
@pytest.mark.timeout(PATIENCE_SECONDS + 150)
class TestLive:
    """Against a Prometheus that watches the demo. Now and then the demo kills its daemon, so each query may take its time."""

    async def test_every_query_has_data(self, prometheus: Prometheus) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + PATIENCE_SECONDS
        missing = ALL_QUERIES
        while missing and clock.monotonic() < deadline:
            missing = [query for query in missing if not prometheus.has(soon(query.plain), instant=query.instant)]
            await clock.sleep(POLL_SECONDS)
        assert [f"{query.dashboard}: {query.panel}: {query.expr}" for query in missing] == []

    async def test_what_is_recorded_has_data_and_no_rule_fails(self, prometheus: Prometheus) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + PATIENCE_SECONDS
        missing = [name for name, rule in read().items() if not rule.alerts]
        while missing and clock.monotonic() < deadline:
            missing = [name for name in missing if not prometheus.has(name, instant=False)]
            await clock.sleep(POLL_SECONDS)
        assert missing == []
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} == read().keys()
        assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}

    def test_every_variable_has_values_and_every_mark_can_be_asked_for(self, prometheus: Prometheus) -> None:
        for path in FILES:
            for name, variable in variables(load(path)).items():
                if name != "datasource":
                    selector, label = label_values(variable)
                    assert prometheus.ask(f"label/{label}/values", **{"match[]": selector}) != [], name
            for mark in load(path)["annotations"]["list"]:
                prometheus.has(substituted(mark["expr"], VALUES), instant=False)

    def test_a_query_without_data_and_one_that_is_wrong_are_told_apart(self, prometheus: Prometheus) -> None:
        assert not prometheus.has("shopperd_nothing", instant=True)
        assert not prometheus.has("shopperd_nothing", instant=False)
        with pytest.raises(Refused, match="parse error"):
            prometheus.has("rate(shopperd_frozen)[", instant=True)

    async def test_every_address_that_a_person_is_told_answers(self, prometheus: Prometheus) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + PATIENCE_SECONDS
        missing = prometheus.told
        assert len(missing) == 6
        # The daemon is the last to be there.
        while missing and clock.monotonic() < deadline:
            missing = tuple(url for url in missing if not answers(url))
            await clock.sleep(POLL_SECONDS)
        assert missing == ()

    def test_the_rules_are_those_of_the_repository(self, prometheus: Prometheus) -> None:
        groups = prometheus.ask("rules")["groups"]
        assert {group["file"] for group in groups} == {str(RULES)}
