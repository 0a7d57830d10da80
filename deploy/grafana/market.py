"""The dashboard *Market*: is the list of offers good, what can be rented, and for how much?"""

from __future__ import annotations

from deploy.grafana.panels import TALL, TARGET, Column, Json, Query, choice, dashboard, graph, row, stat, table

PROVIDER = 'provider=~"$provider"'
OFFER = f'{PROVIDER}, gpu=~"$gpu"'
SHOWN = 12
"""So many kinds of GPU fit into a graph; the table has all."""


MOST = f"topk({SHOWN}, sum by (gpu) (shopperd_offers{{@target, {OFFER}}}))"


def price(quantile: str, by: str = "gpu") -> str:
    """The lowest such quantile over the providers."""
    return f'min by ({by}) (shopperd_offer_price_usd_per_hour{{@target, {OFFER}, quantile="{quantile}"}})'


GOOD = row(
    "Is the list good?",
    stat(
        "Age of the list",
        "Of the oldest list that readers get. Sessions are rented from it.",
        f"max(shopperd_offers_age_seconds{{@target, {PROVIDER}}})",
        unit="s",
        alert="ShopperdOffersOld",
        height=TALL,
    ),
    stat(
        "Offers",
        "Machines that can be rented now.",
        f"sum(shopperd_offers{{@target, {OFFER}}})",
        height=TALL,
    ),
    graph(
        "Age of the list",
        "Time since a provider's market was last read.",
        Query(f"max by (provider) (shopperd_offers_age_seconds{{@target, {PROVIDER}}})", "{{provider}}"),
        unit="s",
        alert="ShopperdOffersOld",
    ),
    graph(
        "Rows that were dropped",
        "Rows of the lists that could not be understood, by reason. If all are, the API has changed.",
        Query(
            f"sum by (provider, reason) (increase(shopperd_offers_rejected_total{{@target, {PROVIDER}}}[$__rate_interval])) > 0",
            "{{provider}}, {{reason}}",
        ),
        none="No row was dropped",
    ),
)

RENT = row(
    "What can be rented?",
    graph(
        "Offers by provider",
        "Machines that can be rented, of the GPUs chosen above.",
        Query(f"sum by (provider) (shopperd_offers{{@target, {OFFER}}})", "{{provider}}"),
        stack=True,
        width=12,
    ),
    graph(
        "Offers by GPU",
        "The GPUs with the most offers; the table below has all.",
        Query(MOST, "{{gpu}}"),
        width=12,
    ),
)

COST = row(
    "What does it cost?",
    graph(
        "The cheapest machine",
        "Price per hour of the cheapest whole machine, for the GPUs with the most offers.",
        Query(f"{price('0.0')} and on (gpu) {MOST}", "{{gpu}}"),
        unit="currencyUSD",
        width=12,
    ),
    graph(
        "The machine in the middle",
        "Half of the machines cost less per hour, for the GPUs with the most offers.",
        Query(f"{price('0.5')} and on (gpu) {MOST}", "{{gpu}}"),
        unit="currencyUSD",
        width=12,
    ),
    table(
        "Prices",
        "Per hour and whole machine, over the present offers.",
        {"gpu": "GPU", "provider": "Provider"},
        Column("Offers", f"sum by (gpu, provider) (shopperd_offers{{@target, {OFFER}}})"),
        Column("Cheapest", price("0.0", "gpu, provider"), "currencyUSD"),
        Column("Half cost less than", price("0.5", "gpu, provider"), "currencyUSD"),
        Column("Nine in ten cost less than", price("0.9", "gpu, provider"), "currencyUSD"),
        height=14,
    ),
)


def market() -> Json:
    """The dashboard."""
    return dashboard(
        "shopperd-market",
        "shopperd / Market",
        "What the marketplaces offer, as shopperd last read it.",
        [
            choice("provider", "Provider", f"label_values(shopperd_offers_age_seconds{{{TARGET}}}, provider)"),
            choice("gpu", "GPU", f"label_values(shopperd_offers{{{TARGET}, {PROVIDER}}}, gpu)"),
        ],
        [GOOD, RENT, COST],
    )
