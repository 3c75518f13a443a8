"""`bad_states/` in a run's folder: where simulations or rewards went wrong, to be looked at."""

from __future__ import annotations

import io

import jax
import numpy as np

from lamour_jax.ppo.config import GuardConfig
from lamour_jax.ppo.guard import BadStates
from lamour_jax.run.folder import RunFolder


def write(folder: RunFolder, env_steps: int, found: BadStates, config: GuardConfig) -> None:
    """Writes what an iteration found into `bad_states/<env_steps>.npz`, unless there are enough.

    The arrays are those of `BadStates`, `(rows, ...)`: the state before, and what came of it.
    """
    target = folder.path / "bad_states" / f"{env_steps}.npz"
    target.parent.mkdir(exist_ok=True)
    if not target.exists() and len(list(target.parent.glob("*.npz"))) >= config.bad_state_files:
        return
    names = ("qpos", "qvel", "obs", "action", "reward", "env", "step", "cause")
    rows = int(found.recorded)
    arrays = {name: np.asarray(jax.device_get(getattr(found, name)))[:rows] for name in names}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    folder.write_bytes(f"bad_states/{env_steps}.npz", content.getvalue())


def message(folder: RunFolder, env_steps: int, count: float) -> str:
    """Returns what to tell of an iteration's `count` bad samples."""
    samples = "1 sample was" if count == 1 else f"{count:,.0f} samples were"
    return (
        f"{samples} bad until step {env_steps:,} (a state or a reward not finite, or beyond "
        "guard.max_state or guard.max_reward): left out, environments restarted; see "
        f"training/bad_samples and {folder.path / 'bad_states'}"
    )
