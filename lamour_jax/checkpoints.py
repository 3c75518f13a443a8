"""Checkpoints of a whole training state, by orbax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from lamour_jax.ppo.learner import TrainState


class Checkpoints:
    """The checkpoints of one run; the last two are kept."""

    def __init__(self, folder: Path):
        """Opens `folder`, creating it if need be."""
        options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, env_steps: int, state: TrainState) -> None:
        """Writes `state` in the background; `env_steps` names the checkpoint."""
        self._manager.save(env_steps, args=ocp.args.StandardSave(_without_keys(state)))

    def restore_latest(self, template: TrainState) -> TrainState:
        """Returns the newest checkpoint, in the shape of `template`."""
        step = self._manager.latest_step()
        args = ocp.args.StandardRestore(_without_keys(template))
        return _with_keys(self._manager.restore(step, args=args), template)

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(tree: Any) -> Any:
    """Returns the tree with random keys as plain integers, which is what orbax stores."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _with_keys(tree: Any, template: Any) -> Any:
    def restore(leaf: Any, like: Any) -> Any:
        return jax.random.wrap_key_data(leaf) if _is_key(like) else leaf

    return jax.tree.map(restore, tree, template)
