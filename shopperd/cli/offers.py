"""`shopperd offers`."""

from __future__ import annotations

import click

from shopperd.cli import offered
from shopperd.cli.options import as_json, client
from shopperd.cli.output import money, percent, seconds, show_json, show_next, show_table

SORTS = (
    *("price", "-price", "reliability", "-reliability", "gpu", "gpu_count", "-gpu_count", "vram", "-vram", "location"),
)


@click.command()
@click.option("--gpu", help="In any usual spelling: 'RTX 4090', rtx_4090, 'A100 80GB'.")
@click.option("--gpu-count", type=click.IntRange(1))
@click.option("--min-vram", "min_vram_gb", type=click.IntRange(0), help="GB of one GPU.")
@click.option("--max-price", "max_price_per_hour", type=click.FloatRange(0), help="USD per hour for the whole machine.")
@click.option("--provider", help="Such as vastai or tensordock.")
@click.option("--account", help="Only this account's market.", shell_complete=offered.accounts)
@click.option("--location", help="A country's two letters, or a part of the place's name.")
@click.option("--interruptible", type=click.Choice(["false", "true", "any"]), default="false", show_default=True)
@click.option(
    "--sort", type=click.Choice(SORTS), default="price", show_default=True, help="With a minus: largest first."
)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="From the end of the list before.")
@as_json
def offers(as_json: bool, **wishes: object) -> None:
    """The market now, as each account's list was last read.

    \b
    Examples:
      shopperd offers --gpu "RTX 4090" --max-price 0.5
      shopperd offers --min-vram 80 --location DE --sort -reliability
    """
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
            "USD/H": ("price_per_hour", money),
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
