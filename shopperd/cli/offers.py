"""`shopperd offers`, and `shopperd offers history`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from shopperd.cli import offered
from shopperd.cli.options import as_json, client, paged
from shopperd.cli.output import percent, seconds, show_json, show_next, show_table
from shopperd.money import dollars_per_hour

SORTS = (
    *("price", "-price", "reliability", "-reliability", "gpu", "gpu_count", "-gpu_count", "vram", "-vram", "location"),
)

INTERRUPTIBLE = click.Choice(["false", "true", "any"])


@click.group(invoke_without_command=True, subcommand_metavar="[history]")
@click.option("--gpu", help="In any usual spelling: 'RTX 4090', rtx_4090, 'A100 80GB'.")
@click.option("--gpu-count", type=click.IntRange(1))
@click.option("--min-vram", "min_vram_gb", type=click.IntRange(0), help="GB of one GPU.")
@click.option("--max-price", "max_price_per_hour", type=click.FloatRange(0), help="USD per hour for the whole machine.")
@click.option("--provider", help="Such as vastai or tensordock.")
@click.option("--account", help="Only this account's market.", shell_complete=offered.accounts)
@click.option("--location", help="A country's two letters, or a part of the place's name.")
@click.option("--interruptible", type=INTERRUPTIBLE, default="false", show_default=True, help="Spot offers.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    metavar="[-]WORD",
    default="price",
    show_default=True,
    help=f"With a minus, largest first: {', '.join(SORTS)}.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="From the end of the list before.")
@as_json
@click.pass_context
def offers(ctx: click.Context, /, as_json: bool, **wishes: object) -> None:
    """The market now, as each account's list was last read; `history` for what it was.

    \b
    Examples:
      shopperd offers --gpu "RTX 4090" --max-price 0.5
      shopperd offers --min-vram 80 --location DE --sort -reliability
      shopperd offers history --gpu "RTX 4090"
    """
    if ctx.invoked_subcommand is not None:
        if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ctx.params):
            raise click.UsageError(f"the options of {ctx.invoked_subcommand} belong behind it")
        return
    told = client().get("offers", query=wishes)
    if as_json:
        show_json(told)
        return
    show_table(
        {
            "OFFER": ("id", str),
            "GPUS": ("gpu_count", str),
            "GPU": ("gpu", str),
            "VRAM": ("vram_gb", lambda size: "" if size is None else f"{size} GB"),
            "USD/H": ("price_per_hour", dollars_per_hour),
            "RELIABLE": ("reliability", percent),
            "LOCATION": ("location", lambda place: place or ""),
            "ACCOUNT": ("account", str),
            "AGE": ("age_seconds", seconds),
            "STALE": ("stale", lambda stale: "stale" if stale else ""),
        },
        told["items"],
        empty="no offer fits now",
    )
    show_next(told)


@offers.command()
@click.option("--gpu", help="In any usual spelling; each one that was offered if left out.")
@click.option("--account", help="Only this account's market.", shell_complete=offered.accounts)
@click.option("--provider", help="Such as vastai or tensordock.")
@click.option("--interruptible", type=INTERRUPTIBLE, default="false", show_default=True, help="Spot offers.")
@click.option("--since", help="A time with its zone; a day ago if left out.")
@click.option("--until", help="A time with its zone; now if left out.")
@click.option("--step", default="2h", show_default=True, help="Of each so long time the last prices; 0 for all.")
@paged
@as_json
def history(as_json: bool, **query: object) -> None:
    """What GPUs cost, oldest first: USD per hour of one GPU. A tenth of the offers cost P10 or less, half of them P50 or less.

    \b
    Examples:
      shopperd offers history --gpu "RTX 4090"
      shopperd offers history --gpu h100 --step 1d --since 2026-11-01T00:00:00Z
    """
    told = client().get("offers", "history", query=query)
    if as_json:
        show_json(told)
        return
    show_table(
        {
            "READ": ("at", str),
            "ACCOUNT": ("account", str),
            "GPU": ("gpu", str),
            "OFFERS": ("offers", str),
            "LEAST": ("least", dollars_per_hour),
            "P10": ("p10", dollars_per_hour),
            "P50": ("p50", dollars_per_hour),
            "P90": ("p90", dollars_per_hour),
            "KIND": ("interruptible", lambda interruptible: "interruptible" if interruptible else ""),
            "PARTIAL": ("partial", lambda partial: "cut off" if partial else ""),
        },
        _by_gpu(told["items"]),
        empty=without_prices(told["items"]),
    )
    show_next(told)


def without_prices(markets: Sequence[object]) -> str:
    """What it means that there is no price among these markets."""
    return "no such GPU was offered in that time" if markets else "no market was read in that time"


def _by_gpu(markets: Iterable[dict[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for market in markets:
        for prices in market["gpus"]:
            yield market | prices
