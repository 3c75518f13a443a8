"""The environments of docs/bring_your_own.md: their own step, with health and OOD starts added."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import EnvironmentUnavailable, RecoveryEnv, State, registry
from envs.adapters.foreign import ForeignEngine, ForeignEnv

PAGE = (Path(__file__).parents[2] / "docs" / "bring_your_own.md").read_text(encoding="utf-8")
FILES = dict(
    zip(
        ("playground", "brax/positional"),
        re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[2:4],
        strict=True,
    )
)
CLASSES = {"playground": "Cartpole", "brax/positional": "Pendulum"}
BATCH = 16


@pytest.fixture(scope="module", params=CLASSES)
def env(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each in turn, half of its starts out of distribution, episodes of two steps."""
    name = request.param
    if name == "playground" and importlib.util.find_spec("mujoco_playground") is None:
        pytest.skip("the extra `playground` is not installed")
    file = tmp_path_factory.mktemp("own") / "theirs.py"
    file.write_text(FILES[name])
    before = dict(registry._REGISTERED)
    start = {"ood": 0.5, "ordinary": 0.5}
    made = envs.load(f"{file}:{CLASSES[name]}", start=start, episode_length=2)
    assert made.engine.name == name
    yield made
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)


@pytest.fixture(scope="module")
def episode(env: ForeignEnv) -> tuple[State, State, Any, State]:
    """A batch of starts, the state after a step, what the environment itself says, and a restart.

    One program: these engines take long to compile.
    """
    action = jnp.full((BATCH, env.action_size), 0.5)

    def run(keys: jax.Array) -> tuple[State, State, Any, State]:
        begun = jax.vmap(env.reset)(keys)
        late = jnp.arange(BATCH) // 2 % 2  # half of them are in their last step
        begun = begun.replace(episode=begun.episode.replace(steps=late))
        stepped = jax.vmap(env.step)(begun, action)
        theirs = jax.vmap(env.engine.env.step)(begun.data.state, action)
        half = stepped.replace(done=jnp.arange(BATCH) % 2.0)
        return begun, stepped, theirs, jax.vmap(env.restart)(half)

    return jax.jit(run)(jax.random.split(jax.random.key(0), BATCH))


def test_starts(env: RecoveryEnv, episode: tuple[State, State, Any, State]) -> None:
    begun = episode[0]
    angle = np.asarray(begun.data.qpos[:, 1])
    fallen = np.abs(angle - env.starts()["ood"].qpos[1]) < 0.06
    assert 0 < fallen.sum() < BATCH
    assert (np.abs(angle[~fallen]) < 0.2).all(), "the environment's own reset"
    assert len(np.unique(angle)) == BATCH
    np.testing.assert_array_equal(begun.episode.healthy, ~fallen)
    # The observation is that of the pose: positions first, or cosine and sine of the angle.
    if env.observation_size == 4:
        np.testing.assert_allclose(begun.obs["policy"][:, 1], angle, atol=1e-6)
    else:
        np.testing.assert_allclose(begun.obs["policy"][:, 1], np.cos(angle), atol=1e-5)
        np.testing.assert_allclose(begun.obs["policy"][:, 2], np.sin(angle), atol=1e-5)


def test_a_step_is_the_environments_own(episode: tuple[State, State, Any, State]) -> None:
    _, stepped, theirs, _ = episode
    np.testing.assert_allclose(stepped.obs["policy"], theirs.obs, atol=1e-6)
    np.testing.assert_allclose(stepped.episode.task_reward, theirs.reward, atol=1e-6)
    healthy = np.asarray(stepped.episode.healthy)
    np.testing.assert_allclose(stepped.reward, np.where(healthy, theirs.reward, 0.0), atol=1e-6)
    np.testing.assert_array_equal(stepped.recovery_state, stepped.obs["policy"])
    assert 0 < healthy.sum() < BATCH


def test_termination_and_truncation(episode: tuple[State, State, Any, State]) -> None:
    begun, stepped, theirs, _ = episode
    was_healthy, healthy = np.asarray(begun.episode.healthy), np.asarray(stepped.episode.healthy)
    # Those that were fallen from the beginning may stay so until their time is up.
    ended = (was_healthy | healthy) & (~healthy | (np.asarray(theirs.done) > 0))
    np.testing.assert_array_equal(stepped.episode.termination, ended)
    last = np.asarray(begun.episode.steps) == 1
    np.testing.assert_array_equal(stepped.episode.truncation, last & ~ended)
    np.testing.assert_array_equal(stepped.done > 0, last | ended)


def test_restart_draws_anew_where_done(episode: tuple[State, State, Any, State]) -> None:
    _, stepped, _, again = episode
    done = np.arange(BATCH) % 2 == 1
    qpos, before = np.asarray(again.data.qpos), np.asarray(stepped.data.qpos)
    np.testing.assert_array_equal(qpos[~done], before[~done])
    assert (qpos[done] != before[done]).any(axis=1).all()
    np.testing.assert_array_equal(again.obs["policy"][~done], stepped.obs["policy"][~done])
    np.testing.assert_array_equal(again.episode.steps, np.where(done, 0, stepped.episode.steps))


def test_it_can_be_carried_through_training(episode: tuple[State, State, Any, State]) -> None:
    """A loop over steps and restarts needs the same structure and types before and after."""
    begun, _, _, again = episode
    assert jax.tree.structure(begun) == jax.tree.structure(again)
    before, after = jax.tree.leaves(begun), jax.tree.leaves(again)
    assert [(x.shape, x.dtype) for x in before] == [(x.shape, x.dtype) for x in after]


def test_its_engine_is_its_own(env: RecoveryEnv) -> None:
    assert type(env).engines == ("auto",)
    assert env.control_timestep == pytest.approx(env.engine.env.dt)  # type: ignore[attr-defined]
    assert "Observation (" in env.description()


def test_what_is_no_environment() -> None:
    with pytest.raises(EnvironmentUnavailable, match="object is neither an environment of MuJoCo"):
        ForeignEngine(object())
