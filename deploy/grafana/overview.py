"""The dashboard *Overview*: is it well, what does it cost, what is there, and does what should not be there go away?"""

from __future__ import annotations

from deploy.grafana.panels import ACCOUNTS, TALL, Column, Json, Query, dashboard, graph, matchers_of, row, stat, table

FIRING_SINCE = (
    '(time() - max by (alertname, severity, account) (ALERTS_FOR_STATE{@target, alertname=~"Shopperd.+"}))'
    " and on (alertname, account) "
    'ALERTS{@target, alertname=~"Shopperd.+", alertstate="firing"}'
)
PERSON = matchers_of("ShopperdHoldNeedsPerson", "reason")

HEALTH = row(
    "Is it well?",
    stat(
        "Alerts that fire",
        "Alerts of shopperd that fire for what is chosen above. Not among them is the one that no shopperd runs at all.",
        'count(ALERTS{@target, alertname=~"Shopperd.+", alertstate="firing"}) or vector(0)',
        words={0: ("none", "green")},
        more="orange",
    ),
    stat(
        "Processes that answer",
        "How many shopperd Prometheus reaches.",
        "count(up{@target} == 1) or vector(0)",
        alert="ShopperdGone",
        low_is_bad=True,
    ),
    stat(
        "Kill switch",
        "While it is on, nothing is destroyed or created: shopperd unfreeze.",
        "max(shopperd_frozen{@target})",
        alert="ShopperdFrozen",
        words={0: ("off", "green"), 1: ("ON", "orange")},
    ),
    stat(
        "Oldest snapshot",
        "Since the account that was not seen whole for the longest was. While it grows, nothing is decided there.",
        "max(shopperd_snapshot_age_seconds{@account})",
        unit="s",
        alert="ShopperdNoCompleteSnapshot",
    ),
    stat(
        "Holds for a person",
        "Orphans that stay until somebody decides: shopperd plan.",
        f'sum(shopperd_holds{{@account, reason=~"{PERSON}"}})',
        alert="ShopperdHoldNeedsPerson",
    ),
    stat(
        "Oldest destroy",
        "Since the oldest destroy that is not proven was asked for.",
        "max(shopperd_destroy_oldest_age_seconds{@account})",
        unit="s",
        alert="ShopperdDestroyNotFinishing",
    ),
    table(
        "What fires",
        "The alerts that fire, and since when what they watch has been so; no data if none does. The runbook has a section for each.",
        {"alertname": "Alert", "severity": "Severity", "account": "Account"},
        Column("For", FIRING_SINCE, "s"),
        height=5,
    ),
)

COST = row(
    "What does it cost?",
    graph(
        "Cost per hour",
        "What all instances of an account cost per hour, foreign ones too.",
        Query("sum by (account) (shopperd_spend_usd_per_hour{@account})", "{{account}}"),
        unit="currencyUSD",
        stack=True,
    ),
    graph(
        "Billed per hour",
        "What they are billed in their present state: machines that are stopped or not yet up for less than their price.",
        Query("sum by (account) (shopperd_billed_usd_per_hour{@account})", "{{account}}"),
        unit="currencyUSD",
        stack=True,
    ),
    graph(
        "Orphans' cost per hour",
        "What machines that no live session claims cost per hour: the price of waiting.",
        Query("sum by (account) (shopperd_orphan_usd_per_hour{@account})", "{{account}}"),
        Query("sum by (account) (shopperd_held_usd_per_hour{@account})", "{{account}}, held"),
        unit="currencyUSD",
        alert="ShopperdMoneyLeaking",
    ),
    graph(
        "Share of the budget",
        "What accounts with a budget_per_hour cost, of that. A create that would pass it is refused.",
        Query(
            "sum by (account) (shopperd_spend_usd_per_hour{@account}) "
            "/ sum by (account) (shopperd_budget_usd_per_hour{@account})",
            "{{account}}",
        ),
        unit="percentunit",
        alert="ShopperdBudgetNearlyReached",
    ),
    stat(
        "Spent",
        "What all instances have cost in the time shown, by price, state and time. shopperd costs tells it by session.",
        "sum(increase(shopperd_spent_usd_total{@account}[$__range]))",
        unit="currencyUSD",
        height=8,
    ),
    stat(
        "Credit lasts",
        "How long the credit of the account that runs out first lasts, where a marketplace tells it.",
        "min(shopperd_account_balance_left_seconds{@account})",
        unit="s",
        alert="ShopperdBalanceRunningOut",
        low_is_bad=True,
        height=8,
    ),
    stat(
        "Leaked",
        "What orphans have cost in the time shown, also those that are still there.",
        "sum(increase(shopperd_leaked_usd_total{@account}[$__range]))",
        unit="currencyUSD",
        height=TALL,
    ),
    stat(
        "Orphans removed",
        "Orphans that were destroyed and proven gone in the time shown, each once.",
        "sum(increase(shopperd_orphans_destroyed_total{@account}[$__range]))",
        height=TALL,
    ),
)

