"""Recorded recoveries: how trained robots came back, state by state.

Reward code is tried on them before anyone trains on it: a reward should rise along a recovery that
happened, not only along a straight line between two poses. `README.md` says which runs they are of;
`python -m lamour_jax.recoveries RUN` records a finished run.
"""

from __future__ import annotations

from importlib import resources

import numpy as np


def names() -> list[str]:
    """Returns the robots of which recoveries ship."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".npz") for file in files if file.name.endswith(".npz"))


def load(env: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns recorded recoveries of a robot, None if none ship.

    Returns:
        Positions `(recoveries, states, nq)` and velocities `(recoveries, states, nv)`, float32,
        from an out-of-distribution start to the step from which on the robot stayed healthy.
    """
    file = resources.files(__package__) / f"{env}.npz"
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return arrays["qpos"], arrays["qvel"]
