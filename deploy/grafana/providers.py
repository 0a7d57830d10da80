"""The dashboard *Providers*: do the marketplaces answer, why is it slow, and what is asked of them?"""

from __future__ import annotations

from deploy.grafana.panels import ACCOUNTS, Json, Query, dashboard, graph, row

REQUESTS = "shopperd_provider_requests_total"
ALL = f'sum by (account) (rate({REQUESTS}{{@account, outcome!="breaker"}}[$__rate_interval]))'


def quantile(share: float, metric: str, by: str) -> str:
    """The time within which that share of what was measured lies."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{@account}}[$__rate_interval])))"


ANSWERS = row(
    "Is it answering?",
    graph(
        "Requests by how they ended",
        "ok is all that should be; rate_limited is how the limiter learns.",
        Query(f"sum by (outcome) (rate({REQUESTS}{{@account}}[$__rate_interval])) > 0", "{{outcome}}"),
        unit="reqps",
        stack=True,
    ),
    graph(
        "Share that fails",
        "Timeouts, broken connections, HTTP 5xx, and answers that make no sense.",
        Query(
            f'sum by (account) (rate({REQUESTS}{{@account, outcome=~"timeout|connection|server|bad_answer"}}[$__rate_interval]))'
            f" / {ALL}",
            "{{account}}",
        ),
        unit="percentunit",
        alert="ShopperdProviderFailing",
    ),
    graph(
        "Age of the newest complete snapshot",
        "Since an account was last seen whole. While it grows, nothing is decided there.",
        Query("max by (account) (shopperd_snapshot_age_seconds{@account})", "{{account}}"),
        unit="s",
        alert="ShopperdNoCompleteSnapshot",
    ),
    graph(
        "Listings by how they ended",
        "complete, or why they prove no absence.",
        Query("sum by (outcome) (increase(shopperd_snapshots_total{@account}[$__rate_interval])) > 0", "{{outcome}}"),
    ),
    graph(
        "Key refused",
        "Requests that the marketplace refused for their key, by what was asked for.",
        Query(
            f'sum by (operation) (increase({REQUESTS}{{@account, outcome="auth"}}[$__rate_interval]))', "{{operation}}"
        ),
    ),
    graph(
        "Answers that were not understood",
        "If they go on, the API may have changed: look for a newer shopperd.",
        Query(
            f'sum by (operation) (increase({REQUESTS}{{@account, outcome="bad_answer"}}[$__rate_interval]))',
            "{{operation}}",
        ),
    ),
)

SPEED = row(
    "Why is it slow?",
    graph(
        "Time of a request, half of them",
        "HTTP alone: half of the requests were quicker. Waiting for the limiter is in another panel.",
        Query(quantile(0.5, "shopperd_provider_request_duration_seconds", "operation"), "{{operation}}"),
        unit="s",
    ),
    graph(
        "Time of a request, nineteen in twenty",
        "HTTP alone: nineteen in twenty were quicker.",
        Query(quantile(0.95, "shopperd_provider_request_duration_seconds", "operation"), "{{operation}}"),
        unit="s",
    ),
    graph(
        "Time until the next call may go",
        "0 if now. If it stays high, the marketplace has asked for a long pause.",
        Query("max by (endpoint) (shopperd_ratelimit_blocked_seconds{@account})", "{{endpoint}}"),
        unit="s",
        alert="ShopperdLongPause",
    ),
    graph(
        "Wait for a turn, nineteen in twenty",
        "How long calls waited for the limiter. If destroys wait long, lengthen the intervals of the jobs.",
        Query(quantile(0.95, "shopperd_ratelimit_wait_seconds", "endpoint"), "{{endpoint}}"),
        unit="s",
        width=12,
    ),
    graph(
        "Spacing that was learned",
        "Least time between two calls of a kind, as the limiter has learned it.",
        Query(
            "max by (provider, endpoint) (shopperd_ratelimit_interval_seconds{@account})", "{{provider}}, {{endpoint}}"
        ),
        unit="s",
        width=12,
    ),
    graph(
        "Share refused for its frequency",
        "HTTP 429 and the like. A few are how the limiter learns; if they go on, somebody else uses up the limit.",
        Query(
            f'sum by (account) (rate({REQUESTS}{{@account, outcome="rate_limited"}}[$__rate_interval])) / {ALL}',
            "{{account}}",
        ),
        unit="percentunit",
        alert="ShopperdRateLimited",
        width=6,
    ),
    graph(
        "Backoffs by cause",
        "How often the limiter backed off, and which hint it followed.",
        Query("sum by (cause) (increase(shopperd_ratelimit_backoffs_total{@account}[$__rate_interval]))", "{{cause}}"),
        width=6,
    ),
    graph(
        "Calls that wait for their turn",
        "If it grows, more is asked for than the marketplace lets through: lengthen the intervals of the jobs.",
        Query("sum by (endpoint) (shopperd_ratelimit_waiting{@account})", "{{endpoint}}"),
        width=6,
    ),
    graph(
        "Share of time in backoff",
        "1: for every second that passed, a second of pause was added, for one kind of call or another.",
        Query(
            "sum by (endpoint) (rate(shopperd_ratelimit_backoff_seconds_total{@account}[$__rate_interval]))",
            "{{endpoint}}",
        ),
        unit="percentunit",
        width=6,
    ),
)

WORK = row(
    "What is asked of it?",
    graph(
        "Requests by account",
        "All requests, however they ended.",
        Query(f"sum by (account) (rate({REQUESTS}{{@account}}[$__rate_interval]))", "{{account}}"),
        unit="reqps",
        stack=True,
    ),
    graph(
        "Requests by operation",
        "Listings come by the interval of the jobs, whatever the number of sessions.",
        Query(f"sum by (operation) (rate({REQUESTS}{{@account}}[$__rate_interval]))", "{{operation}}"),
        unit="reqps",
        stack=True,
    ),
    graph(
        "What became of creates",
        "Sessions that were asked for, by what came of them.",
        Query(
            'sum by (to) (increase(shopperd_session_transitions_total{@account, from="creating"}[$__rate_interval])) > 0',
            "{{to}}",
        ),
        none="Nothing was asked for",
    ),
)


def providers() -> Json:
    """The dashboard."""
    return dashboard(
        "shopperd-providers",
        "shopperd / Providers",
        "How the marketplaces answer, and how fast they may be asked.",
        [ACCOUNTS],
        [ANSWERS, SPEED, WORK],
    )
