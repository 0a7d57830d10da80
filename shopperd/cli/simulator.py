"""`shopperd simulator`: both providers' APIs on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import click

from shopperd.simulator import SimulatorServer, WorldSettings
from shopperd.simulator.scenario import BadScenarioError, load_scenario, play


@click.command()
@click.option("--vast-port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: the system chooses.")
@click.option("--tensordock-port", type=click.IntRange(0, 65535), default=0, show_default=True)
@click.option("--control-port", type=click.IntRange(0, 65535), default=0, show_default=True)
@click.option(
    "--offers", type=click.IntRange(1, 64_000), default=400, show_default=True, help="Rows on Vast.ai's market."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Everything random follows from it.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML or JSON file of timed steps.",
)
@click.option("--key", default=None, help="The only good key (TensorDock: token); default any but bad-key.")
@click.option(
    "--boot-seconds", type=click.FloatRange(0), default=6.0, show_default=True, help="From rented to running."
)
@click.option(
    "--rate-scale",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Multiplies the rate limits' spacing; 0: none.",
)
def simulator(
    vast_port: int,
    tensordock_port: int,
    control_port: int,
    offers: int,
    seed: int,
    scenario: Path | None,
    key: str | None,
    boot_seconds: float,
    rate_scale: float,
) -> None:
    """Serve a pretend Vast.ai and TensorDock on loopback, until interrupted.

    The first lines of output are VASTAI_URL=, TENSORDOCK_URL= and CONTROL_URL=. The control API's GET /_sim/faults lists what can
    be made to go wrong.

    \b
    Examples:
      shopperd simulator
      shopperd simulator --vast-port 8001 --control-port 8003
    """
    try:
        steps = load_scenario(scenario) if scenario else ()
    except BadScenarioError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from error
    settings = WorldSettings(seed=seed, offers=offers, key=key, boot_seconds=boot_seconds, rate_scale=rate_scale)
    server = SimulatorServer(
        settings=settings, vast_port=vast_port, tensordock_port=tensordock_port, control_port=control_port
    )

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)
        async with server:
            click.echo(f"VASTAI_URL={server.vastai_url}")
            click.echo(f"TENSORDOCK_URL={server.tensordock_url}")
            click.echo(f"CONTROL_URL={server.control_url}")
            play(server.world, steps)
            await stop.wait()

    try:
        asyncio.run(serve())
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error.strerror or error}") from error
