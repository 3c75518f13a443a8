"""Banks of states that starts draw from: one `.npz` a start, among the robot's own files.

They ship, so that a reset costs one look-up and is the same on every machine. `envs.tools` builds
them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


def load(file: Path) -> np.ndarray:
    """Returns the bank's `qpos`, `(states, nq)`.

    Raises:
        FileNotFoundError: there is none.
    """
    return _read(file, "qpos")


def load_moving(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns `qpos` `(states, nq)` and `qvel` `(states, nv)` of a bank that has both.

    Raises:
        FileNotFoundError: there is none.
        KeyError: its robots are at rest.
    """
    return _read(file, "qpos"), _read(file, "qvel")


def save(file: Path, qpos: np.ndarray, qvel: np.ndarray | None = None) -> None:
    """Writes `qpos` `(states, nq)`, and `qvel` `(states, nv)` if they move, in single precision."""
    arrays = {"qpos": qpos} if qvel is None else {"qpos": qpos, "qvel": qvel}
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez_compressed(file, allow_pickle=False, **single)


def _read(file: Path, name: str) -> np.ndarray:
    with np.load(file, allow_pickle=False) as archive:
        column: np.ndarray = archive[name]
        return column
