"""How the cost of training grows with environments, model size and devices, with a plot.

    python -m benchmarks.scaling --env half_cheetah --num-envs 16,64,256,1024 --hidden 32,64,128,256
    python -m benchmarks.scaling --engine mjx --devices 1,2,4,8 --device-envs 4096 \
        --device-minibatch 8192

Over devices twice: the same environments spread over more of them, and so many environments (and
so large minibatches) on each.

Where there are no accelerators, XLA_FLAGS=--xla_force_host_platform_device_count=8 makes eight
devices of the same cores: that shows what spreading costs, not what it gains.

As `benchmarks.throughput` does, all sizes are measured in turns in one process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import matplotlib
from rich.console import Console
from rich.table import Table

from benchmarks import results, subjects
from benchmarks.options import at_least_one, chosen, sizes
from benchmarks.subjects import Subject, spread, take_turns
from envs.physics.choice import ENGINES, resolve
from lamour_jax.errors import UserError
from lamour_jax.policies import originals
from lamour_jax.robot_settings import preset

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# The network's size while others vary, and the number of environments while it does.
_HIDDEN, _NUM_ENVS = 64, 64
# The parts of an iteration, and how they are drawn.
_PARTS = {"environment": "physics + environment", "acting": "+ policy", "training": "+ learning"}


@dataclass(frozen=True)
class Arguments:
    """Measure how cost grows with the number of environments and with the networks' size."""

    env: str = "half_cheetah"
    """Robot."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    num_envs: str = "16,64,256,1024"
    """Environments side by side, with two hidden layers of 64 units."""
    hidden: str = "32,64,128,256"
    """Units of each of two hidden layers, with 64 environments."""
    devices: str = ""
    """Devices to spread environments over, such as 1,2,4,8; without any, not measured."""
    device_envs: int = 64
    """Environments that are spread over the devices; in a second series, on each of them."""
    device_minibatch: int = 0
    """Transitions of a gradient step then, and in the second series on each; the robot's if 0."""
    unroll_length: int = 32
    """Control steps of each environment in one measurement."""
    repeats: int = 5
    """Turns: measurements of each size."""
    out: Path | None = None
    """CSV file to write, the plot beside it; runs/scaling-<time>.csv by default."""
    keep: bool = False
    """Add the measurements to benchmarks/results/scaling.csv."""


@dataclass(frozen=True)
class Point:
    """One size: of it, `value` is what its axis varies; a minibatch of 0 is the robot's."""

    value: int
    num_envs: int = _NUM_ENVS
    hidden_units: int = _HIDDEN
    devices: int = 1
    minibatch: int = 0


def axes(arguments: Arguments) -> dict[str, list[Point]]:
    """Returns what is varied, checked: the sizes by the name of their axis.

    Raises:
        UserError: an unknown name, or a size that is not a positive number.
    """
    chosen("--env", arguments.env, originals.names(), and_all=False)
    chosen("--engine", arguments.engine, ENGINES, and_all=False)
    at_least_one(arguments, "unroll_length", "repeats", "device_envs")
    found = {
        "environments": [
            Point(count, num_envs=count) for count in sizes("--num-envs", arguments.num_envs)
        ],
        "hidden units": [
            Point(units, hidden_units=units) for units in sizes("--hidden", arguments.hidden)
        ],
    }
    if arguments.devices:
        devices = sizes("--devices", arguments.devices)
        if max(devices) > len(jax.devices()):
            raise UserError(f"--devices {max(devices)}: there are only {len(jax.devices())} here")
        count, minibatch = arguments.device_envs, arguments.device_minibatch
        minibatch = minibatch or preset(arguments.env, "recovery").ppo.minibatch_size
        if minibatch < 1:
            raise UserError(f"--device-minibatch must be at least 1, not {minibatch}")
        found["devices"] = [Point(n, count, devices=n, minibatch=minibatch) for n in devices]
        found[f"devices, {count:,} environments on each"] = [
            Point(n, count * n, devices=n, minibatch=minibatch * n) for n in devices
        ]
    return found


