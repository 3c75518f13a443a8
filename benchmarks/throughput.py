"""Environment steps per second: physics, + policy, + learning; and what others reach.

    python -m benchmarks.throughput --env half_cheetah --num-envs 64,256 --compare rollout,brax,mjx

All subjects of a size run in turns, several times over. The machine's mood then hits all of them
alike, and the ratios, taken turn by turn, are what is worth quoting. Compilation is timed apart.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import platform
import resource
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import compare_venv, rivals, subjects
from benchmarks.subjects import Subject, Workload
from envs.physics.choice import ENGINES
from envs.physics.mujoco_engine import available_cores
from lamour_jax.errors import UserError
from lamour_jax.policies import originals
from lamour_jax.system import system_facts

# What training is compared with, by name.
COMPARISONS: dict[str, Callable[[Workload], Subject]] = {
    "rollout": subjects.bare_rollout,
    "engine": subjects.engine_alone,
    "mjx": lambda workload: subjects.bare_mjx(workload, default_solver=False),
    "mjx-default": lambda workload: subjects.bare_mjx(workload, default_solver=True),
    "brax": rivals.brax_ppo,
    "envpool": rivals.envpool,
}
MEANINGS = {
    "rollout": "bare mujoco.rollout on all cores: the ceiling on a host",
    "engine": "the engine of our environment in a compiled program, physics alone",
    "mjx": "vmap(mjx.step) with the solver settings of our MJX engine",
    "mjx-default": "vmap(mjx.step) with the model's own solver settings",
    "brax": "Brax's PPO over MJX on the same environment, in its own Python",
    "envpool": "EnvPool's environment of the same robot, random actions",
}
# What of ours does the same work: the ratio to it is like for like, where it is measured.
ALIKE = {
    "rollout": "engine",
    "mjx": "engine",
    "mjx-default": "engine",
    "brax": "training",
    "envpool": "environment",
}
# Above this many other busy processes, figures of one run are no record.
_BUSY = 0.5


@dataclass(frozen=True)
class Arguments:
    """Measure environment steps per second."""

    env: str = "all"
    """all, or robots: ant,hopper."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    num_envs: str = "256"
    """Environments side by side, several sizes as 256,1024,4096."""
    unroll_length: int = 64
    """Control steps of each environment in one measurement."""
    repeats: int = 5
    """Turns: measurements of each subject."""
    compare: str = "rollout"
    """What to compare with: rollout, engine, mjx, mjx-default, brax, envpool; none for nothing."""
    out: Path | None = None
    """JSON file to write; runs/throughput-<time>.json by default."""


@dataclass(frozen=True)
class Plan:
    """What the arguments mean, checked."""

    envs: list[str]
    sizes: list[int]
    compare: list[str]


def make_plan(arguments: Arguments) -> Plan:
    """Checks names and sizes before anything is built.

    Raises:
        UserError: an unknown name (the known ones are listed), or a size that is not positive.
    """
    envs = names("--env", arguments.env, originals.names(), "all")
    names("--engine", arguments.engine, ENGINES)
    compare = (
        [] if arguments.compare == "none" else names("--compare", arguments.compare, COMPARISONS)
    )
    for option in ("unroll_length", "repeats"):
        value = getattr(arguments, option)
        if value < 1:
            raise UserError(f"--{option.replace('_', '-')} must be at least 1, not {value}")
    if arguments.out is not None and not arguments.out.parent.is_dir():
        raise UserError(f"--out {arguments.out}: the folder {arguments.out.parent} does not exist")
    if {"brax", "envpool"} & set(compare):
        compare_venv.python()
    return Plan(envs, sizes("--num-envs", arguments.num_envs), compare)


