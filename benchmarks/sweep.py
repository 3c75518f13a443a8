"""A sweep of each method on each robot: the same few numbers, the same short budget.

    python -m benchmarks.sweep --envs hopper --methods all --out DIR

The same command goes on where it was stopped. DIR then holds one ordinary run folder a candidate,
`DIR/<robot>/<method>/<candidate>`, and `sweep.csv`.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import recovery, results
from benchmarks.grid import GridFolder, GridRun
from benchmarks.options import chosen
from benchmarks.records import Record, read_record
from benchmarks.recovery import Call, Plan, Report
from lamour_jax import train
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS

# Not one of those that results are reported of.
SEED = 100
# Rates that differ by less are taken for equal [share of episodes].
_RESOLUTION = 0.05
_FIGURES = ("late_recovery_rate", "recovery_rate", "steps_to_90", "retention")


@dataclass(frozen=True)
class Arguments:
    """Try the same few numbers for every method on every robot, each in a short training."""

    envs: str = "all"
    """all (whose original policy ships), or robots: ant,hopper."""
    methods: str = "all"
    """all, or methods: lamour,env."""
    out: Path = Path("runs/sweep")
    """Folder of the sweep, new or to go on with."""
    share: float = 0.25
    """Length of each training, as a share of the robot's own."""
    jobs: int = 1
    """Runs at a time; they share the machine's cores."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of every run's config.yaml: --set evaluation.episodes=64 (repeat for more)."""
    keep: bool = False
    """Add the candidates to benchmarks/results/sweep.csv."""


def candidates(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """Returns what is tried for a robot and a method, as assignments of `--set`, by name.

    How widely is explored, for every method; and for those that have them, the scale of their own
    reward and the weight of consolidation.
    """
    start, end = config.ppo.explore_std
    tried: dict[str, tuple[str, ...]] = {
        "preset": (),
        "explore-half": (f"ppo.explore_std=[{start / 2:g},{end:g}]",),
        "explore-double": (f"ppo.explore_std=[{start * 2:g},{end:g}]",),
    }
    used = METHODS[config.method].coefficients
    if "aux_coef" in used:
        scale = config.objective.aux_coef
        tried["aux-third"] = (f"objective.aux_coef={scale / 3:.3g}",)
        tried["aux-triple"] = (f"objective.aux_coef={scale * 3:g}",)
    if "consol_coef" in used:
        weight = config.objective.consol_coef
        tried["consol-tenth"] = (f"objective.consol_coef={weight / 10:g}",)
        tried["consol-hundredth"] = (f"objective.consol_coef={weight / 100:g}",)
    return tried


def make_plan(arguments: Arguments) -> Plan:
    """Returns what the arguments mean, everything checked.

    Raises:
        UserError: an unknown name (the known ones are listed), an impossible value, or a robot
            that has no original policy to begin with.
    """
    if not 0.0 < arguments.share <= 1.0:
        raise UserError(f"--share must be above 0 and at most 1, not {arguments.share:g}")
    if arguments.jobs < 1:
        raise UserError(f"--jobs must be at least 1, not {arguments.jobs}")
    recovery.refuse_own_options(arguments.set)
    methods = chosen("--methods", arguments.methods, METHODS)
    plan = Plan({}, {})
    for env in recovery.choose_envs(arguments.envs, methods):
        for method in methods:
            training = train.Arguments(
                env=env, method=method, seed=SEED, engine=arguments.engine, set=arguments.set
            )
            _add_candidates(plan, training, arguments)
    recovery.need_originals(plan.configs.values())
    return plan


def _add_candidates(plan: Plan, training: train.Arguments, arguments: Arguments) -> None:
    whole = train.resolve(training)
    # In a shorter training the noise shall narrow over as many steps as in the whole one, as far
    # as it has them.
    annealing = min(1.0, whole.ppo.annealing / arguments.share)
    steps = max(whole.ppo.batch_size, round(arguments.share * whole.steps))
    for name, assignments in candidates(whole).items():
        folder = arguments.out / training.env / training.method / name
        run = GridRun(training.env, training.method, SEED, folder)
        settings = (f"ppo.annealing={annealing:g}", *arguments.set, *assignments)
        plan.trainings[run] = dataclasses.replace(training, steps=steps, set=settings)
        plan.configs[run.settings] = train.resolve(plan.trainings[run])


def score(record: Record) -> tuple[float, float]:
    """Returns what candidates are compared by, higher is better; -1 for one without a result.

    The recovery rate over the second half of the training's evaluations; where that is the same,
    how much of the original skill is left, which counts for nothing where none comes back. Both in
    steps of `_RESOLUTION`.
    """
    if record.curve is None:
        return (-1.0, -1.0)
    rates = record.curve.recovery_rate
    late = float(np.nan_to_num(rates[len(rates) // 2 :]).mean())
    retention = float(np.nan_to_num(record.measures["retention"]))
    comes_back = _coarsely(late)
    return (comes_back, _coarsely(min(retention, 1.0)) if comes_back else 0.0)


def _coarsely(value: float) -> float:
    return round(round(value / _RESOLUTION) * _RESOLUTION, 2)


def best(records: list[Record]) -> Record:
    """Returns the best candidate of a robot and a method.

    The first of those that are equal: the preset comes first, and is left only for a reason.
    """
    return max(records, key=score)


def rows(records: list[Record]) -> list[dict[str, str]]:
    """Returns a row a candidate, of the candidates of a robot and a method."""
    chosen_one, found = best(records), []
    for record in records:
        late = score(record)[0]
        figures = [late, *(record.measures.get(name, np.nan) for name in _FIGURES[1:])]
        run = record.run
        row = {"robot": run.env, "method": run.method, "candidate": run.folder.name}
        row |= dict(zip(_FIGURES, map(_figure, figures), strict=True))
        row["best"] = "best" if record is chosen_one and late >= 0.0 else record.error
        found.append(row)
    return found


def _figure(number: float) -> str:
    if not np.isfinite(number) or number < 0.0:
        return ""
    return f"{number:.2f}" if number < 10.0 else f"{number:.0f}"


def reporting(arguments: Arguments, given: list[str]) -> Report:
    """Returns what writes `sweep.csv`, one row a candidate, and shows the same as a table."""

    def report(folder: GridFolder, failures: dict[GridRun, str], console: Console) -> None:
        # Those of earlier calls as well.
        tried: dict[tuple[str, str], list[Record]] = {}
        for name in folder.content["configs"]:
            env, method, _ = name.split("/")
            run = GridRun(env, method, SEED, folder.path / name)
            tried.setdefault((env, method), []).append(read_record(run, failures.get(run)))
        found = [row for records in tried.values() for row in rows(records)]
        path = folder.path / "sweep.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows(found)
        table = Table(*found[0])
        for row in found:
            table.add_row(*row.values())
        console.print(table)
        console.print(f"Written to {path}", markup=False)
        if arguments.keep:
            results.keep("sweep", found, results.command_line("benchmarks.sweep", given))

    return report


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.sweep", args=given)
    try:
        call = Call("benchmarks.sweep", given, arguments.out, arguments.jobs)
        return recovery.run_grid(make_plan(arguments), call, reporting(arguments, given))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
