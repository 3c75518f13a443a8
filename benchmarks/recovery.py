"""The experiment: every method on every robot, several seeds, one page.

    python -m benchmarks.recovery --envs all --methods all --seeds 5 --out DIR

The same command goes on where it was stopped. DIR then holds one ordinary run folder a run,
`results.csv` and `index.html`.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

import envs as robots
from benchmarks import results
from benchmarks.grid import GridFolder, GridProgress, GridRun, GridRunner, all_runs
from benchmarks.options import chosen
from benchmarks.ray_launcher import RayRunner
from lamour_jax import train
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS
from lamour_jax.policies import originals

# What --quick stands for, where the command line does not say otherwise. Evaluations are cut down
# rather than training: methods differ in what they learn.
_QUICK_STEPS = 700_000
_QUICK_SETTINGS = ("evaluation.episodes=64", "evaluation.episodes_during_training=16")


@dataclass(frozen=True)
class Arguments:
    """Train every method on every robot with several seeds, and write one page about it."""

    envs: str | None = None
    """all (whose original policy ships), or robots: ant,hopper. All by default."""
    methods: str = "all"
    """all, or methods: lamour,env."""
    seeds: str | None = None
    """How many (5: seeds 0 to 4), or which: 0,3,7. Five by default."""
    out: Path | None = None
    """Folder of the grid, new or to go on with; runs/<time>-recovery by default."""
    jobs: int = 1
    """Runs at a time, on each machine; they share its cores."""
    launcher: Literal["local", "ray"] = "local"
    """local: on this machine; ray: on all machines of a Ray cluster that share the folder."""
    quick: bool = False
    """Minutes instead of hours: one robot, two seeds, shorter training and evaluation."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    start: str | None = None
    """The start to recover from; the robots' own by default."""
    steps: int | None = None
    """Environment steps of each training; the robots' own by default."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of every run's config.yaml: --set evaluation.episodes=64 (repeat for more)."""
    report_only: bool = False
    """Train nothing; write results.csv and index.html from the runs that are there."""
    keep: bool = False
    """Add the runs to benchmarks/results/methods.csv."""


@dataclass(frozen=True)
class Plan:
    """How each run of a grid is trained.

    Attributes:
        trainings: arguments of each run's training.
        configs: the settings that they mean, by `GridRun.settings`.
    """

    trainings: dict[GridRun, train.Arguments]
    configs: dict[str, RunConfig]

    def recorded(self) -> dict[str, dict[str, Any]]:
        """Returns the settings as `grid.json` has them: without seed."""
        recorded = {}
        for name, config in self.configs.items():
            recorded[name] = json.loads(json.dumps(dataclasses.asdict(config)))
            del recorded[name]["seed"]
        return recorded

    def steps(self) -> dict[GridRun, int]:
        """Returns the environment steps that each run trains for."""
        configs = {run: self.configs[run.settings] for run in self.trainings}
        return {run: each.iterations * each.ppo.batch_size for run, each in configs.items()}

    def command_line(self, run: GridRun, resumed: bool) -> list[str]:
        """Returns the command of the process that trains a run."""
        command = [sys.executable, "-m", "lamour_jax.train"]
        if resumed:
            return [*command, "--resume", str(run.folder)]
        training = self.trainings[run]
        command += ["--env", run.env, "--method", run.method, "--seed", str(run.seed)]
        command += ["--out", str(run.folder)]
        if training.engine is not None:
            command += ["--engine", training.engine]
        if training.start is not None:
            command += ["--start", training.start]
        if training.steps is not None:
            command += ["--steps", str(training.steps)]
        return [*command, *(word for each in training.set for word in ("--set", each))]


def make_plan(arguments: Arguments, out: Path) -> Plan:
    """Returns what the arguments mean, everything checked.

    Raises:
        UserError: an unknown name (the known ones are listed), an impossible value, or a robot
            that has no original policy to begin with.
    """
    quick = arguments.quick
    methods = chosen("--methods", arguments.methods, METHODS)
    envs = choose_envs(arguments.envs or (train.Arguments().env if quick else "all"), methods)
    seeds = _seeds(arguments.seeds or ("2" if quick else "5"))
    if arguments.jobs < 1:
        raise UserError(f"--jobs must be at least 1, not {arguments.jobs}")
    training = train.Arguments(
        engine=arguments.engine,
        start=arguments.start,
        steps=_QUICK_STEPS if quick and arguments.steps is None else arguments.steps,
        set=(*(_QUICK_SETTINGS if quick else ()), *arguments.set),
    )
    refuse_own_options(training.set)
    trainings, configs = {}, {}
    for run in all_runs(out, envs, methods, seeds):
        each = dataclasses.replace(training, env=run.env, method=run.method, seed=run.seed)
        trainings[run] = each
        if run.settings not in configs:
            configs[run.settings] = train.resolve(each)
    need_originals(configs.values())
    return Plan(trainings, configs)


def choose_envs(given: str, methods: list[str]) -> list[str]:
    """Returns the robots in `ant,hopper`, or all that have what `methods` begin with.

    Raises:
        UserError: an unknown name.
    """
    if given == "all":
        return originals.names(dropout=any(METHODS[method].needs_dropout for method in methods))
    return chosen("--envs", given, robots.names(), and_all=True)