def sizes(option: str, given: str) -> list[int]:
    """Returns the numbers in `256,1024`.

    Raises:
        UserError: something else, or a number below 1.
    """
    try:
        numbers = [int(part) for part in given.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise UserError(f"{option} must be numbers of at least 1 as in 256,1024, not {given!r}")
    return list(dict.fromkeys(numbers))


def names(option: str, given: str, known: Iterable[str], everything: str = "") -> list[str]:
    """Returns the known names in `a,b`, all of them for the word `everything`.

    Raises:
        UserError: an unknown name; the known ones are listed.
    """
    known = list(known)
    if given == everything:
        return known
    chosen = [name.strip() for name in given.split(",")]
    for name in chosen:
        if name not in known:
            listed = [everything, *known] if everything else known
            raise UserError(f"unknown {option} {name!r}; known: {', '.join(listed)}")
    return list(dict.fromkeys(chosen))


def take_turns(measured: list[Subject], repeats: int) -> None:
    """Measures each subject `repeats` times, all of them in every turn, warmed up."""
    for subject in measured:
        subject.run()
    for turn in range(repeats):
        # Whoever comes first differs, so that nobody always follows the same neighbour.
        start = turn % len(measured)
        for subject in measured[start:] + measured[:start]:
            subject.measure()


def spread(values: list[float]) -> dict[str, float]:
    """Returns the median, and the quartiles around it."""
    if len(values) == 1:
        return {"median": values[0], "low": values[0], "high": values[0]}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def rows(measured: list[Subject], training: Subject) -> dict[str, dict[str, Any]]:
    """Returns each subject's rate and what ours reach of it, turn by turn, by name."""
    ours = {subject.name: subject for subject in measured}

    def alike_over(subject: Subject) -> dict[str, float] | None:
        same_work = ours.get(ALIKE.get(subject.name, ""))
        return None if same_work is None else _ratio(same_work, subject)

    return {
        subject.name: {
            "steps_per_second": spread(subject.rates),
            "training_over_this": _ratio(training, subject),
            "alike_over_this": alike_over(subject),
            "compile_seconds": subject.compile_seconds,
            "bytes_per_env": subject.bytes_per_env,
            "rates": subject.rates,
        }
        for subject in measured
    }


def _ratio(ours: Subject, other: Subject) -> dict[str, float]:
    return spread([a / b for a, b in zip(ours.rates, other.rates, strict=True)])


def measure(name: str, num_envs: int, arguments: Arguments, compare: list[str]) -> dict[str, Any]:
    """Returns what was measured of a robot at one size.

    Raises:
        UserError: impossible sizes, an engine that cannot run here, or a rival that is not there.
    """
    workload = subjects.make_workload(name, arguments.engine, num_envs, arguments.unroll_length)
    ours = subjects.Training(workload)
    with contextlib.ExitStack() as closing:
        compared = []
        for other in compare:
            compared.append(COMPARISONS[other](workload))
            closing.callback(compared[-1].close)
        training, reward = ours.training(), ours.reward()
        measured = [subjects.environment(workload), ours.acting(), training, reward, *compared]
        take_turns(measured, arguments.repeats)
    return {
        "num_envs": num_envs,
        "engine": workload.env.engine.name,
        "frame_skip": workload.env.frame_skip,
        "subjects": rows(measured, training),
        # Seconds of the reward over seconds of training, for as many steps.
        "reward_share": spread(
            [whole / part for whole, part in zip(training.rates, reward.rates, strict=True)]
        ),
    }


def print_tables(console: Console, name: str, results: list[dict[str, Any]]) -> None:
    """Prints a robot's three columns by size, and what training reaches of the others."""
    engine, frame_skip = results[0]["engine"], results[0]["frame_skip"]
    table = Table(
        title=f"{name} on {engine}: environment steps per second ({frame_skip} physics steps each)",
        title_justify="left",
    )
    columns = ("envs", "physics + environment", "+ policy", "+ learning", "physics steps/s")
    for column in (*columns, "compiling", "memory/env", "reward"):
        table.add_column(column, justify="right")
    for result in results:
        of = result["subjects"]
        training = of["training"]
        compiling = sum(of[part]["compile_seconds"] for part in ("environment", "acting"))
        memory = training["bytes_per_env"]
        table.add_row(
            f"{result['num_envs']:,}",
            *(_rate(of[part]) for part in ("environment", "acting", "training")),
            f"{training['steps_per_second']['median'] * frame_skip:,.0f}",
            f"{compiling + training['compile_seconds']:.1f} s",
            "" if memory is None else f"{memory / 1024:.1f} KiB",
            f"{result['reward_share']['median']:.2%}",
        )
    console.print(table)
    compared = [other for other in COMPARISONS if other in results[0]["subjects"]]
    if not compared:
        return
    table = Table(title=f"{name}: our training against others", title_justify="left")
    compared_by = ("steps/s", "ours is", "quartiles", "like for like")
    for column in ("envs", "other", *compared_by, "compiling", "memory/env"):
        table.add_column(column, justify="left" if column == "other" else "right")
    for result in results:
        for other in compared:
            row = result["subjects"][other]
            ratio, seconds = row["training_over_this"], row["compile_seconds"]
            alike = row["alike_over_this"]
            table.add_row(
                f"{result['num_envs']:,}",
                other,
                _rate(row),
                f"{ratio['median']:.2f} x",
                f"{ratio['low']:.2f} - {ratio['high']:.2f}",
                "" if alike is None else f"{ALIKE[other]} {alike['median']:.2f} x",
                "" if seconds is None else f"{seconds:.1f} s",
                "" if row["bytes_per_env"] is None else f"{row['bytes_per_env'] / 1024:.1f} KiB",
            )
    console.print(table)
    for other in compared:
        console.print(f"{other}: {MEANINGS[other]}")


def _rate(row: dict[str, Any]) -> str:
    rate = row["steps_per_second"]
    half = (rate["high"] - rate["low"]) / 2 / rate["median"]
    return f"{rate['median']:,.0f} ±{half:.0%}"


def machine_facts() -> dict[str, Any]:
    """Returns what the numbers were measured on, and how busy it was before."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return {
        "platform": platform.platform(),
        "cpu": cpu,
        "cores": available_cores(),
        "load_average": os.getloadavg()[0],
    }


def run(arguments: Arguments, plan: Plan, console: Console) -> dict[str, Any]:
    """Measures and prints; returns the report.

    Raises:
        UserError: as `measure`.
    """
    facts, machine = system_facts(), machine_facts()
    console.print(f"On {facts['device']}, {arguments.repeats} turns")
    if machine["load_average"] > _BUSY:
        console.print(
            f"The machine is busy (load average {machine['load_average']:.1f}): "
            "quote ratios only, and not even those to a few percent"
        )
    robots = {}
    for name in plan.envs:
        robots[name] = [measure(name, num_envs, arguments, plan.compare) for num_envs in plan.sizes]
        print_tables(console, name, robots[name])
    device_bytes = subjects.peak_device_bytes()
    if device_bytes is not None:
        console.print(f"At most {device_bytes / 2**20:,.0f} MiB of a device's memory in use")
    return {
        "machine": machine,
        **facts,
        "arguments": {k: v for k, v in dataclasses.asdict(arguments).items() if k != "out"},
        "peak_device_bytes": device_bytes,
        # Linux counts in KiB.
        "peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "robots": robots,
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.throughput", args=given)
    # In a file or a pipe, tables keep their columns.
    width = None if sys.stdout.isatty() else 120
    console = Console(highlight=False, soft_wrap=True, width=width)
    now = datetime.datetime.now().astimezone()
    try:
        report = run(arguments, make_plan(arguments), console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    out = arguments.out or Path("runs") / f"throughput-{now:%Y%m%d-%H%M%S}.json"
    out.parent.mkdir(exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.throughput", *given])
    report = {"command": command, "date": now.isoformat(timespec="seconds"), **report}
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    console.print(f"Written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
