"""What belongs to every robot: episodes, their ends, restarts and starts. Shown on the hopper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import RecoveryEnv, State, registry

UPRIGHT = [0, 1.25, 0, 0, 0, 0]
FALLEN = [0, 0.1, -1.7453, 0, 0, 0]
POSES = np.array([UPRIGHT, FALLEN])
STILL = np.zeros((2, 6))
NO_ACTION = np.zeros((2, 3), np.float32)

Batched = Callable[..., State]


def hopper(**options: object) -> RecoveryEnv:
    return registry.load("hopper", engine="mujoco", **options)


@pytest.fixture(scope="module")
def env() -> RecoveryEnv:
    return hopper(start="ood", episode_length=3)


@pytest.fixture(scope="module")
def step(env: RecoveryEnv) -> Batched:
    return jax.jit(jax.vmap(env.step))


@pytest.fixture(scope="module")
def restart(env: RecoveryEnv) -> Batched:
    return jax.jit(jax.vmap(env.restart))


@pytest.fixture
def upright_and_fallen(env: RecoveryEnv, state_at: Callable[..., State]) -> State:
    """Two hoppers: one stands, one lies and has not been healthy."""
    return state_at(env, POSES, STILL)


def with_episode(state: State, **changes: object) -> State:
    return state.replace(episode=state.episode.replace(**changes))


def test_reset_starts_an_episode(env: RecoveryEnv) -> None:
    state = env.reset(jax.random.key(0))
    assert state.obs["policy"].shape == (env.observation_size,)
    assert state.obs["policy"].dtype == jnp.float32
    for name in ("healthy", "was_healthy", "fell", "termination", "truncation"):
        assert not getattr(state.episode, name)
    assert state.episode.steps == state.episode.healthy_streak == 0
    assert state.reward == state.done == 0.0


def test_step_keeps_the_states_structure(step: Batched, upright_and_fallen: State) -> None:
    after = step(upright_and_fallen, NO_ACTION)
    assert jax.tree.structure(after) == jax.tree.structure(upright_and_fallen)
    jax.tree.map(
        lambda new, old: np.testing.assert_equal((new.shape, new.dtype), (old.shape, old.dtype)),
        after,
        upright_and_fallen,
    )


def test_reward_is_the_tasks_while_healthy(step: Batched, upright_and_fallen: State) -> None:
    after = step(upright_and_fallen, NO_ACTION)
    np.testing.assert_array_equal(after.episode.healthy, [True, False])
    assert after.reward[0] == after.episode.task_reward[0] != 0.0
    assert after.reward[1] == 0.0 != after.episode.task_reward[1]
    np.testing.assert_array_equal(after.episode.healthy_streak, [1, 0])


def test_actions_are_clipped(step: Batched, upright_and_fallen: State) -> None:
    full = np.array([[1, -1, 1], [-1, 1, -1]], np.float32)
    np.testing.assert_array_equal(
        step(upright_and_fallen, 7 * full).obs["policy"],
        step(upright_and_fallen, full).obs["policy"],
    )


def test_falling_terminates_only_after_having_been_healthy(
    step: Batched, upright_and_fallen: State
) -> None:
    fallen = jax.tree.map(lambda leaf: jnp.stack([leaf[1], leaf[1]]), upright_and_fallen)
    fallen = with_episode(fallen, was_healthy=jnp.array([True, False]))
    after = step(fallen, NO_ACTION)
    np.testing.assert_array_equal(after.episode.termination, [True, False])
    np.testing.assert_array_equal(after.episode.fell, [True, False])
    np.testing.assert_array_equal(after.done, [1.0, 0.0])
    np.testing.assert_array_equal(after.reward, [0.0, 0.0])
    assert not after.episode.truncation.any()


def test_falling_marks_the_one_step_that_loses_health(
    step: Batched, upright_and_fallen: State
) -> None:
    fallen = jax.tree.map(lambda leaf: jnp.stack([leaf[1], leaf[1]]), upright_and_fallen)
    falling = step(with_episode(fallen, healthy=jnp.array([True, False])), NO_ACTION)
    np.testing.assert_array_equal(falling.episode.falling, [True, False])
    np.testing.assert_array_equal(step(falling, NO_ACTION).episode.falling, [False, False])


def test_ood_start_is_never_terminated_before_it_was_healthy() -> None:
    env = hopper(start="ood")

    def step(state: State, key: jax.Array) -> tuple[State, tuple[jax.Array, jax.Array]]:
        actions = jax.random.uniform(key, (8, 3), minval=-1.0, maxval=1.0)
        state = jax.vmap(env.step)(state, actions)
        return state, (state.episode.was_healthy, state.done)

    state = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 8))
    _, (was_healthy, done) = jax.jit(lambda s, k: jax.lax.scan(step, s, k))(
        state, jax.random.split(jax.random.key(1), 200)
    )
    assert not (~np.asarray(was_healthy) & (np.asarray(done) > 0)).any()
    assert not was_healthy[-1].all(), "the test wants hoppers that stay down"


def test_without_termination_a_fall_goes_on(state_at: Callable[..., State]) -> None:
    env = hopper(terminate=False)
    state = with_episode(state_at(env, POSES, STILL), was_healthy=jnp.array([True, True]))
    after = jax.jit(jax.vmap(env.step))(state, NO_ACTION)
    np.testing.assert_array_equal(after.episode.fell, [False, True])
    assert not after.done.any()


def test_time_limit_truncates(step: Batched, upright_and_fallen: State) -> None:
    state = upright_and_fallen
    for steps in (1, 2, 3):
        state = step(state, NO_ACTION)
        at_limit = steps == 3
        np.testing.assert_array_equal(state.episode.steps, [steps, steps])
        np.testing.assert_array_equal(state.episode.truncation, [at_limit, at_limit])
        np.testing.assert_array_equal(state.done, [at_limit, at_limit])
        assert not state.episode.termination.any()


def test_a_fall_at_the_time_limit_is_a_termination(
    step: Batched, upright_and_fallen: State
) -> None:
    state = with_episode(
        upright_and_fallen, was_healthy=jnp.array([True, True]), steps=jnp.array([2, 2])
    )
    after = step(state, NO_ACTION)
    np.testing.assert_array_equal(after.episode.termination, [False, True])
    np.testing.assert_array_equal(after.episode.truncation, [True, False])
    np.testing.assert_array_equal(after.done, [1.0, 1.0])


def test_restart_draws_fresh_starts_where_done(
    env: RecoveryEnv, restart: Batched, upright_and_fallen: State
) -> None:
    ended = upright_and_fallen.replace(done=jnp.ones(2))
    ended = with_episode(
        ended,
        fell=jnp.array([True, True]),
        steps=jnp.array([3, 3]),
        healthy_streak=jnp.array([3, 3]),
    )
    first = restart(ended)
    second = restart(first.replace(done=jnp.ones(2)))
    starts = np.concatenate([first.data.qpos, second.data.qpos])
    assert len(np.unique(starts[:, 3])) == 4, "two environments, two restarts each, all different"
    np.testing.assert_allclose(starts, np.tile(env.starts()["ood"].qpos, (4, 1)), atol=6e-3)
    for name in ("healthy", "was_healthy", "fell", "steps", "healthy_streak"):
        np.testing.assert_array_equal(getattr(first.episode, name), [0, 0], err_msg=name)
    np.testing.assert_array_equal(
        first.obs["policy"], jax.vmap(lambda data: env.observe(data, ()))(first.data)
    )


def test_restart_leaves_running_episodes_alone(
    step: Batched, restart: Batched, upright_and_fallen: State
) -> None:
    running = step(upright_and_fallen, NO_ACTION)
    kept = restart(running)
    jax.tree.map(np.testing.assert_array_equal, kept.replace(key=0), running.replace(key=0))


@pytest.mark.parametrize("start", ["ood", "ordinary"])
def test_a_restart_is_a_reset_in_every_leaf(start: str) -> None:
    env = hopper(start=start)
    key = jax.random.split(jax.random.key(5), 2)
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(1), 2))
    state = jax.jit(jax.vmap(env.step))(state, jnp.ones((2, env.action_size)))
    done = state.replace(done=jnp.ones(2), key=key)
    restarted, fresh = jax.jit(jax.vmap(env.restart))(done), jax.jit(jax.vmap(env.reset))(key)
    assert jax.tree.structure(restarted) == jax.tree.structure(fresh)
    for (path, leaf), other in zip(
        jax.tree.leaves_with_path(restarted), jax.tree.leaves(fresh), strict=True
    ):
        assert leaf.dtype == other.dtype, path
        assert bool(jnp.all(leaf == other)), path


def test_start_mixture_keeps_its_shares() -> None:
    env = hopper(start={"ordinary": 3.0, "ood": 1.0})
    draws = 1024
    state = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), draws))
    share = float(np.mean(state.episode.healthy))  # only ordinary starts are healthy
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / draws))


@pytest.mark.parametrize("broken", ["qpos", "qvel"])
def test_a_simulation_that_exploded_terminates(
    env: RecoveryEnv,
    step: Batched,
    restart: Batched,
    upright_and_fallen: State,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo logs a warning to a file where it stands
    data = upright_and_fallen.data
    data = data.replace(**{broken: getattr(data, broken).at[0, 3].set(jnp.nan)})
    after = step(upright_and_fallen.replace(data=data), NO_ACTION)
    np.testing.assert_array_equal(after.episode.termination, [True, False])
    assert after.done[0] == 1.0
    assert after.reward[0] == after.episode.task_reward[0] == 0.0
    assert not after.episode.healthy[0]
    assert np.isfinite(after.obs["policy"]).all()
    again = step(restart(after), NO_ACTION)
    assert np.isfinite(again.data.qpos).all()
    assert not again.episode.termination.any()
