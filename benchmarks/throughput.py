"""Environment steps per second: physics, + policy, + learning; and what others reach.

    python -m benchmarks.throughput --env half_cheetah --num-envs 64,256 --compare rollout,brax,mjx

All subjects of a size run in turns, several times over. The machine's mood then hits all of them
alike, and the ratios, taken turn by turn, are what is worth quoting. Compilation is timed apart.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import results, rivals, subjects
from benchmarks.options import at_least_one, chosen, sizes
from benchmarks.subjects import Subject, Workload, spread, take_turns
from envs.physics.choice import ENGINES
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
    """CSV file to write; runs/throughput-<time>.csv by default."""
    keep: bool = False
    """Add the measurements to benchmarks/results/throughput.csv."""


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
    envs = chosen("--env", arguments.env, originals.names())
    chosen("--engine", arguments.engine, ENGINES, and_all=False)
    compare = []
    if arguments.compare != "none":
        compare = chosen("--compare", arguments.compare, COMPARISONS, and_all=False)
    at_least_one(arguments, "unroll_length", "repeats")
    if {"brax", "envpool"} & set(compare):
        rivals.python()
    return Plan(envs, sizes("--num-envs", arguments.num_envs), compare)


def rows(measured: list[Subject], training: Subject) -> dict[str, dict[str, Any]]:
    """Returns each subject's rate and what ours reach of it, turn by turn, by name."""
    ours = {subject.name: subject for subject in measured}
    found = {}
    for subject in measured:
        rate, over = spread(subject.rates), _ratio(training, subject)
        alike = ours.get(ALIKE.get(subject.name, ""))
        found[subject.name] = {
            "subject": subject.name,
            "steps_per_second": rate.median,
            "low": rate.low,
            "high": rate.high,
            "training_over_this": over.median,
            "over_low": over.low,
            "over_high": over.high,
            "alike_over_this": None if alike is None else _ratio(alike, subject).median,
            "compile_seconds": subject.compile_seconds,
            "bytes_per_env": subject.bytes_per_env,
        }
    return found


def _ratio(ours: Subject, other: Subject) -> subjects.Spread:
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
    about = {"robot": name, "num_envs": num_envs, "engine": workload.env.engine.name}
    return {
        **about,
        "frame_skip": workload.env.frame_skip,
        "rows": {part: about | row for part, row in rows(measured, training).items()},
    }


def print_tables(console: Console, measured: list[dict[str, Any]]) -> None:
    """Prints a robot's rates by size, and what training reaches of the others."""
    name, engine, frame_skip = (measured[0][key] for key in ("robot", "engine", "frame_skip"))
    table = Table(
        title=f"{name} on {engine}: environment steps per second ({frame_skip} physics steps each)",
        title_justify="left",
    )
    columns = ("envs", "physics + environment", "+ policy", "+ learning", "physics steps/s")
    for column in (*columns, "compiling", "memory/env", "reward"):
        table.add_column(column, justify="right")
    for result in measured:
        of = result["rows"]
        training = of["training"]
        parts = [of[part] for part in ("environment", "acting", "training")]
        table.add_row(
            f"{result['num_envs']:,}",
            *map(_rate, parts),
            f"{training['steps_per_second'] * frame_skip:,.0f}",
            f"{sum(part['compile_seconds'] for part in parts):.1f} s",
            _memory(training),
            # Seconds of the reward over seconds of training, for as many steps.
            f"{of['reward']['training_over_this']:.2%}",
        )
    console.print(table)
    compared = [other for other in COMPARISONS if other in measured[0]["rows"]]
    if compared:
        _print_comparison(console, measured, compared)


def _print_comparison(
    console: Console, measured: list[dict[str, Any]], compared: list[str]
) -> None:
    title = f"{measured[0]['robot']}: our training against others"
    table = Table(title=title, title_justify="left")
    compared_by = ("steps/s", "ours is", "quartiles", "like for like")
    for column in ("envs", "other", *compared_by, "compiling", "memory/env"):
        table.add_column(column, justify="left" if column == "other" else "right")
    for result in measured:
        for other in compared:
            row = result["rows"][other]
            alike, seconds = row["alike_over_this"], row["compile_seconds"]
            table.add_row(
                f"{result['num_envs']:,}",
                other,
                _rate(row),
                f"{row['training_over_this']:.2f} x",
                f"{row['over_low']:.2f} - {row['over_high']:.2f}",
                "" if alike is None else f"{ALIKE[other]} {alike:.2f} x",
                "" if seconds is None else f"{seconds:.1f} s",
                _memory(row),
            )
    console.print(table)
    for other in compared:
        console.print(f"{other}: {MEANINGS[other]}")


def _rate(row: dict[str, Any]) -> str:
    half = (row["high"] - row["low"]) / 2 / row["steps_per_second"]
    return f"{row['steps_per_second']:,.0f} ±{half:.0%}"


def _memory(row: dict[str, Any]) -> str:
    return "" if row["bytes_per_env"] is None else f"{row['bytes_per_env'] / 1024:.1f} KiB"


def run(arguments: Arguments, console: Console) -> list[dict[str, Any]]:
    """Measures and prints; returns the rows of the table.

    Raises:
        UserError: as `make_plan` and `measure`.
    """
    plan = make_plan(arguments)
    console.print(f"On {system_facts()['device']}, {arguments.repeats} turns")
    load = os.getloadavg()[0]
    if load > _BUSY:
        console.print(
            f"The machine is busy (load average {load:.1f}): "
            "quote ratios only, and not even those to a few percent"
        )
    found: list[dict[str, Any]] = []
    for name in plan.envs:
        measured = [measure(name, size, arguments, plan.compare) for size in plan.sizes]
        print_tables(console, measured)
        found += [row for result in measured for row in result["rows"].values()]
    on_device = subjects.peak_device_bytes()
    if on_device is not None:
        console.print(f"At most {on_device / 2**20:,.0f} MiB of a device's memory in use")
    # Linux counts in KiB.
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    console.print(f"At most {resident:,.0f} MiB of the host's memory in use")
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return results.program("throughput", Arguments, run, argv)


if __name__ == "__main__":
    sys.exit(main())
