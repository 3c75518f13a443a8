"""Which runs train side by side, and which in turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from lamour_jax.distributed import from_main
from lamour_jax.ppo.learner import Learner
from lamour_jax.run.record import Run

# Share of the free memory that training may take.
_USABLE = 0.8


def turns(learner: Learner, runs: Sequence[Run], say: Callable[[str], None]) -> list[list[Run]]:
    """Returns the runs in groups, each to be trained side by side, one group after the other.

    Runs of a group stand at the same point or have a checkpoint in common. One alone is a group.

    Args:
        learner: says what a run needs.
        runs: differ in the seed.
        say: is told if there is too little memory for all at once.
    """
    if len(runs) == 1:
        return [list(runs)]
    most = _most_at_once(learner, runs, say)
    groups = []
    for alike in _at_the_same_point(runs):
        count = -(-len(alike) // most)
        size = -(-len(alike) // count)
        groups += [alike[first : first + size] for first in range(0, len(alike), size)]
    return groups


def _most_at_once(learner: Learner, runs: Sequence[Run], say: Callable[[str], None]) -> int:
    if runs[0].config.engine == "mjx-warp":
        say("the runs train in turns: environments of mjx-warp share a buffer")
        return 1
    needed, free = learner.bytes_per_member(), _free_bytes()
    most = json.loads(from_main(json.dumps(max(1, int(_USABLE * free / needed)))))
    if most < len(runs):
        say(
            f"the runs train in turns, {most} at once: each needs about {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free"
        )
    return int(most)


def _at_the_same_point(runs: Sequence[Run]) -> list[list[Run]]:
    """Returns the runs that have not begun, those on their way, and those that are trained."""
    there = json.loads(
        from_main(json.dumps([_checkpoints(run.folder.checkpoints) for run in runs]))
    )
    last = runs[0].config.iterations * runs[0].config.ppo.batch_size
    begun: list[list[Run]] = [[], [], []]
    common: set[int] | None = None
    for run, steps in zip(runs, there, strict=True):
        place = 0 if not steps else 2 if last in steps else 1
        begun[place].append(run)
        if place == 1:
            common = set(steps) if common is None else common & set(steps)
    fresh, under_way, trained = begun
    apart = [[run] for run in under_way] if common is not None and not common else [under_way]
    return [group for group in (trained, *apart, fresh) if group]


def _checkpoints(folder: Path) -> list[int]:
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(entry.name) for entry in entries if entry.name.isdigit())


def _free_bytes() -> float:
    """Returns the memory that is free on a device, or on the host where it computes."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats["bytes_in_use"])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return 1024.0 * float(found["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return float("inf")
