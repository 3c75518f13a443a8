"""Banks of states that starts draw from: `starts/<robot>-<start>.npz` beside this file.

They ship, so that a reset costs one look-up and is the same on every machine. `envs.wide_starts`
and `envs.way_up` build them.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

_FOLDER = Path(str(resources.files("envs"))) / "starts"


def exists(robot: str, start: str) -> bool:
    """Returns whether a bank ships for a start of a robot."""
    return _file(robot, start).is_file()


def load(robot: str, start: str) -> np.ndarray:
    """Returns the bank's `qpos`, `(states, nq)`.

    Raises:
        FileNotFoundError: there is none.
    """
    return _read(robot, start, "qpos")


def load_moving(robot: str, start: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns `qpos` `(states, nq)` and `qvel` `(states, nv)` of a bank that has both.

    Raises:
        FileNotFoundError: there is none.
        KeyError: its robots are at rest.
    """
    return _read(robot, start, "qpos"), _read(robot, start, "qvel")


def save(robot: str, start: str, qpos: np.ndarray, qvel: np.ndarray | None = None) -> Path:
    """Writes `qpos` `(states, nq)`, with `qvel` `(states, nv)` if they move; returns the file.

    In single precision.
    """
    file = _file(robot, start)
    file.parent.mkdir(exist_ok=True)
    if qvel is None:
        np.savez_compressed(file, qpos=qpos.astype(np.float32))
    else:
        np.savez_compressed(file, qpos=qpos.astype(np.float32), qvel=qvel.astype(np.float32))
    return file


def _read(robot: str, start: str, name: str) -> np.ndarray:
    with np.load(_file(robot, start), allow_pickle=False) as archive:
        column: np.ndarray = archive[name]
        return column


def _file(robot: str, start: str) -> Path:
    return _FOLDER / f"{robot}-{start}.npz"
