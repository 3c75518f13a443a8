"""Where an iteration's time goes, and what overlapping physics with learning could gain at most.

    python -m benchmarks.overlap --env half_cheetah,ant

First processor seconds of physics with the environment, of the policy, and of learning, which a
busy machine hardly changes. Then two independent trainings: one iteration of each in turn against
both at once, in two threads. Their physics takes turns, each batch on all cores, since engines of
equal models are one; the physics of one can run beside the learning of the other. Each stays
on-policy: a double-buffered rollout can hardly do better.
"""

from __future__ import annotations

import concurrent.futures
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import subjects
from benchmarks.throughput import names, spread
from envs.mujoco_engine import available_cores
from lamour_jax import policies
from lamour_jax.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Measure the shares of an iteration, and what overlapping them could gain."""

    env: str = "all"
    """all, or robots: ant,hopper."""
    num_envs: int = 64
    """Environments side by side."""
    unroll_length: int = 64
    """Control steps of each environment in an iteration."""
    repeats: int = 7
    """Turns: measurements of each."""


@dataclass(frozen=True)
class Overlap:
    """What was measured of a robot.

    Attributes:
        shares: processor seconds of physics, policy and learning over those of an iteration.
        bound: how many times faster all cores would be if none ever waited, with physics on all
            cores and the rest on one as it is now.
        gain: how many times faster two trainings at once are than in turn: median and quartiles.
    """

    shares: tuple[float, float, float]
    bound: float
    gain: dict[str, float]


def measure(name: str, arguments: Arguments) -> Overlap:
    """Measures a robot.

    Raises:
        UserError: impossible sizes.
    """
    workload = subjects.make_workload(name, "mujoco", arguments.num_envs, arguments.unroll_length)
    # Trainings of their own. What they share is the engine: whichever comes to it second waits.
    other = subjects.make_workload(name, "mujoco", arguments.num_envs, arguments.unroll_length)
    ours = subjects.Training(workload)
    parts = [subjects.environment(workload), ours.acting(), ours.training()]
    second = subjects.Training(other).training()
    first = parts[-1]
    seconds: list[list[float]] = [[] for _ in parts]
    gains = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:

        def both() -> None:
            for done in [pool.submit(subject.run) for subject in (first, second)]:
                done.result()

        def in_turn() -> None:
            first.run()
            second.run()

        for subject in (*parts, second):
            subject.run()
        for _ in range(arguments.repeats):
            for index, part in enumerate(parts):
                seconds[index].append(_seconds(part.run, time.process_time))
            gains.append(_seconds(in_turn, time.perf_counter) / _seconds(both, time.perf_counter))
    environment, acting, training = map(statistics.median, seconds)
    policy, learning = max(0.0, acting - environment), max(0.0, training - acting)
    total, cores = environment + policy + learning, available_cores()
    return Overlap(
        shares=(environment / total, policy / total, learning / total),
        bound=(environment / cores + policy + learning) / (total / cores),
        gain=spread(gains),
    )


def _seconds(run: Callable[[], object], clock: Callable[[], float]) -> float:
    begin = clock()
    run()
    return clock() - begin


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.overlap", args=argv)
    table = Table("robot", "physics + environment", "policy", "learning", "bound", "two at once")
    try:
        if min(arguments.num_envs, arguments.unroll_length, arguments.repeats) < 1:
            raise UserError("--num-envs, --unroll-length and --repeats must be at least 1")
        for name in names("--env", arguments.env, policies.names(), "all"):
            found = measure(name, arguments)
            gain = found.gain
            table.add_row(
                name,
                *(f"{share:.0%}" for share in found.shares),
                f"{found.bound:.2f} x",
                f"{gain['median']:.2f} x ({gain['low']:.2f} - {gain['high']:.2f})",
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    width = None if sys.stdout.isatty() else 120
    Console(highlight=False, width=width).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
