"""What a start costs: from the command to the first iteration, without and with the cache.

    python -m benchmarks.cold_start --env half_cheetah

The same command runs twice in new processes: first with an empty cache of compiled programs, then
with what the first one left there. Before its first iteration a training measures the original
policy, from the OOD start and from ordinary ones; that is part of what a start costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.compilations import CompilationCounter
from lamour_jax import policies
from lamour_jax.config import preset
from lamour_jax.errors import UserError

_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Arguments:
    """Time the first and the second start of a training."""

    env: str = "half_cheetah"
    """Robot."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    evaluation_episodes: int = 256
    """Episodes of each evaluation; the preset's by default."""


def counted_training() -> None:
    """Runs the training that the command line describes; prints its compilations as JSON."""
    from lamour_jax import train

    with CompilationCounter() as counter:
        status = train.main(sys.argv[1:])
    if status:
        sys.exit(status)
    print(json.dumps({"compiled": counter.compiled, "loaded": counter.loaded}))


def start(arguments: Arguments, cache: Path) -> dict[str, Any]:
    """Runs two iterations of a training in a process of its own; returns what it took.

    Raises:
        UserError: the training failed; the message has the last line that it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            *(sys.executable, "-c"),
            "from benchmarks.cold_start import counted_training; counted_training()",
            *options(arguments, run),
        ]
        root = str(Path(__file__).parents[1])
        environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": root}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        begin, first_iteration = time.perf_counter(), None
        with tempfile.TemporaryFile("w+") as said:
            child = subprocess.Popen(
                command, stdout=said, stderr=subprocess.STDOUT, env=environment
            )
            while child.poll() is None:
                if first_iteration is None and _has_content(run / "metrics.jsonl"):
                    first_iteration = time.perf_counter() - begin
                time.sleep(_POLL_SECONDS)
            total = time.perf_counter() - begin
            said.seek(0)
            last = said.read().strip().rpartition("\n")[2]
    if child.returncode or first_iteration is None:
        raise UserError(f"the training failed: {last}")
    return {"first_iteration_seconds": first_iteration, "total_seconds": total, **json.loads(last)}


def options(arguments: Arguments, run: Path) -> list[str]:
    """Returns the options of the training: two iterations, evaluated after the second.

    An iteration's metrics are written after its evaluation, if it has one; so the first has none.
    """
    iteration = preset(arguments.env, "recovery").ppo.batch_size
    return [
        *("--env", arguments.env, "--engine", arguments.engine, "--reward", "library"),
        *("--steps", str(2 * iteration), "--out", str(run)),
        *("--set", "evaluation.during_training=1"),
        *("--set", f"evaluation.episodes={arguments.evaluation_episodes}"),
    ]


def _has_content(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.cold_start", args=argv)
    table = Table("start", "first iteration done", "to the end", "compiled", "from the cache")
    try:
        if arguments.env not in policies.names():
            known = ", ".join(policies.names())
            raise UserError(f"unknown --env {arguments.env!r}; known: {known}")
        with tempfile.TemporaryDirectory() as cache:
            for name in ("first", "second"):
                took = start(arguments, Path(cache))
                table.add_row(
                    name,
                    f"{took['first_iteration_seconds']:.1f} s",
                    f"{took['total_seconds']:.1f} s",
                    str(took["compiled"]),
                    str(took["loaded"]),
                )
            size = sum(file.stat().st_size for file in Path(cache).rglob("*-cache"))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    console.print(table)
    console.print(f"The cache holds {size / 1024**2:.1f} MiB after one run of two iterations.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
