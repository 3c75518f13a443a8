"""A checkpoint is the whole training state, and knows what training it is of."""

from __future__ import annotations

import dataclasses
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest

import envs
from lamour_jax.config import CheckpointConfig, RunConfig
from lamour_jax.errors import UserError
from lamour_jax.ppo.learner import Learner, TrainState
from lamour_jax.run.checkpoints import Checkpoints, Damaged, Identity, restore_newest, robot_digest
from tests.lamour_jax.probes import Probe, make_learner, plus_or_minus_one

IDENTITY = Identity(RunConfig(), reward="def calculate_reward(): ...", policy="abc")


def plain(state: TrainState) -> list[np.ndarray]:
    """Copies every number of a training state, random keys included."""

    def numbers(leaf: jax.Array) -> np.ndarray:
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.array(jax.random.key_data(leaf) if is_key else leaf)

    return [numbers(leaf) for leaf in jax.tree.leaves(state)]


@pytest.fixture(scope="module")
def learner() -> Learner:
    return make_learner(Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one))


@contextmanager
def opened(folder: Path, identity: Identity = IDENTITY) -> Iterator[tuple[Checkpoints, list[str]]]:
    said: list[str] = []
    with closing(Checkpoints(folder, identity, said.append)) as checkpoints:
        yield checkpoints, said


def template(learner: Learner) -> TrainState:
    """A state of the shape that is saved, without anything that it holds."""
    return learner.member(learner.init(1), 0)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_training_goes_on_bit_by_bit(learner: Learner, tmp_path: Path) -> None:
    with opened(tmp_path / "checkpoints") as (checkpoints, _):
        state, _ = learner.iterate(learner.init(0))
        member = learner.member(state, 0)
        saved = plain(member)
        checkpoints.save(256, member)
        # The next iteration takes the state's memory over while it is still being written.
        state, _ = learner.iterate(state)
        state, _ = learner.iterate(state)
    with opened(tmp_path / "checkpoints") as (checkpoints, said):
        found = restore_newest([checkpoints], [template(learner)], {256}, said.append)
        assert said == []
    assert found is not None
    steps, [restored] = found
    assert steps == 256
    for ours, theirs in zip(plain(restored), saved, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    resumed, _ = learner.iterate(learner.population([restored]))
    resumed, _ = learner.iterate(resumed)
    for ours, theirs in zip(plain(resumed), plain(state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture(scope="module")
def written(learner: Learner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints after 100 to 500 steps, of which 200 was the best."""
    folder = tmp_path_factory.mktemp("written")
    state = learner.member(learner.init(0), 0)
    with opened(folder) as (checkpoints, _):
        for steps in (100, 200, 300, 400, 500):
            checkpoints.save(steps, state, best=min(steps, 200))
    return folder


def test_the_last_two_and_the_best_are_kept(written: Path) -> None:
    assert names(written) == ["200", "400", "500"]


OTHERS = {
    "env is half_cheetah there and ant here": {"config": RunConfig(env="ant")},
    "ppo.hidden_sizes is ": {
        "config": dataclasses.replace(
            RunConfig(), ppo=dataclasses.replace(RunConfig().ppo, hidden_sizes=(8,))
        )
    },
    "reward.py was changed (sha256 ": {"reward": "def calculate_reward(): return 1"},
    "another original policy": {"policy": "def"},
    "the robot was changed: its file, or what its model is compiled to": {"robot": "other"},
}


@pytest.mark.parametrize("message", OTHERS)
def test_those_of_another_training_are_refused(
    message: str, learner: Learner, written: Path
) -> None:
    before = names(written)
    other = dataclasses.replace(IDENTITY, **OTHERS[message])
    with opened(written, other) as (checkpoints, said), pytest.raises(UserError) as raised:
        restore_newest([checkpoints], [template(learner)], {400, 500}, said.append)
    assert message in str(raised.value)
    assert f"the checkpoints in {written} are of another training" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert names(written) == before


def test_those_of_another_version_are_refused(
    learner: Learner, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamour_jax.run.checkpoints.FORMAT_VERSION", 99)
    with opened(written) as (checkpoints, _), pytest.raises(UserError) as raised:
        checkpoints.restore(500, learner.member(learner.init(0), 0))
    assert "their format version is 3; this release reads 99" in str(raised.value)


def test_how_often_they_are_written_may_change(learner: Learner, written: Path) -> None:
    config = dataclasses.replace(RunConfig(), checkpoints=CheckpointConfig(keep=5))
    with opened(written, dataclasses.replace(IDENTITY, config=config)) as (checkpoints, _):
        checkpoints.restore(500, learner.member(learner.init(0), 0))


def test_a_flipped_bit_and_what_was_half_written_are_told(learner: Learner, written: Path) -> None:
    (written / "600.orbax-checkpoint-tmp-1").mkdir()
    data = max((written / "500" / "state").rglob("*"), key=lambda file: file.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0x10
    data.write_bytes(content)
    with opened(written) as (checkpoints, said):
        with pytest.raises(Damaged):
            checkpoints.restore(500, learner.member(learner.init(0), 0))
        found = restore_newest([checkpoints], [template(learner)], {400, 500}, said.append)
    assert found is not None and found[0] == 400
    assert len(said) == 2
    assert said[0].startswith("the checkpoint after 500 steps is damaged (")
    assert "a checkpoint was being written when the run was interrupted" in said[1]
    assert names(written) == ["200", "400"]


# The thread that could not write goes on talking to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_leaves_those_before(learner: Learner, tmp_path: Path) -> None:
    state = learner.member(learner.init(0), 0)

    def save(checkpoints: Checkpoints) -> None:
        checkpoints.save(200, state)
        checkpoints.wait()

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # Full until all is closed: a thread that had not come to its file yet would still write it.
        with opened(tmp_path) as (checkpoints, _):
            checkpoints.save(100, state)
            checkpoints.wait()
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
            with pytest.raises(UserError) as raised:
                save(checkpoints)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(raised.value).startswith(f"checkpoints cannot be written to {tmp_path}: ")
    assert "File too large" in str(raised.value)
    assert "\n" not in str(raised.value)
    with opened(tmp_path) as (checkpoints, said):
        found = restore_newest([checkpoints], [template(learner)], {100, 200}, said.append)
    assert found is not None and found[0] == 100


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [((100, 200), (100,), 100), ((), (), None), ((100, 200), (), "none of the checkpoints")],
)
def test_seeds_side_by_side_go_on_from_the_same_step(
    first: tuple[int, ...],
    second: tuple[int, ...],
    common: int | str | None,
    learner: Learner,
    tmp_path: Path,
) -> None:
    state = learner.member(learner.init(0), 0)
    for folder, steps in (("first", first), ("second", second)):
        with opened(tmp_path / folder) as (checkpoints, _):
            for step in steps:
                checkpoints.save(step, state)
    with opened(tmp_path / "first") as (one, said), opened(tmp_path / "second") as (other, _):

        def restore() -> int | None:
            found = restore_newest([one, other], [state, state], {100, 200}, said.append)
            return None if found is None else found[0]

        if isinstance(common, str):
            with pytest.raises(UserError, match=common):
                restore()
            assert one.steps == set(first)
            return
        assert restore() == common
        assert one.steps == other.steps == ({common} if common else set())


def test_the_same_file_with_another_model_is_another_robot() -> None:
    env = envs.load("hopper", engine="mujoco")
    before = robot_digest(env)
    env.model.actuator_gear[0, 0] *= 2.0
    assert robot_digest(env) != before
