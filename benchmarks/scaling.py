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

import dataclasses
import datetime
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import matplotlib
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import subjects
from benchmarks.throughput import machine_facts, sizes, spread, take_turns
from envs.physics.choice import ENGINES, resolve
from lamour_jax.errors import UserError
from lamour_jax.policies import originals
from lamour_jax.robot_settings import preset
from lamour_jax.system import system_facts

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
    """Transitions of a gradient step then, and in the second series on each; the preset's if 0."""
    unroll_length: int = 32
    """Control steps of each environment in one measurement."""
    repeats: int = 5
    """Turns: measurements of each size."""
    out: Path | None = None
    """JSON file to write, the plot beside it; runs/scaling-<time>.json by default."""


@dataclass(frozen=True)
class Axis:
    """One thing that is varied.

    Attributes:
        name: as shown.
        values: its sizes.
        points: `(num_envs, hidden units, devices)` of each size.
        minibatches: transitions of a gradient step of each size; without any, the preset's.
    """

    name: str
    values: list[int]
    points: list[tuple[int, int, int]]
    minibatches: tuple[int, ...] = ()


def axes(arguments: Arguments) -> list[Axis]:
    """Returns what is varied, checked.

    Raises:
        UserError: an unknown name, or a size that is not a positive number.
    """
    for option, name, known in (
        ("--env", arguments.env, originals.names()),
        ("--engine", arguments.engine, ENGINES),
    ):
        if name not in known:
            raise UserError(f"unknown {option} {name!r}; known: {', '.join(known)}")
    for option in ("unroll_length", "repeats", "device_envs"):
        if getattr(arguments, option) < 1:
            name = option.replace("_", "-")
            raise UserError(f"--{name} must be at least 1, not {getattr(arguments, option)}")
    if arguments.out is not None and not arguments.out.parent.is_dir():
        raise UserError(f"--out {arguments.out}: the folder {arguments.out.parent} does not exist")
    num_envs = sizes("--num-envs", arguments.num_envs)
    hidden = sizes("--hidden", arguments.hidden)
    chosen = [
        Axis("environments", num_envs, [(count, _HIDDEN, 1) for count in num_envs]),
        Axis("hidden units", hidden, [(_NUM_ENVS, units, 1) for units in hidden]),
    ]
    if arguments.devices:
        devices = sizes("--devices", arguments.devices)
        if max(devices) > len(jax.devices()):
            raise UserError(f"--devices {max(devices)}: there are only {len(jax.devices())} here")
        count, minibatch = arguments.device_envs, arguments.device_minibatch
        minibatch = minibatch or preset(arguments.env, "recovery").ppo.minibatch_size
        if minibatch < 1:
            raise UserError(f"--device-minibatch must be at least 1, not {minibatch}")
        chosen += [
            Axis(
                "devices",
                devices,
                [(count, _HIDDEN, number) for number in devices],
                (minibatch,) * len(devices),
            ),
            Axis(
                f"devices, {count:,} environments on each",
                devices,
                [(count * number, _HIDDEN, number) for number in devices],
                tuple(minibatch * number for number in devices),
            ),
        ]
    return chosen


def measure(axis: Axis, arguments: Arguments) -> list[dict[str, Any]]:
    """Returns, for each size of an axis, seconds per 1,000 environment steps and memory."""
    measured = []
    minibatches = axis.minibatches or (0,) * len(axis.points)
    for (num_envs, units, devices), minibatch in zip(axis.points, minibatches, strict=True):
        workload = subjects.make_workload(
            arguments.env,
            arguments.engine,
            num_envs,
            arguments.unroll_length,
            (units, units),
            devices,
            minibatch,
        )
        training = subjects.Training(workload)
        measured.append([subjects.environment(workload), training.acting(), training.training()])
    take_turns([subject for group in measured for subject in group], arguments.repeats)
    return [
        {
            "num_envs": num_envs,
            "hidden_units": units,
            "devices": devices,
            "bytes_per_env": group[-1].bytes_per_env,
            "compile_seconds": group[-1].compile_seconds,
            "seconds_per_1000_steps": {
                subject.name: spread([1000 / rate for rate in subject.rates]) for subject in group
            },
        }
        for (num_envs, units, devices), group in zip(axis.points, measured, strict=True)
    ]


def print_table(console: Console, axis: Axis, points: list[dict[str, Any]]) -> None:
    """Prints what an axis costs, in milliseconds per 1,000 environment steps."""
    table = Table(title=f"ms per 1,000 environment steps, by {axis.name}", title_justify="left")
    for column in (axis.name, *_PARTS.values(), "memory/env", "compiling"):
        table.add_column(column, justify="right")
    for value, point in zip(axis.values, points, strict=True):
        cost, memory = point["seconds_per_1000_steps"], point["bytes_per_env"]
        table.add_row(
            f"{value:,}",
            *(f"{1000 * cost[part]['median']:.1f}" for part in _PARTS),
            "" if memory is None else f"{memory / 1024:.1f} KiB",
            f"{point['compile_seconds']:.1f} s",
        )
    console.print(table)


def plot(report: dict[str, Any], chosen: list[Axis], path: Path) -> None:
    """Draws the cost of each part over each axis, quartiles shaded."""
    figure, panels = plt.subplots(1, len(chosen), figsize=(5.2 * len(chosen), 3.8), sharey=True)
    for axis, panel in zip(chosen, panels, strict=True):
        points = report["axes"][axis.name]
        for part, label in _PARTS.items():
            costs = [point["seconds_per_1000_steps"][part] for point in points]
            low, middle, high = (
                [1000 * cost[which] for cost in costs] for which in ("low", "median", "high")
            )
            [line] = panel.plot(axis.values, middle, marker="o", label=label)
            panel.fill_between(axis.values, low, high, color=line.get_color(), alpha=0.2)
        panel.set_xscale("log", base=2)
        panel.set_xticks(axis.values, [f"{value:,}" for value in axis.values])
        panel.set_xticks([], minor=True)
        panel.set_xlabel(axis.name)
        panel.grid(alpha=0.3)
    panels[0].set_ylim(bottom=0)  # of all, but only once all are drawn
    panels[0].set_ylabel("ms per 1,000 environment steps")
    panels[0].legend()
    engine, device = report["engine"], report["device"]
    figure.suptitle(f"{report['arguments']['env']} on {engine}, {device}")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.scaling", args=given)
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    now = datetime.datetime.now().astimezone()
    try:
        chosen = axes(arguments)
        machine, facts = machine_facts(), system_facts()
        measured = {}
        for axis in chosen:
            measured[axis.name] = measure(axis, arguments)
            print_table(console, axis, measured[axis.name])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.scaling", *given]),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine,
        **facts,
        "engine": resolve(arguments.engine),
        "arguments": {k: v for k, v in dataclasses.asdict(arguments).items() if k != "out"},
        "peak_device_bytes": subjects.peak_device_bytes(),
        "axes": measured,
    }
    out = arguments.out or Path("runs") / f"scaling-{now:%Y%m%d-%H%M%S}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    plot(report, chosen, out.with_suffix(".png"))
    console.print(f"Written to {out} and {out.with_suffix('.png')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
