"""Every metric of shopperd: its name, type, labels and what to do when it looks wrong.

Labels are bounded: accounts, providers and fixed words; never an offer's, instance's or session's id, a URL or an error text.
Gauges are set from state, never counted up and down. An attribute is named as its metric, without ``shopperd_``.
"""

from __future__ import annotations

import itertools
import math
import platform
from collections.abc import Iterable, Sequence
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics import MetricWrapperBase

from shopperd import __version__
from shopperd.lifecycle import FOLLOWS
from shopperd.logs import configure_logging
from shopperd.model import HoldReason, InstanceState, OrphanKind, OrphanPhase, Ownership, SessionState

__all__ = [
    "ACCOUNT_JOBS",
    "DELIVERY_OUTCOMES",
    "JOB_OUTCOMES",
    "OFFER_QUANTILES",
    "OPERATIONS",
    "OUTCOMES",
    "RELOAD_OUTCOMES",
    "SHARED_JOBS",
    "SKIP_REASONS",
    "Metrics",
    "configure_logging",
    "register_process_collectors",
]

OPERATIONS = {
    "list": "list_all_instances",
    "offers": "list_offers",
    "show": "get_instance_status",
    "create": "create_instance",
    "destroy": "destroy_instance",
}
"""The limiter's endpoint classes (label `endpoint`), and the contract's method that each is for (label `operation`)."""

OUTCOMES = (
    "ok",
    "rate_limited",
    "auth",
    "not_found",
    "refused",
    "timeout",
    "connection",
    "server",
    "bad_answer",
    "breaker",
)
"""How a request to a provider may end; ``breaker``: it was never sent."""

ACCOUNT_JOBS = ("offers", "status", "sweep", "destroys")
"""The jobs that run once for each account."""

SHARED_JOBS = ("housekeeping",)
"""The jobs that run once for all; their label `account` is ""."""

JOB_OUTCOMES = ("ok", "failed", "timeout")
SKIP_REASONS = ("missed", "overrun")
"""Why a run did not start: its time had passed, or the run before still went on."""

DELIVERY_OUTCOMES = ("ok", "timeout", "connection", "server", "refused", "gone", "lost")
"""How a delivery to a hook may end; ``lost``: it was never made, as the event was too old to be kept."""

RELOAD_OUTCOMES = ("ok", "refused")
OFFER_QUANTILES = ("0.0", "0.5", "0.9")
"""The quantiles of an offer's price that are exported: the cheapest, the middle, the dear end."""

_BACKOFF_CAUSES = ("retry_after", "threshold", "quota", "no_hint")
_REJECTIONS = ("bad_row", "no_price", "unpriced", "duplicate_id")
_SNAPSHOT_OUTCOMES = ("complete", "failed", "page_failed", "count_mismatch")
"""The outcomes that stand at 0 from the start; adapters may add to them."""