THERE = row(
    "What is there?",
    table(
        "Accounts",
        "Every account: how old its newest complete listing is, what is in it, and what it costs.",
        {"account": "Account", "provider": "Provider"},
        Column(
            "Snapshot age",
            "max by (account, provider) (shopperd_snapshot_age_seconds{@account})",
            "s",
            "ShopperdNoCompleteSnapshot",
        ),
        Column(
            "Live sessions",
            'sum by (account, provider) (shopperd_sessions{@account, state=~"expected|creating|starting|running|stopped"})',
        ),
        Column("Ours", 'sum by (account, provider) (shopperd_instances{@account, ownership="ours"})'),
        Column("Unknown", 'sum by (account, provider) (shopperd_instances{@account, ownership="unknown"})'),
        Column("Foreign", 'sum by (account, provider) (shopperd_instances{@account, ownership="foreign"})'),
        Column("Orphans", "sum by (account, provider) (shopperd_orphans{@account})"),
        Column("Destroys", "sum by (account, provider) (shopperd_destroys_pending{@account})"),
        Column("Cost per hour", "sum by (account, provider) (shopperd_spend_usd_per_hour{@account})", "currencyUSD"),
        Column("Credit", "sum by (account, provider) (shopperd_account_balance_usd{@account})", "currencyUSD"),
        Column("Unpriced", "sum by (account, provider) (shopperd_unpriced_instances{@account})"),
        Column("Unreadable charges", "sum by (account, provider) (shopperd_unreadable_charges{@account})"),
        Column(
            "Orphans' cost",
            "sum by (account, provider) (shopperd_orphan_usd_per_hour{@account})",
            "currencyUSD",
            "ShopperdMoneyLeaking",
        ),
    ),
    graph(
        "Sessions",
        "Sessions by state. Those that are over are not counted; lost ones are for as long as their machine may come back.",
        Query('sum by (state) (shopperd_sessions{@account, state!~"ended|failed"}) > 0', "{{state}}"),
        stack=True,
        none="No sessions",
    ),
    graph(
        "Instances",
        "Machines in the newest complete listing, by whose they are. Foreign ones are counted and never touched.",
        Query("sum by (ownership, state) (shopperd_instances{@account}) > 0", "{{ownership}}, {{state}}"),
        stack=True,
        none="No machines",
    ),
    graph(
        "Sessions that moved",
        "Changes of sessions from one state to another.",
        Query(
            "sum by (from, to) (increase(shopperd_session_transitions_total{@account}[$__rate_interval])) > 0",
            "{{from}} to {{to}}",
        ),
        none="None moved",
    ),
)

CLEANING = row(
    "Does what should not be there go away?",
    graph(
        "Orphans",
        "Machines with our tag that no live session claims, by why, and how far shopperd is with them.",
        Query("sum by (kind, phase) (shopperd_orphans{@account}) > 0", "{{kind}}, {{phase}}"),
        stack=True,
        none="No orphans",
    ),
    graph(
        "Holds",
        "Orphans that are ripe and wait, by the guard that holds them: shopperd plan.",
        Query("sum by (reason) (shopperd_holds{@account}) > 0", "{{reason}}"),
        stack=True,
        none="Nothing is held",
    ),
    graph(
        "Age of the oldest orphan",
        "Since an account's oldest orphan was judged one, and by when it must be gone while nothing holds it. Held ones count too.",
        Query("max by (account) (shopperd_orphan_oldest_age_seconds{@account})", "{{account}}"),
        Query("max(shopperd_orphan_bound_seconds{@target})", "bound"),
        unit="s",
        alert="ShopperdOrphanPastBound",
    ),
    graph(
        "Destroys that are not proven",
        "They are repeated until the machine is proven gone. Stuck ones need somebody to look; held ones wait for a guard.",
        Query("sum by (account) (shopperd_destroys_pending{@account})", "{{account}}"),
        Query("sum(shopperd_destroys_held{@account})", "held"),
        Query("sum(shopperd_destroys_stuck{@account})", "stuck"),
    ),
    graph(
        "Age of the oldest destroy",
        "Since an account's oldest pending destroy was asked for.",
        Query("max by (account) (shopperd_destroy_oldest_age_seconds{@account})", "{{account}}"),
        unit="s",
        alert="ShopperdDestroyNotFinishing",
    ),
    graph(
        "Time to remove an orphan",
        "From an orphan's first sight until it was proven gone: half of them, and nine in ten, were quicker.",
        Query(
            "histogram_quantile(0.5, sum by (le) "
            "(rate(shopperd_orphan_cleanup_duration_seconds_bucket{@account}[$__rate_interval])))",
            "half",
        ),
        Query(
            "histogram_quantile(0.9, sum by (le) "
            "(rate(shopperd_orphan_cleanup_duration_seconds_bucket{@account}[$__rate_interval])))",
            "nine in ten",
        ),
        unit="s",
    ),
    graph(
        "Orphans found",
        "New orphans by kind, each once. If it grows steadily, something rents machines and forgets them.",
        Query("sum by (kind) (increase(shopperd_orphans_detected_total{@account}[$__rate_interval]))", "{{kind}}"),
    ),
    graph(
        "Destroy requests",
        "By how they ended; ok is the marketplace's word and not yet proof.",
        Query(
            "sum by (outcome) (increase(shopperd_destroy_attempts_total{@account}[$__rate_interval])) > 0",
            "{{outcome}}",
        ),
        none="No destroy was asked for",
    ),
    graph(
        "Sessions lost, fleets that jumped",
        "Sessions whose machine was proven gone though nobody had ended them. unsettled: most of a fleet came or went at once.",
        Query("sum by (account) (increase(shopperd_sessions_lost_total{@account}[$__rate_interval]))", "{{account}}"),
        Query("max by (account) (shopperd_fleet_unsettled{@account}) > 0", "{{account}}, unsettled"),
    ),
)


def overview() -> Json:
    """The dashboard."""
    return dashboard(
        "shopperd-overview",
        "shopperd / Overview",
        "Is what is billed what was asked for, on every account?",
        [ACCOUNTS],
        [HEALTH, COST, THERE, CLEANING],
    )
