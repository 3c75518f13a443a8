"""The experiment: every method on every robot, several seeds, one page.

    python -m benchmarks.recovery --envs all --methods all --seeds 5 --out DIR

The same command goes on where it was stopped. DIR then holds one ordinary run folder a run,
`results.csv` and `index.html`.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib.util
import json
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

import envs as robots
from benchmarks.grid import (
    GridFolder,
    GridRun,
    GridRunner,
    Together,
    all_runs,
    side_by_side,
)
from benchmarks.grid_progress import GridProgress
from benchmarks.ray_launcher import RayRunner
from benchmarks.throughput import machine_facts
from lamour_jax import train
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.methods import METHODS
from lamour_jax.policies import originals

# What --quick stands for, where the command line does not say otherwise. Evaluations are cut down
# rather than training: methods differ in what they learn.
_QUICK_ENVS = "half_cheetah"
_QUICK_SEEDS = "2"
_QUICK_STEPS = 700_000
_QUICK_SETTINGS = ("evaluation.episodes=64", "evaluation.episodes_during_training=16")
_SEEDS = "5"


@dataclass(frozen=True)
class Arguments:
    """Train every method on every robot with several seeds, and write one page about it."""

    envs: str | None = None
    """all (whose original policy ships), or robots: ant,hopper. All by default."""
    methods: str | None = None
    """all, or methods: lamour,env. All by default."""
    seeds: str | None = None
    """How many (5: seeds 0 to 4), or which: 0,3,7. Five by default."""
    out: Path | None = None
    """Folder of the grid, new or to go on with; runs/<time>-recovery by default."""
    jobs: int = 1
    """Runs at a time, on each machine; they share its cores."""
    launcher: Literal["local", "ray"] = "local"
    """local: on this machine; ray: on all machines of a Ray cluster that share the folder."""
    together: bool = False
    """Train the seeds of a robot and a method side by side in one program."""
    quick: bool = False
    """Minutes instead of hours: half_cheetah, two seeds, shorter training and evaluation."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    start: str | None = None
    """The start to recover from; the presets' by default."""
    steps: int | None = None
    """Environment steps of each training; the presets' by default."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Any setting of every run's config.yaml: --set evaluation.episodes=64 (repeat for more)."""
    report_only: bool = False
    """Train nothing; write results.csv and index.html from the runs that are there."""


@dataclass(frozen=True)
class Plan:
    """What the arguments mean.

    Attributes:
        envs, methods, seeds: of the grid.
        training: arguments of each training, all but robot, method and seed.
        configs: settings of the runs of a robot and a method, with seed 0.
    """

    envs: list[str]
    methods: list[str]
    seeds: list[int]
    training: train.Arguments
    configs: dict[tuple[str, str], RunConfig]

    def recorded(self) -> dict[str, dict[str, Any]]:
        """Returns the settings as `grid.json` has them."""
        plain = {}
        for (env, method), config in self.configs.items():
            settings = json.loads(json.dumps(dataclasses.asdict(config)))
            del settings["seed"]
            plain[f"{env}/{method}"] = settings
        return plain

    def steps(self, run: GridRun) -> int:
        """Returns the environment steps that `run` trains for."""
        config = self.configs[run.env, run.method]
        return config.iterations * config.ppo.batch_size


def make_plan(arguments: Arguments) -> Plan:
    """Returns what the arguments mean, everything checked.

    Raises:
        UserError: an unknown name (the known ones are listed), an impossible value, or a robot
            that has no original policy to begin with.
    """
    quick = arguments.quick
    given_envs = arguments.envs or (_QUICK_ENVS if quick else "all")
    methods = _names("--methods", arguments.methods or "all", METHODS)
    chosen_envs = (
        originals.names(dropout=any(METHODS[method].needs_dropout for method in methods))
        if given_envs == "all"
        else _names("--envs", given_envs, robots.names())
    )
    seeds = _seeds(arguments.seeds or (_QUICK_SEEDS if quick else _SEEDS))
    if arguments.jobs < 1:
        raise UserError(f"--jobs must be at least 1, not {arguments.jobs}")
    training = train.Arguments(
        engine=arguments.engine,
        start=arguments.start,
        steps=_QUICK_STEPS if quick and arguments.steps is None else arguments.steps,
        set=(*(_QUICK_SETTINGS if quick else ()), *arguments.set),
    )
    for assignment in training.set:
        if assignment.partition("=")[0].strip() in ("env", "method", "seed", "stage"):
            raise UserError(f"--set {assignment}: choose by --envs, --methods and --seeds")
    configs = {
        (env, method): train.resolve(dataclasses.replace(training, env=env, method=method))
        for env in chosen_envs
        for method in methods
    }
    needed = {(c.env, c.policy, METHODS[c.method].needs_dropout) for c in configs.values()}
    for original in sorted(needed):
        # Only looked for: an accelerator that this process took would be missing in the runs.
        originals.file(*original)
    return Plan(chosen_envs, methods, seeds, training, configs)


