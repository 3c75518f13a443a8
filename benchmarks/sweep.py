"""A sweep of each method on each robot: the same few numbers, the same short budget.

    python -m benchmarks.sweep --envs hopper --methods all --out DIR

The same command goes on where it was stopped. DIR then holds one ordinary run folder a candidate,
`DIR/<robot>/<method>/<candidate>`, and `sweep.csv`.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import recovery
from benchmarks.grid import GridFolder, GridRun, GridRunner, Together
from benchmarks.grid_progress import GridProgress
from benchmarks.records import Record, read_record
from lamour_jax import train
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS

# Not one of those that results are reported of.
SEED = 100
# Rates that differ by less are taken for equal [share of episodes].
_RESOLUTION = 0.05


@dataclass(frozen=True)
class Arguments:
    """Try the same few numbers for every method on every robot, each in a short training."""

    envs: str | None = None
    """all (whose original policy ships), or robots: ant,hopper. All by default."""
    methods: str | None = None
    """all, or methods: lamour,env. All by default."""
    out: Path = Path("runs/sweep")
    """Folder of the sweep, new or to go on with."""
    share: float = 0.25
    """Length of each training, as a share of the preset's."""
    jobs: int = 1
    """Runs at a time; they share the machine's cores."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of every run's config.yaml: --set evaluation.episodes=64 (repeat for more)."""


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


@dataclass(frozen=True)
class Plan:
    """What the arguments mean: how each run is trained, and with which settings."""

    trainings: dict[GridRun, train.Arguments]
    configs: dict[GridRun, RunConfig]

    def recorded(self) -> dict[str, dict[str, Any]]:
        """Returns the settings as `grid.json` has them."""
        return {
            run.name: json.loads(json.dumps(dataclasses.asdict(config)))
            for run, config in self.configs.items()
        }

    def command_line(self, runs: Together, resumed: bool) -> list[str]:
        """Returns the command of the process that trains a run."""
        return recovery.command_line(self.trainings[runs[0]], runs, resumed)


def make_plan(arguments: Arguments) -> Plan:
    """Returns what the arguments mean, everything checked.

    Raises:
        UserError: an unknown name (the known ones are listed), an impossible value, or a robot
            that has no original policy to begin with.
    """
    if not 0.0 < arguments.share <= 1.0:
        raise UserError(f"--share must be above 0 and at most 1, not {arguments.share:g}")
    common = recovery.make_plan(
        recovery.Arguments(
            envs=arguments.envs,
            methods=arguments.methods,
            seeds=f"{SEED},{SEED}",
            jobs=arguments.jobs,
            engine=arguments.engine,
            set=arguments.set,
        )
    )
    trainings: dict[GridRun, train.Arguments] = {}
    configs: dict[GridRun, RunConfig] = {}
    for env in common.envs:
        for method in common.methods:
            whole = common.configs[env, method]
            # In a shorter training the noise shall narrow over as many steps as in the whole one,
            # as far as it has them.
            annealing = min(1.0, whole.ppo.annealing / arguments.share)
            for name, assignments in candidates(whole).items():
                run = GridRun(env, method, SEED, arguments.out / env / method / name)
                trainings[run] = dataclasses.replace(
                    common.training,
                    env=env,
                    method=method,
                    seed=SEED,
                    steps=max(whole.ppo.batch_size, round(arguments.share * whole.steps)),
                    set=(f"ppo.annealing={annealing:g}", *arguments.set, *assignments),
                )
                configs[run] = train.resolve(trainings[run])
    return Plan(trainings, configs)


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


def report(records: dict[tuple[str, str], list[Record]], path: Path, console: Console) -> None:
    """Writes `sweep.csv`, one row a candidate, and shows the same as a table."""
    columns = ("late_recovery_rate", "recovery_rate", "steps_to_90", "retention")
    table = Table("robot", "method", "candidate", *columns, "best")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["env", "method", "candidate", *columns, "best"])
        for (env, method), tried in records.items():
            chosen = best(tried)
            for record in tried:
                late = score(record)[0]
                numbers = [late, *(record.measures.get(name, np.nan) for name in columns[1:])]
                row = [env, method, record.run.folder.name, *map(_figure, numbers)]
                row.append("best" if record is chosen and late >= 0.0 else record.error)
                writer.writerow(row)
                table.add_row(*row)
    console.print(table)
    console.print(f"Written to {path}", markup=False)


def _figure(number: float) -> str:
    if not np.isfinite(number) or number < 0.0:
        return ""
    return f"{number:.2f}" if number < 10.0 else f"{number:.0f}"


def run_sweep(arguments: Arguments, plan: Plan, invocation: dict[str, Any]) -> int:
    """Runs what is not finished and writes the report; returns the exit status."""
    # The table does not fit into the 80 columns that a file is taken to have.
    width = None if sys.stdout.isatty() else 120
    console = Console(highlight=False, soft_wrap=True, width=width)
    folder = GridFolder(arguments.out)
    runs = list(plan.configs)
    try:
        folder.agree(plan.recorded())
        todo = [run for run in runs if run.result() is None]
        count = f"{len(runs)} runs in {arguments.out}: {len(runs) - len(todo)} finished"
        console.print(count, markup=False)
        failures: dict[GridRun, str] = {}
        if todo:
            folder.note(invocation)
            steps = {
                run: config.iterations * config.ppo.batch_size
                for run, config in plan.configs.items()
            }
            with GridProgress(console, runs, steps, arguments.jobs) as progress:
                runner = GridRunner(
                    plan.command_line, progress, arguments.jobs, folder.lock_descriptor
                )
                failures = runner.run([(run,) for run in todo])
        # Those of earlier calls as well.
        records: dict[tuple[str, str], list[Record]] = {}
        for name in folder.content["configs"]:
            env, method, _ = name.split("/")
            run = GridRun(env, method, SEED, arguments.out / name)
            records.setdefault((env, method), []).append(read_record(run, failures.get(run)))
        report(records, arguments.out / "sweep.csv", console)
    except KeyboardInterrupt:
        console.print(f"Stopped. Go on by: {invocation['command']}", markup=False)
        return 130
    finally:
        folder.close()
    for run, reason in failures.items():
        print(f"failed: {run.name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.sweep", args=given)
    invocation = recovery.describe_call("benchmarks.sweep", given, arguments.jobs)
    try:
        return run_sweep(arguments, make_plan(arguments), invocation)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
