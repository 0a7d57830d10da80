"""The dashboard *Daemon*: is the process well, do its jobs run, is the store quick, and who asks its API?"""

from __future__ import annotations

from deploy.grafana.panels import ACCOUNTS, Json, Query, dashboard, graph, matchers_of, name, row, stat

LOOKING = matchers_of("ShopperdJobStopped", "exported_job")
WORKING = matchers_of("ShopperdJobLate", "exported_job")


def since_success(jobs: str) -> str:
    """Time since a job's last success; before the first there is none."""
    return (
        "max by (exported_job, account) (time() - "
        f'(shopperd_job_last_success_timestamp_seconds{{@account, exported_job=~"{jobs}"}} > 0))'
    )


PROCESS = row(
    "Is the process well?",
    name(
        "Version",
        "What runs.",
        "max by (version, python) (shopperd_build_info{@target})",
        "{{version}} on Python {{python}}",
        width=6,
    ),
    stat(
        "Running for",
        "Since the process that began last did.",
        "min(time() - process_start_time_seconds{@target})",
        unit="s",
        width=6,
    ),
    stat(
        "Restarts in the last hour",
        "A process that is restarted again and again loses nothing, but something ends it.",
        "max(changes(process_start_time_seconds{@target}[1h]))",
        alert="ShopperdRestarting",
        width=6,
    ),
    stat(
        "Open files",
        "Of those that the system allows.",
        "max(process_open_fds{@target} / process_max_fds{@target})",
        unit="percentunit",
        width=6,
    ),
    graph(
        "Lateness of the event loop",
        "How late the loop woke up. Above a second the machine is short of CPU, or something blocks.",
        Query("max by (instance) (shopperd_event_loop_lag_seconds{@target})", "{{instance}}"),
        unit="s",
        alert="ShopperdEventLoopLate",
    ),
    graph(
        "CPU",
        "1 is one whole core.",
        Query("sum by (instance) (rate(process_cpu_seconds_total{@target}[$__rate_interval]))", "{{instance}}"),
        unit="percentunit",
    ),
    graph(
        "Memory",
        "What the process holds in memory.",
        Query("max by (instance) (process_resident_memory_bytes{@target})", "{{instance}}"),
        unit="bytes",
    ),
    graph(
        "Accounts by owner",
        "Which replica holds the right to act on an account; the sum over all must be 1.",
        Query("sum by (account, instance) (shopperd_account_owned{@account})", "{{account}} at {{instance}}"),
        stack=True,
    ),
    graph(
        "Clock against the time gone by",
        "How far the wall clock is ahead of the time that deadlines go by. Not 0: it was set, or is wrong.",
        Query("max by (instance) (shopperd_clock_jumped_seconds{@target})", "{{instance}}"),
        unit="s",
        alert="ShopperdClockJumped",
    ),
    graph(
        "Reloads of the configuration",
        "refused: the old settings are in force; shopperd check tells what is wrong.",
        Query(
            "sum by (instance, outcome) (increase(shopperd_config_reloads_total{@target}[$__rate_interval]))",
            "{{instance}}, {{outcome}}",
        ),
    ),
)

JOBS = row(
    "Do the jobs run?",
    graph(
        "Since the last success: status, sweep",
        "Without them no session moves and no orphan is found.",
        Query(since_success(LOOKING), "{{exported_job}} {{account}}"),
        unit="s",
        alert="ShopperdJobStopped",
    ),
    graph(
        "Since the last success: creates, destroys, housekeeping",
        "Housekeeping runs once an hour, the others every half minute even when there is nothing to do.",
        Query(since_success(WORKING), "{{exported_job}} {{account}}"),
        unit="s",
        alert="ShopperdJobLate",
    ),
    graph(
        "Runs that did not succeed",
        "The log says why.",
        Query(
            "sum by (exported_job, outcome) "
            '(increase(shopperd_job_runs_total{@account, outcome!="ok"}[$__rate_interval])) > 0',
            "{{exported_job}}, {{outcome}}",
        ),
        none="All succeeded",
    ),
    graph(
        "Runs",
        "How often jobs run, whatever asked for it.",
        Query(
            "sum by (exported_job) (rate(shopperd_job_runs_total{@account}[$__rate_interval]))",
            "{{exported_job}}",
        ),
        unit="ops",
    ),
    graph(
        "Time of a run, nineteen in twenty",
        "Near the job's interval runs will be skipped: lengthen the interval.",
        Query(
            "histogram_quantile(0.95, sum by (le, exported_job) "
            "(rate(shopperd_job_duration_seconds_bucket{@account}[$__rate_interval])))",
            "{{exported_job}}",
        ),
        unit="s",
    ),
    graph(
        "Runs that were skipped",
        "overrun: the run before still went on. missed: the process was too busy or asleep.",
        Query(
            "sum by (exported_job, reason) (increase(shopperd_job_skipped_total{@account}[$__rate_interval])) > 0",
            "{{exported_job}}, {{reason}}",
        ),
        none="None was skipped",
    ),
)