def _names(option: str, given: str, known: Iterable[str]) -> list[str]:
    known = list(known)
    if given == "all":
        return known
    names = [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"unknown {option} {name!r}; known: all, {', '.join(known)}")
    return list(dict.fromkeys(names))


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


def command_line(training: train.Arguments, runs: Together, resumed: bool) -> list[str]:
    """Returns the command of the process that trains `runs`."""
    run = runs[0]
    command = [sys.executable, "-m", "lamour_jax.train"]
    if resumed:
        return [*command, "--resume", str(run.folder)]
    command += ["--env", run.env, "--method", run.method, "--seed", str(run.seed)]
    if len(runs) > 1:
        command += ["--seeds", str(len(runs)), "--out", str(run.folder.parent)]
    else:
        command += ["--out", str(run.folder)]
    if training.engine is not None:
        command += ["--engine", training.engine]
    if training.start is not None:
        command += ["--start", training.start]
    if training.steps is not None:
        command += ["--steps", str(training.steps)]
    for assignment in training.set:
        command += ["--set", assignment]
    return command


def report(folder: GridFolder, runs: list[GridRun], failures: dict[GridRun, str]) -> None:
    """Writes `results.csv` and `index.html` from what `runs` left, and those of earlier calls."""
    # Heavy, and not needed by those who ask for help or make a mistake.
    from benchmarks.page import write_page
    from benchmarks.records import read_record, write_csv
    from benchmarks.summary import summarise

    everything = sorted({*runs, *folder.runs()}, key=folder.place)
    records = [read_record(run, failures.get(run)) for run in everything]
    write_csv(records, folder.path / "results.csv")
    write_page(summarise(records), records, folder.content, folder.path / "index.html")


def run_grid(arguments: Arguments, plan: Plan, invocation: dict[str, Any]) -> int:
    """Runs what is not finished and writes the report; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    out = arguments.out or Path("runs") / f"{datetime.datetime.now():%Y%m%d-%H%M%S}-recovery"
    folder = GridFolder(out)
    runs = all_runs(out, plan.envs, plan.methods, plan.seeds)
    failures: dict[GridRun, str] = {}
    try:
        folder.agree(plan.recorded())
        todo = [run for run in runs if run.result() is None]
        count = f"{len(runs)} runs in {out}: {len(runs) - len(todo)} finished, {len(todo)} to do"
        console.print(count, markup=False)
        if todo and not arguments.report_only:
            folder.note(invocation)
            steps = {run: plan.steps(run) for run in runs}
            with GridProgress(console, runs, steps, arguments.jobs) as progress:
                commands = functools.partial(command_line, plan.training)
                runner: GridRunner | RayRunner
                if arguments.launcher == "ray":
                    runner = RayRunner(commands, progress, arguments.jobs)
                else:
                    runner = GridRunner(commands, progress, arguments.jobs, folder.lock_descriptor)
                alone: list[Together] = [(run,) for run in todo]
                groups = side_by_side(todo) if arguments.together else alone
                failures = runner.run(groups)
        report(folder, runs, failures)
    except KeyboardInterrupt:
        again = invocation["command"] if arguments.out else f"{invocation['command']} --out {out}"
        console.print(f"Stopped; nothing is running any more. Go on by: {again}", markup=False)
        return 130
    finally:
        folder.close()
    for run, reason in failures.items():
        print(f"failed: {run.name}: {reason}", file=sys.stderr)
    console.print(f"Written to {out / 'results.csv'} and {out / 'index.html'}", markup=False)
    return 1 if failures else 0


def describe_call(module: str, given: list[str], jobs: int) -> dict[str, Any]:
    """Returns what a folder keeps of a call of `python -m module` with the arguments `given`."""
    return {
        "command": shlex.join(["python", "-m", module, *given]),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "jobs": jobs,
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.recovery", args=given)
    invocation = describe_call("benchmarks.recovery", given, arguments.jobs)
    try:
        # Said now, not after hours of training.
        if importlib.util.find_spec("rliable") is None:
            raise UserError("the statistics need rliable: pip install -e '.[benchmarks]'")
        return run_grid(arguments, make_plan(arguments), invocation)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
