"""Banks of poses that starts draw from: `starts/<robot>-<start>.npz` beside this file.

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
    """Returns the bank's `qpos`, `(poses, nq)`.

    Raises:
        FileNotFoundError: there is none.
    """
    with np.load(_file(robot, start), allow_pickle=False) as archive:
        poses: np.ndarray = archive["qpos"]
        return poses


def save(robot: str, start: str, qpos: np.ndarray) -> Path:
    """Writes a bank of `qpos` `(poses, nq)` in single precision, and returns its file."""
    file = _file(robot, start)
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, qpos=qpos.astype(np.float32))
    return file


def _file(robot: str, start: str) -> Path:
    return _FOLDER / f"{robot}-{start}.npz"