_M = TypeVar("_M", bound=MetricWrapperBase)
_ACCOUNT = ("account", "provider")
_REQUEST_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_WAIT_BUCKETS = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_CLEANUP_BUCKETS = (60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)
_JOB_BUCKETS = (0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_STORE_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_HTTP_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class _QuantileGauge(Gauge):
    """A gauge per quantile, exposed as a summary: the label ``quantile`` may stand on nothing else."""

    _type = "summary"


class Metrics:
    """All metrics, registered in one registry.

    Created series are switched off for the whole process (they double the exposition and nothing here needs them).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it lacks annotations in the library
        self.registry = registry
        self._metrics: list[tuple[MetricWrapperBase, frozenset[str]]] = []
        self._provider_of: dict[str, str] = {}
        self._provider_metrics()
        self._limiter_metrics()
        self._orphan_metrics()
        self._fleet_metrics()
        self._market_metrics()
        self._hook_metrics()
        self._daemon_metrics()

    def initialise(
        self,
        accounts: Iterable[tuple[str, str]],
        jobs: Sequence[str] = ACCOUNT_JOBS,
        shared_jobs: Sequence[str] = SHARED_JOBS,
    ) -> None:
        """Put every known label set at 0, so that the first failure is an increase and not a new series.

        An age that nobody has measured is ``+Inf``, not 0, which would say "fresh". Balances, learned intervals and prices
        are left out until they are known. Calling it again for an account changes none of its values.

        Args:
            accounts: pairs of account and provider.
            jobs: those that run once for each account.
            shared_jobs: those that run once for all; their label `account` is "".
        """
        for account, provider in accounts:
            if account in self._provider_of:
                continue
            if provider not in self._provider_of.values():
                self.offers_age_seconds.labels(provider).set(math.inf)
                for reason in _REJECTIONS:
                    self.offers_rejected_total.labels(provider, reason)
            self._provider_of[account] = provider
            self._initialise_account(account, provider)
            for job in jobs:
                self._initialise_job(job, account)
        for job in shared_jobs:
            self._initialise_job(job, "")

    def remove_account(self, account: str) -> None:
        """Drop all series of an account, and those of its provider's market if no other account is there to see it."""
        for metric, labels in self._metrics:
            if "account" in labels:
                metric.remove_by_labels({"account": account})
        provider = self._provider_of.pop(account, None)
        if provider is None or provider in self._provider_of.values():
            return
        for metric, labels in self._metrics:
            if "provider" in labels:
                metric.remove_by_labels({"provider": provider})

    def initialise_hook(self, hook: str, job: str) -> None:
        """Put the known label sets of a hook, and those of its job, at 0; one that has them keeps its values."""
        for outcome in DELIVERY_OUTCOMES:
            self.hook_deliveries_total.labels(hook, outcome)
        self.hook_pending.labels(hook)
        self.hook_oldest_age_seconds.labels(hook)
        self._initialise_job(job, "")

    def remove_hook(self, hook: str, job: str) -> None:
        """Drop all series of a hook and of its job."""
        for metric, labels in self._metrics:
            if "hook" in labels:
                metric.remove_by_labels({"hook": hook})
            elif "job" in labels:
                metric.remove_by_labels({"job": job})

    def _initialise_account(self, account: str, provider: str) -> None:
        own = (account, provider)
        for endpoint, operation in OPERATIONS.items():
            self.provider_request_duration_seconds.labels(*own, operation, "ok")
            self.ratelimit_wait_seconds.labels(*own, endpoint)
            self.ratelimit_blocked_seconds.labels(*own, endpoint)
            self.ratelimit_waiting.labels(*own, endpoint)
            for cause in _BACKOFF_CAUSES:
                self.ratelimit_backoffs_total.labels(*own, endpoint, cause)
                self.ratelimit_backoff_seconds_total.labels(*own, endpoint, cause)
            for outcome in OUTCOMES:
                self.provider_requests_total.labels(*own, operation, outcome)
        for kind in OrphanKind:
            self.orphans_detected_total.labels(*own, kind)
            self.orphans_destroyed_total.labels(*own, kind)
            self.orphan_cleanup_duration_seconds.labels(*own, kind)
            for phase in OrphanPhase:
                self.orphans.labels(*own, kind, phase)
        for reason in HoldReason:
            self.holds.labels(*own, reason)
        for outcome in OUTCOMES:
            self.destroy_attempts_total.labels(*own, outcome)
        for session_state in SessionState:
            self.sessions.labels(*own, session_state)
            for following in FOLLOWS[session_state]:
                self.session_transitions_total.labels(*own, session_state, following)
        for state, ownership in itertools.product(InstanceState, Ownership):
            self.instances.labels(*own, state, ownership)
        for outcome in _SNAPSHOT_OUTCOMES:
            self.snapshots_total.labels(*own, outcome)
        for metric in (
            self.breaker_open,
            self.orphan_oldest_age_seconds,
            self.orphan_usd_per_hour,
            self.held_usd_per_hour,
            self.destroys_pending,
            self.destroys_stuck,
            self.destroys_held,
            self.fleet_unsettled,
            self.destroy_oldest_age_seconds,
            self.sessions_lost_total,
            self.spend_usd_per_hour,
            self.billed_usd_per_hour,
            self.spent_usd_total,
            self.unpriced_instances,
            self.unreadable_charges,
            self.leaked_usd_total,
            self.account_owned,
        ):
            metric.labels(*own)
        self.snapshot_age_seconds.labels(*own).set(math.inf)

    def _initialise_job(self, job: str, account: str) -> None:
        self.job_duration_seconds.labels(job, account)
        self.job_last_success_timestamp_seconds.labels(job, account)
        for outcome in JOB_OUTCOMES:
            self.job_runs_total.labels(job, account, outcome)
        for reason in SKIP_REASONS:
            self.job_skipped_total.labels(job, account, reason)

    def _provider_metrics(self) -> None:
        request = (*_ACCOUNT, "operation", "outcome")
        self.provider_request_duration_seconds = self._histogram(
            "provider_request_duration_seconds",
            "Time that a request to the provider took, HTTP alone; waiting for the limiter and retries are elsewhere. "
            "If it grows, the provider is slow: compare its status page before raising request_timeout.",
            request,
            _REQUEST_BUCKETS,
        )
        self.provider_requests_total = self._counter(
            "provider_requests_total",
            "Requests to the provider by how they ended. auth: check the key and its rights; rate_limited: see the ratelimit "
            "metrics; bad_answer: the API may have changed, look for a newer shopperd; breaker: not sent during an outage.",
            request,
        )
        self.breaker_open = self._gauge(
            "breaker_open",
            "1 while requests to the provider are held back because it answers nothing; destroys are still sent. "
            "Wait, or check the network and base_url.",
            _ACCOUNT,
        )

    def _limiter_metrics(self) -> None:
        endpoint = (*_ACCOUNT, "endpoint")
        self.ratelimit_backoffs_total = self._counter(
            "ratelimit_backoffs_total",
            "How often the limiter backed off, by cause. A few are how it learns; if they go on, another tool uses the same key.",
            (*endpoint, "cause"),
        )
        self.ratelimit_backoff_seconds_total = self._counter(
            "ratelimit_backoff_seconds_total",
            "Time that the limiter was told or chose to back off, by cause.",
            (*endpoint, "cause"),
        )
        self.ratelimit_wait_seconds = self._histogram(
            "ratelimit_wait_seconds",
            "Time that calls waited for their turn. If destroys wait long, lengthen the intervals of the jobs.",
            endpoint,
            _WAIT_BUCKETS,
        )
        self.ratelimit_waiting = self._gauge(
            "ratelimit_waiting",
            "Calls that wait for their turn now. If it grows, more is asked for than the provider lets through: lengthen the "
            "intervals of the jobs.",
            endpoint,
        )
        self.ratelimit_interval_seconds = self._gauge(
            "ratelimit_interval_seconds", "Spacing of calls that the limiter has learned for this endpoint.", endpoint
        )
        self.ratelimit_blocked_seconds = self._gauge(
            "ratelimit_blocked_seconds",
            "Time until the next call may go, 0 if now. If it stays high, the provider has asked for a long pause.",
            endpoint,
        )

    def _orphan_metrics(self) -> None:
        kind = (*_ACCOUNT, "kind")
        self.orphans = self._gauge(
            "orphans",
            "Instances with our tag that no live session claims, by kind and phase. held: a guard waits, see holds and "
            "`shopperd plan`; kind unknown: settle it with `shopperd instances adopt`, `exempt` or `destroy`.",
            (*kind, "phase"),
        )
        self.orphans_detected_total = self._counter(
            "orphans_detected_total",
            "Orphans found, each once. If it grows steadily, something rents machines and forgets them.",
            kind,
        )
        self.orphans_destroyed_total = self._counter(
            "orphans_destroyed_total", "Orphans destroyed and proven gone, each once.", kind
        )
        self.orphan_oldest_age_seconds = self._gauge(
            "orphan_oldest_age_seconds",
            "Time since the oldest orphan was first seen, 0 if there is none. Beyond the bound that `shopperd status` prints: "
            "ask `shopperd explain` why it is still there.",
            _ACCOUNT,
        )
        self.orphan_usd_per_hour = self._gauge(
            "orphan_usd_per_hour", "What the present orphans cost: the price of waiting.", _ACCOUNT
        )
        self.held_usd_per_hour = self._gauge(
            "held_usd_per_hour",
            "What the orphans cost that a guard holds. If it stays, see `shopperd plan` and settle them by hand.",
            _ACCOUNT,
        )
        self.orphan_cleanup_duration_seconds = self._histogram(
            "orphan_cleanup_duration_seconds",
            "Time from when an orphan was first seen to be one until it was proven gone.",
            kind,
            _CLEANUP_BUCKETS,
        )
        self.holds = self._gauge(
            "holds",
            "Acts that wait, by the guard that holds them. fleet_jump, limit_per_sweep and limit_per_hour need a person: "
            "look at `shopperd plan` and destroy by command what should go.",
            (*_ACCOUNT, "reason"),
        )
        self.destroys_pending = self._gauge(
            "destroys_pending",
            "Destroys that are recorded and not yet proven done. They are retried for ever.",
            _ACCOUNT,
        )
        self.destroys_stuck = self._gauge(
            "destroys_stuck",
            "Pending destroys that were asked for too often or for too long (destroys.stuck_attempts, stuck_after). They are retried "
            "more slowly, for ever: look for destroy.stuck in `shopperd events` and at the machine at the provider.",
            _ACCOUNT,
        )
        self.destroys_held = self._gauge(
            "destroys_held",
            "Pending destroys whose newest try was held by a guard: see `shopperd explain` for which, and holds for how many each holds.",
            _ACCOUNT,
        )
        self.fleet_unsettled = self._gauge(
            "fleet_unsettled",
            "1 while most of the account's instances came or went at once and that has not settled: verdicts and losses are held. "
            "Look at the provider's account page; commands go on.",
            _ACCOUNT,
        )
        self.orphan_bound_seconds = self._gauge(
            "orphan_bound_seconds",
            "How soon an orphan is gone with the settings in force while its provider is healthy; compare orphan_oldest_age_seconds.",
        )
        self.destroy_oldest_age_seconds = self._gauge(
            "destroy_oldest_age_seconds",
            "Time since the oldest pending destroy was asked for, 0 if there is none. If it grows, see "
            "destroy_attempts_total and destroy the instance at the provider by hand.",
            _ACCOUNT,
        )
        self.destroy_attempts_total = self._counter(
            "destroy_attempts_total",
            "Destroy requests by how they ended; ok is the provider's word and not yet proof.",
            (*_ACCOUNT, "outcome"),
        )
        self.leaked_usd_total = self._counter(
            "leaked_usd_total",
            "What orphans have cost so far, from when they were first seen to be some; exempted ones are left out. If it grows, "
            "see `shopperd orphans` for which.",
            _ACCOUNT,
        )

    def _fleet_metrics(self) -> None:
        self.sessions = self._gauge(
            "sessions",
            "Sessions by state. If creating or ending ones stay so, look at `shopperd sessions list`.",
            (*_ACCOUNT, "state"),
        )
        self.sessions_lost_total = self._counter(
            "sessions_lost_total",
            "Sessions whose instance is proven gone though nobody ended them. Many at once: look at the provider's account page.",
            _ACCOUNT,
        )
        self.session_transitions_total = self._counter(
            "session_transitions_total", "Changes of sessions from one state to another.", (*_ACCOUNT, "from", "to")
        )
        self.instances = self._gauge(
            "instances",
            "Instances in the newest complete snapshot, by state and ownership. foreign ones are only counted, never touched.",
            (*_ACCOUNT, "state", "ownership"),
        )
        self.snapshot_age_seconds = self._gauge(
            "snapshot_age_seconds",
            "Age of the newest complete snapshot, +Inf before the first. While it grows nothing is decided: "
            "see provider_requests_total and snapshots_total.",
            _ACCOUNT,
        )
        self.snapshots_total = self._counter(
            "snapshots_total",
            "Listings by outcome: complete, or why they prove no absence. If none is complete, orphans are not cleaned up.",
            (*_ACCOUNT, "outcome"),
        )
        self.spend_usd_per_hour = self._gauge(
            "spend_usd_per_hour", "What all instances of the account cost, foreign ones too.", _ACCOUNT
        )
        self.account_balance_usd = self._gauge(
            "account_balance_usd", "Credit left, where the provider tells it. At 0 it stops machines: top up.", _ACCOUNT
        )
        self.account_balance_left_seconds = self._gauge(
            "account_balance_left_seconds",
            "How long the credit lasts at what is billed now, where the provider tells it; infinite while nothing costs. "
            "When it gets short, top up or end sessions.",
            _ACCOUNT,
        )
        self.budget_usd_per_hour = self._gauge(
            "budget_usd_per_hour",
            "What an account may cost, if it has a budget: a create that would pass it is refused. Compare spend_usd_per_hour.",
            _ACCOUNT,
        )
        self.billed_usd_per_hour = self._gauge(
            "billed_usd_per_hour",
            "What all instances of the account are billed in their present state: those that are stopped or not yet up for less "
            "than their price in spend_usd_per_hour.",
            _ACCOUNT,
        )
        self.spent_usd_total = self._counter(
            "spent_usd_total",
            "What the account's instances have cost, by price, state and time, foreign ones too; traffic is not counted. "
            "The gap of a restart is made up for.",
            _ACCOUNT,
        )
        self.unreadable_charges = self._gauge(
            "unreadable_charges",
            "Charges in the store that cannot be read and are left out of what is told of costs. Above 0 the store was damaged: see "
            "charge.unreadable in the log, and put a backup back if more is.",
            _ACCOUNT,
        )
        self.unpriced_instances = self._gauge(
            "unpriced_instances",
            "Instances whose price is not known, so that they are in no sum of money until it is. If it stays, look at them "
            "with `shopperd instances list`.",
            _ACCOUNT,
        )

    def _market_metrics(self) -> None:
        market = ("provider", "gpu")
        self.offers = self._gauge("offers", "Machines that can be rented, in the newest good list.", market)
        self.offer_price_usd_per_hour = self._register(
            _QuantileGauge(
                "shopperd_offer_price_usd_per_hour",
                "Price of a whole machine over the present offers; quantile 0.0 is the cheapest.",
                (*market, "quantile"),
                registry=self.registry,
            ),
            (*market, "quantile"),
        )
        self.offers_rejected_total = self._counter(
            "offers_rejected_total",
            "Rows of offer lists that could not be understood and were dropped, by reason. If all are, the API has changed.",
            ("provider", "reason"),
        )
        self.offers_age_seconds = self._gauge(
            "offers_age_seconds",
            "Age of the offer list that readers get, +Inf before the first. If it grows, the offers job fails: see job_runs_total.",
            ("provider",),
        )

    def _hook_metrics(self) -> None:
        hook = ("hook",)
        self.hook_deliveries_total = self._counter(
            "hook_deliveries_total",
            "Deliveries to a hook by how they ended; all but ok are made again. gone: the receiver wants no more, take the hook out or "
            "restart; lost: events were deleted before they could be sent, raise store.keep_events or mend the receiver.",
            (*hook, "outcome"),
        )
        self.hook_pending = self._gauge(
            "hook_pending",
            "Events that wait to be sent to a hook; more than 1000 are counted once a minute. If it grows, look for hook.failed in the log.",
            hook,
        )
        self.hook_oldest_age_seconds = self._gauge(
            "hook_oldest_age_seconds",
            "Age of the oldest event that waits to be sent to a hook, 0 if none does. Near store.keep_events it is lost: mend the receiver.",
            hook,
        )

    def _daemon_metrics(self) -> None:
        job = ("job", "account")
        self.job_duration_seconds = self._histogram(
            "job_duration_seconds",
            "Time that a run took. Near the job's interval: runs will be skipped, so lengthen the interval.",
            job,
            _JOB_BUCKETS,
        )
        self.job_runs_total = self._counter(
            "job_runs_total", "Runs by outcome; the log says why one failed.", (*job, "outcome")
        )
        self.job_last_success_timestamp_seconds = self._gauge(
            "job_last_success_timestamp_seconds", "When a run last succeeded, 0 if none has yet.", job
        )
        self.job_skipped_total = self._counter(
            "job_skipped_total",
            "Runs that did not start. overrun: the run before still went on; missed: the process was too busy or asleep.",
            (*job, "reason"),
        )
        self.frozen = self._gauge(
            "frozen", "1 while the kill switch is on: nothing is destroyed or created. `shopperd unfreeze` ends it."
        )
        self.account_owned = self._gauge(
            "account_owned",
            "1 if this replica holds the right to act on the account. Its sum over all replicas must be 1.",
            _ACCOUNT,
        )
        self.store_duration_seconds = self._histogram(
            "store_duration_seconds",
            "Time that a transaction took. If it grows, look at the disk or the database server.",
            ("operation",),
            _STORE_BUCKETS,
        )
        self.store_ok = self._gauge(
            "store_ok",
            "1 if the store can be relied on. 0: nothing is created or destroyed until it can; `shopperd status` says what is wrong.",
        )
        self.store_spooled = self._gauge(
            "store_spooled",
            "Accepted creates that wait in the spool because the store does not take them; nothing is created or destroyed meanwhile. "
            "See what ails the store: `shopperd status`.",
        )
        self.store_spool_ready = self._gauge(
            "store_spool_ready",
            "1 if room is set aside for what the store does not take. 0: look for spool.unavailable in the log.",
        )
        self.store_spool_failures_total = self._counter(
            "store_spool_failures_total",
            "Failed tries to write to the spool while the store did not take a create either. Free disk space at once.",
        )
        self.creates_unrecorded = self._gauge(
            "creates_unrecorded",
            "Machines whose id stands neither in the store nor in the spool. Do not stop the process: mend the store, or take the ids "
            "from create.not_recorded in the log.",
        )
        self.config_reloads_total = self._counter(
            "config_reloads_total",
            "Reloads by outcome. refused: the old settings are in force; run `shopperd check` to see what is wrong.",
            ("outcome",),
        )
        for outcome in RELOAD_OUTCOMES:
            self.config_reloads_total.labels(outcome)
        self.build_info = self._gauge("build_info", "Always 1; its labels tell what runs.", ("version", "python"))
        self.build_info.labels(__version__, platform.python_version()).set(1)
        self.clock_jumped_seconds = self._gauge(
            "clock_jumped_seconds",
            "How far the wall clock is ahead of the time that graces and deadlines go by, behind if negative. Not 0: it was set, or a "
            "provider told an earlier time at the start. A jump back is gone by after an hour, one forward never by itself.",
        )
        self.event_loop_lag_seconds = self._gauge(
            "event_loop_lag_seconds",
            "How late the event loop woke up at the last look. Above a second: the machine is short of CPU or something blocks.",
        )
        self.http_requests_total = self._counter(
            "http_requests_total",
            "Requests that shopperd's own web server answered.",
            ("route", "method", "code"),
        )
        self.http_request_duration_seconds = self._histogram(
            "http_request_duration_seconds", "Time that an answer of the web server took.", ("route",), _HTTP_BUCKETS
        )

    def _counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        return self._register(Counter(f"shopperd_{name}", help, labels, registry=self.registry), labels)

    def _gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Gauge:
        return self._register(Gauge(f"shopperd_{name}", help, labels, registry=self.registry), labels)

    def _histogram(self, name: str, help: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return self._register(
            Histogram(f"shopperd_{name}", help, labels, registry=self.registry, buckets=buckets), labels
        )

    def _register(self, metric: _M, labels: Sequence[str]) -> _M:
        self._metrics.append((metric, frozenset(labels)))
        return metric


def register_process_collectors(registry: CollectorRegistry) -> None:
    """Add what Python and the operating system tell of this process: memory, CPU, files, garbage collection."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