STORE = row(
    "Does the store take what it is given?",
    stat(
        "Store",
        "Whether it can be relied on. If not, nothing is created or destroyed: shopperd status says what is wrong.",
        "min(shopperd_store_ok{@target})",
        words={0: ("NOT OK", "red"), 1: ("ok", "green")},
    ),
    stat(
        "Creates that wait for it",
        "Accepted creates in the spool, because the store does not take them. Nothing is rented or destroyed meanwhile.",
        "max(shopperd_store_spooled{@target})",
        alert="ShopperdStoreNotWritable",
        width=5,
    ),
    stat(
        "Known to nobody else",
        "Machines that only the process knows of, not the store. Do not stop it before this is 0.",
        "max(shopperd_creates_unrecorded{@target})",
        alert="ShopperdCreatesUnrecorded",
        width=5,
    ),
    stat(
        "Spool",
        "Room that is set aside for what the store does not take.",
        "min(shopperd_store_spool_ready{@target})",
        words={0: ("NOT READY", "orange"), 1: ("ready", "green")},
        width=5,
    ),
    stat(
        "Spool failures",
        "In the time shown. Neither the store nor the spool took a create: free disk space at once.",
        "sum(increase(shopperd_store_spool_failures_total{@target}[$__range]))",
        width=5,
    ),
    graph(
        "Time of a transaction, nine in ten",
        "If it grows, look at the disk or the database server.",
        Query(
            "histogram_quantile(0.9, sum by (le, instance) "
            "(rate(shopperd_store_duration_seconds_bucket{@target}[$__rate_interval])))",
            "{{instance}}",
        ),
        unit="s",
        alert="ShopperdStoreSlow",
    ),
    graph(
        "Transactions",
        "The most frequent ones, by what they do.",
        Query(
            "topk(5, sum by (operation) (rate(shopperd_store_duration_seconds_count{@target}[$__rate_interval])))",
            "{{operation}}",
        ),
        unit="ops",
    ),
    graph(
        "Time spent in the store",
        "1: a transaction is on all the time, and everything else waits for it.",
        Query(
            "sum by (instance) (rate(shopperd_store_duration_seconds_sum{@target}[$__rate_interval]))", "{{instance}}"
        ),
        unit="percentunit",
    ),
)

HOOKS = row(
    "Do hooks get their events?",
    graph(
        "Oldest event that waits",
        "An event that waits longer than store.keep_events is lost to its hook.",
        Query("max by (hook) (shopperd_hook_oldest_age_seconds{@target})", "{{hook}}"),
        unit="s",
        none="There are no hooks",
        alert="ShopperdHookNotDelivering",
    ),
    graph(
        "Events that wait",
        "At most 1000 are counted.",
        Query("max by (hook) (shopperd_hook_pending{@target})", "{{hook}}"),
        none="There are no hooks",
    ),
    graph(
        "Deliveries",
        "All but ok are made again. gone: the receiver wants no more. lost: too old to be kept.",
        Query(
            "sum by (hook, outcome) (increase(shopperd_hook_deliveries_total{@target}[$__rate_interval])) > 0",
            "{{hook}}, {{outcome}}",
        ),
        none="Nothing was delivered",
    ),
)

API = row(
    "Who asks its API?",
    graph(
        "Requests to the API",
        "By route and answer. 4xx: the caller is wrong. 5xx: shopperd is.",
        Query(
            "sum by (route, code) (rate(shopperd_http_requests_total{@target}[$__rate_interval]))",
            "{{route}} {{code}}",
        ),
        unit="reqps",
        stack=True,
        width=12,
    ),
    graph(
        "Time of an answer, nineteen in twenty",
        "Streams of events are not measured. A create that waits takes as long as it was told to.",
        Query(
            "histogram_quantile(0.95, sum by (le, route) "
            "(rate(shopperd_http_request_duration_seconds_bucket{@target}[$__rate_interval])))",
            "{{route}}",
        ),
        unit="s",
        width=12,
    ),
)


def daemon() -> Json:
    """The dashboard."""
    return dashboard(
        "shopperd-daemon",
        "shopperd / Daemon",
        "The process itself: its jobs, its store, its API.",
        [ACCOUNTS],
        [PROCESS, JOBS, STORE, HOOKS, API],
    )