def measure(axis: str, points: list[Point], arguments: Arguments) -> list[dict[str, Any]]:
    """Returns, for each size of an axis, milliseconds per 1,000 environment steps and memory."""
    measured = [_parts(point, arguments) for point in points]
    take_turns([subject for parts in measured for subject in parts], arguments.repeats)
    found = []
    for point, parts in zip(points, measured, strict=True):
        row: dict[str, Any] = {
            "robot": arguments.env,
            "engine": resolve(arguments.engine),
            "axis": axis,
            "value": point.value,
            "num_envs": point.num_envs,
            "hidden_units": point.hidden_units,
            "devices": point.devices,
            "compile_seconds": parts[-1].compile_seconds,
            "bytes_per_env": parts[-1].bytes_per_env,
        }
        for subject in parts:
            cost = spread([1e6 / rate for rate in subject.rates])
            row[f"{subject.name}_ms"] = cost.median
            row[f"{subject.name}_low"], row[f"{subject.name}_high"] = cost.low, cost.high
        found.append(row)
    return found


def _parts(point: Point, arguments: Arguments) -> list[Subject]:
    workload = subjects.make_workload(
        arguments.env,
        arguments.engine,
        point.num_envs,
        arguments.unroll_length,
        (point.hidden_units,) * 2,
        point.devices,
        point.minibatch,
    )
    training = subjects.Training(workload)
    return [subjects.environment(workload), training.acting(), training.training()]


def print_table(console: Console, axis: str, measured: list[dict[str, Any]]) -> None:
    """Prints what an axis costs, in milliseconds per 1,000 environment steps."""
    table = Table(title=f"ms per 1,000 environment steps, by {axis}", title_justify="left")
    for column in (axis, *_PARTS.values(), "memory/env", "compiling"):
        table.add_column(column, justify="right")
    for row in measured:
        memory = row["bytes_per_env"]
        table.add_row(
            f"{row['value']:,}",
            *(f"{row[f'{part}_ms']:.1f}" for part in _PARTS),
            "" if memory is None else f"{memory / 1024:.1f} KiB",
            f"{row['compile_seconds']:.1f} s",
        )
    console.print(table)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws the cost of each part over each axis, quartiles shaded."""
    measured = {
        axis: [row for row in rows if row["axis"] == axis]
        for axis in dict.fromkeys(row["axis"] for row in rows)
    }
    figure, panels = plt.subplots(1, len(measured), figsize=(5.2 * len(measured), 3.8), sharey=True)
    for (axis, points), panel in zip(measured.items(), panels, strict=True):
        values = [row["value"] for row in points]
        for part, label in _PARTS.items():
            low, middle, high = (
                [row[f"{part}_{k}"] for row in points] for k in ("low", "ms", "high")
            )
            [line] = panel.plot(values, middle, marker="o", label=label)
            panel.fill_between(values, low, high, color=line.get_color(), alpha=0.2)
        panel.set_xscale("log", base=2)
        panel.set_xticks(values, [f"{value:,}" for value in values])
        panel.set_xticks([], minor=True)
        panel.set_xlabel(axis)
        panel.grid(alpha=0.3)
    panels[0].set_ylim(bottom=0)  # of all, but only once all are drawn
    panels[0].set_ylabel("ms per 1,000 environment steps")
    panels[0].legend()
    figure.suptitle(f"{rows[0]['robot']} on {rows[0]['engine']}")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def run(arguments: Arguments, console: Console) -> list[dict[str, Any]]:
    """Measures and prints; returns the rows of the table.

    Raises:
        UserError: as `axes`.
    """
    found = []
    for axis, points in axes(arguments).items():
        rows = measure(axis, points, arguments)
        print_table(console, axis, rows)
        found += rows
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return results.program("scaling", Arguments, run, argv, plot)


if __name__ == "__main__":
    sys.exit(main())
