"""Checkpoints of a whole training state, by orbax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from lamour_jax.errors import UserError
from lamour_jax.ppo.learner import TrainState


class Checkpoints:
    """The checkpoints of one run; the last two are kept."""

    def __init__(self, folder: Path):
        """Opens `folder`, creating it if need be."""
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, create=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, env_steps: int, state: TrainState) -> None:
        """Writes `state` in the background; `env_steps` names the checkpoint."""
        self._manager.save(env_steps, args=ocp.args.StandardSave(_stored(state)))

    def restore_latest(
        self, template: TrainState, measured: set[int]
    ) -> tuple[int, TrainState] | None:
        """Returns the environment steps and the state of the newest good checkpoint, if any.

        Newer ones, which are not good, are deleted: training will come by there again.

        Args:
            template: has the shape of the state.
            measured: environment steps whose metrics are there; only these can be gone on from.

        Raises:
            UserError: there are checkpoints, and none is good.
        """
        args = ocp.args.StandardRestore(_stored(template))
        steps = sorted(self._manager.all_steps(), reverse=True)
        for index, step in enumerate(steps):
            if step not in measured:
                continue
            try:
                state = _unstored(self._manager.restore(step, args=args), template)
            except Exception:  # orbax raises whatever its storage and its formats do
                continue
            for newer in steps[:index]:
                self._manager.delete(newer)
            return step, state
        if steps:
            raise UserError(
                f"none of the checkpoints in {self._manager.directory} can be gone on from; "
                "give --out a new folder"
            )
        return None

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _stored(tree: Any) -> Any:
    """Returns the tree as orbax stores it: random keys as integers, no arrays of size 0."""

    def stored(leaf: Any) -> Any:
        if _is_key(leaf):
            return jax.random.key_data(leaf)
        return leaf if leaf.size else None

    return jax.tree.map(stored, tree)


def _unstored(tree: Any, template: Any) -> Any:
    def restore(like: Any, leaf: Any) -> Any:
        if leaf is None:
            return like
        return jax.random.wrap_key_data(leaf) if _is_key(like) else leaf

    return jax.tree.map(restore, template, tree)
