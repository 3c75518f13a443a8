"""A checkpoint is the whole training state: training goes on from it as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from lamour_jax.checkpoints import Checkpoints
from lamour_jax.ppo.learner import Learner, TrainState
from tests.lamour_jax.probes import Probe, make_learner, plus_or_minus_one


def plain(state: TrainState) -> list[np.ndarray]:
    """Copies every number of a training state, random keys included."""

    def numbers(leaf: jax.Array) -> np.ndarray:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.array(jax.random.key_data(leaf) if is_key else leaf)

    return [numbers(leaf) for leaf in jax.tree.leaves(state)]


def make() -> Learner:
    return make_learner(Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one))


def test_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    learner = make()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state, _ = learner.iterate(learner.init(0))
    saved = plain(state)
    checkpoints.save(256, state)
    # The next iteration takes the state's memory over while it is still being written.
    state, _ = learner.iterate(state)
    state, _ = learner.iterate(state)
    checkpoints.close()

    reopened = Checkpoints(tmp_path / "checkpoints")
    found = reopened.restore_latest(learner.init(1), measured={256})
    reopened.close()
    assert found is not None
    steps, restored = found
    assert steps == 256
    for ours, theirs in zip(plain(restored), saved, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    resumed, _ = learner.iterate(restored)
    resumed, _ = learner.iterate(resumed)
    for ours, theirs in zip(plain(resumed), plain(state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    learner = make()
    state = learner.init(0)
    checkpoints = Checkpoints(tmp_path)
    for steps in (100, 200, 300):
        checkpoints.save(steps, state)
    checkpoints.close()
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.isdigit()) == [
        "200",
        "300",
    ]