def refuse_own_options(assignments: tuple[str, ...]) -> None:
    """Refuses `--set` of what has an option of its own.

    Raises:
        UserError: there is such an assignment.
    """
    for assignment in assignments:
        if assignment.partition("=")[0].strip() in ("env", "method", "seed", "stage"):
            raise UserError(f"--set {assignment}: choose by --envs, --methods and --seeds")


def need_originals(configs: Any) -> None:
    """Looks for the original policies that runs begin with.

    Only looked for: an accelerator that this process took would be missing in the runs.

    Raises:
        UserError: one is not there.
    """
    needed = {(c.env, c.policy, METHODS[c.method].needs_dropout) for c in configs}
    for original in sorted(needed):
        originals.file(*original)


def _seeds(given: str) -> list[int]:
    try:
        numbers = [int(part) for part in given.split(",")]
    except ValueError:
        numbers = [-1]
    if min(numbers) < 0 or numbers == [0]:
        raise UserError(
            f"unknown --seeds {given!r}; known: how many (5: seeds 0 to 4), or which (0,3,7)"
        )
    return list(dict.fromkeys(numbers)) if "," in given else list(range(numbers[0]))


@dataclass(frozen=True)
class Call:
    """One call of a program that trains a grid.

    Attributes:
        module, given: the program and its arguments.
        out: folder of the grid.
        jobs, launcher: as of `Arguments`.
        train: whether to train, or only to report.
    """

    module: str
    given: list[str]
    out: Path
    jobs: int
    launcher: str = "local"
    train: bool = True

    def described(self) -> dict[str, Any]:
        """Returns what the folder keeps of the call."""
        return {
            "command": results.command_line(self.module, self.given, where=True),
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "machine": results.machine_facts(),
            "jobs": self.jobs,
        }

    def again(self) -> str:
        """Returns the command that goes on."""
        more = [] if "--out" in self.given else ["--out", str(self.out)]
        return results.command_line(self.module, [*self.given, *more], where=True)


Report = Callable[[GridFolder, dict[GridRun, str], Console], None]


def run_grid(plan: Plan, call: Call, report: Report) -> int:
    """Runs what is not finished and reports; returns the exit status."""
    console = results.console()
    folder = GridFolder(call.out)
    failures: dict[GridRun, str] = {}
    try:
        folder.agree(plan.recorded())
        runs = list(plan.trainings)
        todo = [run for run in runs if run.result() is None]
        done = len(runs) - len(todo)
        console.print(
            f"{len(runs)} runs in {call.out}: {done} finished, {len(todo)} to do", markup=False
        )
        if todo and call.train:
            folder.note(call.described())
            with GridProgress(console, runs, plan.steps(), call.jobs) as progress:
                failures = _runner(plan, call, progress, folder).run(todo)
        report(folder, failures, console)
    except KeyboardInterrupt:
        console.print(
            f"Stopped; nothing is running any more. Go on by: {call.again()}", markup=False
        )
        return 130
    finally:
        folder.close()
    for run, reason in failures.items():
        print(f"failed: {run.name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


def _runner(
    plan: Plan, call: Call, progress: GridProgress, folder: GridFolder
) -> GridRunner | RayRunner:
    if call.launcher == "ray":
        return RayRunner(plan.command_line, progress, call.jobs)
    return GridRunner(plan.command_line, progress, call.jobs, folder.lock_descriptor)


def reporting(arguments: Arguments, plan: Plan, given: list[str]) -> Report:
    """Returns what writes `results.csv` and `index.html`, of all runs that the folder holds."""

    def report(folder: GridFolder, failures: dict[GridRun, str], console: Console) -> None:
        # Heavy, and not needed by those who ask for help or make a mistake.
        from benchmarks.page import write_page
        from benchmarks.records import kept_row, read_record, write_csv
        from benchmarks.summary import summarise

        runs = sorted({*plan.trainings, *folder.runs()}, key=folder.place)
        records = [read_record(run, failures.get(run)) for run in runs]
        write_csv(records, folder.path / "results.csv")
        write_page(summarise(records), records, folder.content, folder.path / "index.html")
        if arguments.keep:
            kept = [r for r in records if r.run in plan.trainings and r.status == "finished"]
            command = results.command_line("benchmarks.recovery", given)
            results.keep("methods", map(kept_row, kept), command)
        written = f"{folder.path / 'results.csv'} and {folder.path / 'index.html'}"
        console.print(f"Written to {written}", markup=False)

    return report


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.recovery", args=given)
    out = arguments.out or Path("runs") / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-recovery"
    try:
        # Said now, not after hours of training.
        if importlib.util.find_spec("rliable") is None:
            raise UserError("the statistics need rliable: pip install -e '.[benchmarks]'")
        plan = make_plan(arguments, out)
        call = Call(
            *("benchmarks.recovery", given, out),
            *(arguments.jobs, arguments.launcher, not arguments.report_only),
        )
        return run_grid(plan, call, reporting(arguments, plan, given))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
