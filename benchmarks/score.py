"""`fleet score`: every scenario, many seeds, what detectors found of what was true."""

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Final

import click

from benchmarks.scoring import document, runs, tally
from fleet_core.cli import Refusal
from simulators import scenario

# Vehicles of a run: enough for every role of a scenario to occur, few enough to keep thousands of runs quick.
_VEHICLES: Final = 12
_ORDINARY_VEHICLES: Final = 60
# No truth of its own.
_WITHOUT_TRUTH: Final = ("load", "drive", "sumo_traffic")


@click.command("score")
@click.argument("names", nargs=-1, metavar="[SCENARIO..]")
@click.option("--seeds", type=click.IntRange(min=1), default=30, show_default=True, help="Runs of each scenario.")
@click.option("--first-seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--timed-seeds", type=click.IntRange(min=0), default=2, show_default=True, help="Judged as they come.")
@click.option("--ordinary-vehicles", type=click.IntRange(min=1), default=_ORDINARY_VEHICLES, show_default=True)
@click.option("--processes", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--write", "target", type=click.Path(path_type=Path), help="Write table and pictures into this docs folder."
)
def score(
    names: tuple[str, ...], *, seeds: int, first_seed: int, timed_seeds: int, ordinary_vehicles: int, processes: int,
    as_json: bool, target: Path | None,
) -> None:  # fmt: skip
    """Precision, recall, false alarms and time to alarm over all scenarios.

    Scenarios and their truth are written without knowledge of the detectors' thresholds.
    """
    known = scenario.scenarios()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Refusal(f"there is no scenario {unknown[0]!r}: choose from {', '.join(sorted(known))}")
    chosen = list(names) or [name for name in sorted(known) if name not in _WITHOUT_TRUTH]
    jobs = [
        (name, seed, ordinary_vehicles if name in tally.ORDINARY else _VEHICLES, seed < first_seed + timed_seeds)
        for name in chosen
        for seed in range(first_seed, first_seed + seeds)
    ]
    total = tally.tally(_all(jobs, processes), {name: known[name].must_not for name in chosen})
    if target is not None:
        document.write(total, target)
    click.echo(json.dumps(total.as_json(), indent=2) if as_json else document.as_text(total))
    if total.faults:
        raise Refusal(f"{len(total.faults)} examinations failed, the first: {total.faults[0]}")


def _all(jobs: list[tuple[str, int, int, bool]], processes: int) -> list[runs.Run]:
    if processes == 1:
        return [_one(job) for job in jobs]
    done: list[runs.Run] = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for number, item in enumerate(pool.imap_unordered(_one, jobs), start=1):
            done.append(item)
            if sys.stderr.isatty():
                click.echo(f"\r{number} of {len(jobs)} runs", nl=number == len(jobs), err=True)
    # In a fixed order, so that the same seeds print the same text.
    return sorted(done, key=lambda run: (run.scenario, run.seed))


def _one(job: tuple[str, int, int, bool]) -> runs.Run:
    name, seed, vehicles, timed = job
    # What builds up over days or hours is not a matter of seconds.
    return runs.run(name, seed, vehicles, timed=timed and scenario.scenarios()[name].duration_s <= 1800)
