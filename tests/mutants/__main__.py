"""`python -m tests.mutants`: every known bug of other tools goes into a copy of shopperd, and the tests must notice it.

The last line of output is one JSON object; the exit status is 1 if a mutant is not noticed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.score import SAME, TESTS, Change, scored
from tests.mutants.trial import Result, Run, Verdict, baseline, copied, tried


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-k", "wanted", default="", help="Only mutants whose name holds this text.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Mutants at the same time.")
@click.option("--list", "only_list", is_flag=True, help="Tell what there is, and play nothing.")
@click.option("--score", "module", type=click.Choice(list(TESTS)), help="Instead, the score of one module.")
def main(wanted: str, jobs: int, only_list: bool, module: str | None) -> None:
    """Play the catalogue of mutants."""
    if module is not None:
        _tell_score(module, wanted)
        return
    mutants = [mutant for mutant in MUTANTS if wanted in mutant.name]
    if not mutants:
        raise click.ClickException(f"no mutant has {wanted!r} in its name")
    if only_list:
        for mutant in mutants:
            click.echo(f"{mutant.name}: {mutant.what} ({mutant.source})")
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        results = list(_play(mutants, jobs, Path(folder)))
    caught = sum(result.verdict is Verdict.CAUGHT for result in results)
    missed = [result for result in results if result.verdict is not Verdict.CAUGHT]
    for result in missed:
        click.echo(f"{result.verdict.upper()}: {result.mutant.name}: {result.mutant.what} {result.by}".rstrip())
    click.echo(f"took {time.monotonic() - began:.0f} s")
    click.echo(json.dumps({"mutants": len(results), "caught": caught, "survived": len(missed)}))
    sys.exit(1 if missed else 0)


def _tell_score(module: str, wanted: str) -> None:
    began, same = time.monotonic(), SAME.get(module, {})

    def tell(change: Change, noticed: bool) -> None:
        if not noticed and change.name not in same:
            click.echo(f"SURVIVED: {module}:{change.lines.start}: {change.name}")

    results = scored(module, wanted, tell)
    left = [change.name for change, noticed in results if not noticed]
    explained = sum(name in same for name in left)
    noticed, survived = len(results) - len(left), len(left) - explained
    click.echo(f"took {time.monotonic() - began:.0f} s")
    told = {"changes": len(results), "noticed": noticed, "explained": explained, "survived": survived}
    click.echo(json.dumps(told | {"score_percent": round(100.0 * noticed / max(1, len(results)), 1)}))
    sys.exit(1 if survived else 0)


def _play(mutants: Sequence[Mutant], jobs: int, folder: Path) -> Iterator[Result]:
    clean = folder / "unchanged"
    clean.mkdir()
    package = copied(ROOT / "shopperd", clean)
    ran = baseline(clean, mutants, jobs)
    if ran.status != 0:
        raise click.ClickException(_unwell(ran))
    click.echo(f"on an unchanged copy ({package}) their tests pass, in {ran.seconds:.0f} s")
    width = max(len(mutant.name) for mutant in mutants)
    click.echo(f"{'mutant':{width}}  {'seconds':>7}  caught by")
    with ThreadPoolExecutor(jobs) as pool:
        trials = [
            pool.submit(tried, mutant, package, folder / f"mutant-{number}") for number, mutant in enumerate(mutants)
        ]
        for trial in trials:
            result = trial.result()
            by = result.by if result.verdict is Verdict.CAUGHT else f"{result.verdict.upper()} {result.by}".rstrip()
            click.echo(f"{result.mutant.name:{width}}  {result.seconds:7.1f}  {by.removeprefix('tests/')}")
            yield result


def _unwell(ran: Run) -> str:
    return f"the tests fail without any mutant (status {ran.status}):\n{ran.output[-3000:]}"


if __name__ == "__main__":
    main()
