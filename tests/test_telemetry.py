"""Metrics: names, labels, zeros and removal, held against the rules that Prometheus's own linter knows."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from shopperd import __version__
from shopperd.model import HoldReason, OrphanKind, OrphanPhase
from shopperd.providers.limiter import Endpoint
from shopperd.telemetry import OPERATIONS, OUTCOMES, Metrics, register_process_collectors

ACCOUNTS = (("vast-main", "vastai"), ("vast-ci", "vastai"), ("dock", "tensordock"))

ACCOUNT = {"account", "provider"}

TABLE: dict[str, tuple[str, set[str]]] = {
    "provider_request_duration_seconds": ("histogram", ACCOUNT | {"operation", "outcome"}),
    "provider_requests_total": ("counter", ACCOUNT | {"operation", "outcome"}),
    "ratelimit_backoffs_total": ("counter", ACCOUNT | {"endpoint", "cause"}),
    "ratelimit_backoff_seconds_total": ("counter", ACCOUNT | {"endpoint", "cause"}),
    "ratelimit_wait_seconds": ("histogram", ACCOUNT | {"endpoint"}),
    "ratelimit_interval_seconds": ("gauge", ACCOUNT | {"endpoint"}),
    "ratelimit_blocked_seconds": ("gauge", ACCOUNT | {"endpoint"}),
    "ratelimit_waiting": ("gauge", ACCOUNT | {"endpoint"}),
    "breaker_open": ("gauge", ACCOUNT),
    "orphans": ("gauge", ACCOUNT | {"kind", "phase"}),
    "orphans_detected_total": ("counter", ACCOUNT | {"kind"}),
    "orphans_destroyed_total": ("counter", ACCOUNT | {"kind"}),
    "orphan_oldest_age_seconds": ("gauge", ACCOUNT),
    "orphan_usd_per_hour": ("gauge", ACCOUNT),
    "orphan_cleanup_duration_seconds": ("histogram", ACCOUNT | {"kind"}),
    "holds": ("gauge", ACCOUNT | {"reason"}),
    "destroys_pending": ("gauge", ACCOUNT),
    "destroys_stuck": ("gauge", ACCOUNT),
    "destroys_held": ("gauge", ACCOUNT),
    "fleet_unsettled": ("gauge", ACCOUNT),
    "orphan_bound_seconds": ("gauge", set()),
    "destroy_oldest_age_seconds": ("gauge", ACCOUNT),
    "destroy_attempts_total": ("counter", ACCOUNT | {"outcome"}),
    "sessions": ("gauge", ACCOUNT | {"state"}),
    "instances": ("gauge", ACCOUNT | {"state", "ownership"}),
    "sessions_lost_total": ("counter", ACCOUNT),
    "session_transitions_total": ("counter", ACCOUNT | {"from", "to"}),
    "snapshot_age_seconds": ("gauge", ACCOUNT),
    "snapshots_total": ("counter", ACCOUNT | {"outcome"}),
    "job_duration_seconds": ("histogram", {"job", "account"}),
    "job_runs_total": ("counter", {"job", "account", "outcome"}),
    "job_last_success_timestamp_seconds": ("gauge", {"job", "account"}),
    "job_skipped_total": ("counter", {"job", "account", "reason"}),
    "offers": ("gauge", {"provider", "gpu"}),
    "offer_price_usd_per_hour": ("summary", {"provider", "gpu", "quantile"}),
    "offers_rejected_total": ("counter", {"provider", "reason"}),
    "offers_age_seconds": ("gauge", {"provider"}),
    "spend_usd_per_hour": ("gauge", ACCOUNT),
    "account_balance_usd": ("gauge", ACCOUNT),
    "leaked_usd_total": ("counter", ACCOUNT),
    "held_usd_per_hour": ("gauge", ACCOUNT),
    "billed_usd_per_hour": ("gauge", ACCOUNT),
    "spent_usd_total": ("counter", ACCOUNT),
    "unpriced_instances": ("gauge", ACCOUNT),
    "unreadable_charges": ("gauge", ACCOUNT),
    "budget_usd_per_hour": ("gauge", ACCOUNT),
    "account_balance_left_seconds": ("gauge", ACCOUNT),
    "frozen": ("gauge", set()),
    "account_owned": ("gauge", ACCOUNT),
    "store_duration_seconds": ("histogram", {"operation"}),
    "store_ok": ("gauge", set()),
    "store_spooled": ("gauge", set()),
    "store_spool_ready": ("gauge", set()),
    "store_spool_failures_total": ("counter", set()),
    "creates_unrecorded": ("gauge", set()),
    "config_reloads_total": ("counter", {"outcome"}),
    "build_info": ("gauge", {"version", "python"}),
    "clock_jumped_seconds": ("gauge", set()),
    "event_loop_lag_seconds": ("gauge", set()),
    "hook_deliveries_total": ("counter", {"hook", "outcome"}),
    "hook_pending": ("gauge", {"hook"}),
    "hook_oldest_age_seconds": ("gauge", {"hook"}),
    "http_requests_total": ("counter", {"route", "method", "code"}),
    "http_request_duration_seconds": ("histogram", {"route"}),
}
"""What dashboards and alerts are written against: a change here is a change for operators."""

FIXED_WORDS = {"account", "provider", "operation", "outcome", "kind", "reason", "endpoint", "cause", "phase", "state"} | {
    "ownership", "from", "to", "job", "gpu", "quantile", "version", "python", "route", "method", "code", "hook",
}  # fmt: skip

NO_BASE_UNITS = {"milliseconds", "ms", "minutes", "hours", "days", "s", "sec", "kb", "mb", "gb", "percent", "cents"}


def touched(metrics: Metrics) -> Metrics:
    """The same metrics, with a series in each."""
    for name, (kind, labels) in TABLE.items():
        metric = getattr(metrics, name)
        values = {label: "0.5" if label == "quantile" else "x" for label in labels}
        child = metric.labels(**values) if labels else metric
        if kind == "histogram":
            child.observe(1)
        elif kind == "counter":
            child.inc()
        else:
            child.set(1)
    return metrics


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def series(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Values by the values of their labels, in the order of the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"shopperd_{name}"
    }


def lint(text: str) -> list[str]:
    """What `promtool check metrics` would say, as far as it matters for names and types."""
    # The parser adds the suffix by itself, so this one is looked for in the text.
    faults = [
        f"{name}: a counter without _total" for name in re.findall(r"(?m)^# TYPE (\S*(?<!_total)) counter$", text)
    ]
    for family in text_string_to_metric_families(text):
        names = {sample.name for sample in family.samples} or {family.name}
        labels = {label for sample in family.samples for label in sample.labels}
        for name in names:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                faults.append(f"{name}: not snake case")
            if NO_BASE_UNITS & set(name.split("_")):
                faults.append(f"{name}: not a base unit")
            if family.type != "counter" and name.endswith("_total"):
                faults.append(f"{name}: _total on a {family.type}")
            if family.type == "gauge" and name.endswith(("_count", "_sum", "_bucket", "_created")):
                faults.append(f"{name}: a suffix that gauges do not have")
            if {"counter", "gauge", "histogram", "summary"} & set(name.split("_")):
                faults.append(f"{name}: its type in its name")
        if not family.documentation:
            faults.append(f"{family.name}: no HELP")
        if family.type in ("untyped", "unknown"):
            faults.append(f"{family.name}: no TYPE")
        if "quantile" in labels and family.type != "summary":
            faults.append(f"{family.name}: quantile on a {family.type}")
        if "le" in labels and family.type != "histogram":
            faults.append(f"{family.name}: le on a {family.type}")
    return faults


class TestNames:
    def test_every_metric_is_there_with_its_type_and_labels(self, metrics: Metrics) -> None:
        touched(metrics)
        found = {}
        for family in metrics.registry.collect():
            suffix = "_total" if family.type == "counter" else ""
            labels = {label for sample in family.samples for label in sample.labels if label != "le"}
            found[family.name.removeprefix("shopperd_") + suffix] = (family.type, labels)
        assert found == TABLE

    def test_labels_are_of_fixed_words(self) -> None:
        assert set().union(*(labels for _, labels in TABLE.values())) <= FIXED_WORDS

    def test_help_says_something_and_no_two_say_the_same(self, metrics: Metrics) -> None:
        texts = [family.documentation for family in metrics.registry.collect()]
        assert len(set(texts)) == len(texts)
        assert all(len(text) > 20 and text.endswith(".") for text in texts)

    def test_the_linter_s_rules_are_kept(self, metrics: Metrics) -> None:
        touched(metrics).initialise(ACCOUNTS)
        assert lint(exposed(metrics)) == []

    @pytest.mark.parametrize(
        "line",
        [
            "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
            "# HELP a x\n# TYPE a counter\na 1\n",
            "# TYPE a gauge\na 1\n",
            "# HELP a_minutes x\n# TYPE a_minutes gauge\na_minutes 1\n",
            "# HELP a_count x\n# TYPE a_count gauge\na_count 1\n",
            '# HELP a x\n# TYPE a gauge\na{quantile="0.5"} 1\n',
            "# HELP aB x\n# TYPE aB gauge\naB 1\n",
        ],
    )
    def test_the_rules_find_what_breaks_them(self, line: str) -> None:
        assert lint(line)

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
    def test_promtool_has_nothing_to_say(self, metrics: Metrics) -> None:
        touched(metrics).initialise(ACCOUNTS)
        register_process_collectors(metrics.registry)
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=exposed(metrics), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_openmetrics_is_well_formed(self, metrics: Metrics) -> None:
        touched(metrics).initialise(ACCOUNTS)
        text = generate_openmetrics(metrics.registry).decode()
        assert len(list(parse_openmetrics(text))) == len(TABLE)

    def test_nothing_is_exposed_of_when_series_were_created(self, metrics: Metrics) -> None:
        assert "_created" not in exposed(touched(metrics))


class TestZeros:
    def test_counters_without_labels_and_fixed_ones_stand_at_zero_from_the_start(self, metrics: Metrics) -> None:
        assert series(metrics, "frozen") == {(): 0}
        assert series(metrics, "config_reloads_total") == {("ok",): 0, ("refused",): 0}

    def test_known_label_sets_of_an_account_stand_at_zero(self, metrics: Metrics) -> None:
        metrics.initialise([("a", "vastai")])
        requests = series(metrics, "provider_requests_total")
        assert requests == {
            ("a", operation, outcome, "vastai"): 0 for operation in OPERATIONS.values() for outcome in OUTCOMES
        }
        assert len(series(metrics, "orphans")) == len(OrphanKind) * len(OrphanPhase)
        assert len(series(metrics, "holds")) == len(HoldReason)
        assert series(metrics, "job_runs_total")["a", "sweep", "failed"] == 0
        assert series(metrics, "job_runs_total")["", "housekeeping", "failed"] == 0
        assert series(metrics, "session_transitions_total")["a", "running", "vastai", "lost"] == 0
        assert ("a", "ended", "vastai", "running") not in series(metrics, "session_transitions_total")

    def test_an_age_that_nobody_has_measured_is_not_zero(self, metrics: Metrics) -> None:
        metrics.initialise([("a", "vastai")])
        assert series(metrics, "snapshot_age_seconds") == {("a", "vastai"): math.inf}
        assert series(metrics, "offers_age_seconds") == {("vastai",): math.inf}

    def test_what_is_unknown_is_left_out(self, metrics: Metrics) -> None:
        metrics.initialise([("a", "vastai")])
        for name in (
            "account_balance_usd",
            "budget_usd_per_hour",
            "ratelimit_interval_seconds",
            "offer_price_usd_per_hour",
        ):
            assert series(metrics, name) == {}

    def test_doing_it_again_changes_no_value(self, metrics: Metrics) -> None:
        metrics.initialise([("a", "vastai")])
        metrics.snapshot_age_seconds.labels("a", "vastai").set(3)
        metrics.offers_age_seconds.labels("vastai").set(4)
        metrics.frozen.set(1)
        metrics.initialise([("a", "vastai"), ("b", "vastai")])
        assert series(metrics, "snapshot_age_seconds") == {("a", "vastai"): 3, ("b", "vastai"): math.inf}
        assert series(metrics, "offers_age_seconds") == {("vastai",): 4}
        assert series(metrics, "frozen") == {(): 1}

    def test_an_account_has_a_bounded_number_of_series(self, metrics: Metrics) -> None:
        metrics.initialise([("a", "vastai")])
        one = len(exposed(metrics).splitlines())
        metrics.initialise([("b", "vastai")])
        assert len(exposed(metrics).splitlines()) - one < 600


class TestRemoval:
    def accounts(self, metrics: Metrics) -> Iterable[str]:
        return {
            sample.labels["account"]
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.labels.get("account")
        }

    def test_it_drops_all_series_of_the_account_and_no_others(self, metrics: Metrics) -> None:
        metrics.initialise(ACCOUNTS)
        metrics.remove_account("vast-ci")
        assert self.accounts(metrics) == {"vast-main", "dock"}

    def test_a_market_goes_with_the_last_account_that_sees_it(self, metrics: Metrics) -> None:
        metrics.initialise(ACCOUNTS)
        for provider in ("vastai", "tensordock"):
            metrics.offers.labels(provider, "RTX 4090").set(1)
        metrics.remove_account("vast-ci")
        assert len(series(metrics, "offers")) == 2
        metrics.remove_account("vast-main")
        assert series(metrics, "offers") == {("RTX 4090", "tensordock"): 1}

    def test_an_account_that_is_back_begins_at_zero(self, metrics: Metrics) -> None:
        metrics.initialise([("a", "vastai")])
        metrics.sessions_lost_total.labels("a", "vastai").inc()
        metrics.remove_account("a")
        metrics.initialise([("a", "vastai")])
        assert series(metrics, "sessions_lost_total") == {("a", "vastai"): 0}

    def test_a_hook_goes_with_its_job_and_nothing_else(self, metrics: Metrics) -> None:
        metrics.initialise(ACCOUNTS)
        before = exposed(metrics)
        metrics.initialise_hook("ci", "hook-ci")
        assert series(metrics, "hook_deliveries_total")["ci", "lost"] == 0
        assert series(metrics, "job_runs_total")["", "hook-ci", "ok"] == 0
        metrics.remove_hook("ci", "hook-ci")
        assert exposed(metrics) == before

    def test_an_account_that_nobody_knows_is_no_error(self, metrics: Metrics) -> None:
        metrics.remove_account("nobody")


class TestProcess:
    def test_the_build_is_told(self, metrics: Metrics) -> None:
        assert {value for labels in series(metrics, "build_info") for value in labels} >= {__version__}

    def test_two_registries_are_apart(self, metrics: Metrics) -> None:
        other = Metrics(CollectorRegistry())
        other.frozen.set(1)
        assert series(metrics, "frozen") == {(): 0}

    def test_what_python_and_the_system_tell_can_be_added(self, metrics: Metrics) -> None:
        register_process_collectors(metrics.registry)
        assert "process_resident_memory_bytes" in exposed(metrics)


def test_operations_are_the_limiters_endpoint_classes() -> None:
    assert {endpoint.value: endpoint.operation for endpoint in Endpoint} == OPERATIONS
