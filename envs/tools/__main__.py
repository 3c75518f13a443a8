"""Prepares a robot, one that ships or the user's own: `python -m envs.tools bank --env ROBOT`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tyro

from envs import EnvironmentUnavailable, RecoveryEnv, banks, registry
from envs.tools import wide_starts

WIDE = "ood-wide"


app = tyro.extras.SubcommandApp()


@app.command
def bank(env: str, start: str = WIDE, seed: int = 0) -> None:
    """Make a bank of starts and keep it among the robot's files, where the start is found.

    Args:
        env: Robot: its name, your folder, or your FILE.py:CLASS.
        start: ood-wide (random poses, settled), or a bank that the robot's own banks.py makes.
        seed: Of the poses.
    """
    robot = registry.get(env)
    qpos, qvel = _make(robot, start, seed)
    file = robot.file(f"{start}.npz")
    banks.save(file, qpos, qvel)
    print(f"{file}: {len(qpos)} states, {file.stat().st_size / 1024:.0f} KiB")


@app.command
def starts(env: str) -> None:
    """List the starts of a robot, and the banks that can be made for it.

    Args:
        env: Robot: its name, your folder, or your FILE.py:CLASS.
    """
    robot = registry.get(env)
    print(f"starts: {', '.join(robot.all_starts())}")
    print(f"banks: {', '.join([WIDE, *_own_banks(robot)])}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    try:
        app.cli(prog="python -m envs.tools", args=argv)
    except (EnvironmentUnavailable, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _make(robot: type[RecoveryEnv], start: str, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns `qpos` `(states, nq)` and, where they move, `qvel` `(states, nv)` of a bank.

    Raises:
        ValueError: nothing makes a bank of that name.
        RuntimeError: too few poses of the robot come to rest unhealthy.
    """
    if start == WIDE:
        return wide_starts.build(robot(engine="mujoco"), seed=seed), None
    makers = _own_banks(robot)
    if start not in makers:
        raise ValueError(f"unknown --start {start!r}; known: {', '.join([WIDE, *makers])}")
    made = makers[start](seed=seed)
    return made if isinstance(made, tuple) else (made, None)


def _own_banks(robot: type[RecoveryEnv]) -> dict[str, Callable[..., Any]]:
    """Returns what the robot's `banks.py` makes, by the name of the start; nothing without one."""
    file = robot.file("banks.py")
    if not file.is_file():
        return {}
    spec = importlib.util.spec_from_file_location(f"{robot.name}_banks", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    makers: dict[str, Callable[..., Any]] = module.BANKS
    return makers


if __name__ == "__main__":
    sys.exit(main())
