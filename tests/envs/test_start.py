"""Starts in the order of difficulty, and how each environment moves along them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs.start import SPREAD, STEP, GradedStart, Grading


def test_a_graded_start_draws_around_the_distance() -> None:
    poses = np.repeat(np.linspace(0.0, 1.0, 101)[:, None], 3, axis=1)
    start = GradedStart(poses, qvel=-poses)
    keys = jax.random.split(jax.random.key(0), 500)
    for distance in (0.0, 0.4, 1.0):
        qpos, qvel = jax.vmap(lambda key, at: start.sample_at(key, 3, at), in_axes=(0, None))(
            keys, jnp.float32(distance)
        )
        drawn = np.asarray(qpos[:, 0])
        assert abs(drawn - distance).max() <= SPREAD + 0.02
        assert np.ptp(drawn) > 0.9 * SPREAD
        np.testing.assert_allclose(qvel, -qpos, atol=1e-6)
    anywhere, _ = jax.vmap(lambda key: start.sample(key, 3))(keys)
    assert np.ptp(np.asarray(anywhere)) > 0.9


def test_who_recovers_begins_farther_away_and_who_does_not_nearer() -> None:
    def after(distance: float, done: bool, recovered: bool, counts: bool = True) -> float:
        grading = Grading(jnp.float32(distance), jnp.bool_(counts))
        flags = jnp.bool_(done), jnp.bool_(recovered)
        return float(grading.after(*flags, jax.random.key(0), jnp.bool_(True)).distance)

    assert after(0.5, done=True, recovered=True) == np.float32(0.5 + STEP)
    assert after(0.5, done=True, recovered=False) == np.float32(0.5 - STEP)
    assert after(0.0, done=True, recovered=False) == 0.0
    assert after(0.5, done=False, recovered=True) == 0.5
    assert after(0.5, done=True, recovered=True, counts=False) == 0.5, "began elsewhere"
    assert 0.0 <= after(1.0, done=True, recovered=True) < 1.0, "from anywhere"


def test_environments_move_along_a_graded_start() -> None:
    env = envs.load(
        "humanoid",
        start={"rising": 0.7, "ood": 0.3},
        engine="mujoco",
        terminate=False,
        episode_length=4,
        num_envs=64,
    )
    first = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 64))
    grading = first.episode.grading
    at, counts = np.asarray(grading.distance), np.asarray(grading.counts)
    assert 0.5 < counts.mean() < 0.9
    heads = np.asarray(first.obs["policy"][:, 21])
    assert heads[~counts].max() < 0.2, "the official start"
    assert np.corrcoef(at[counts], heads[counts])[0, 1] < -0.5, "farther is lower"

    @jax.jit
    def step(state: envs.State) -> tuple[envs.State, jax.Array]:
        stepped = jax.vmap(env.step)(state, jnp.zeros((64, env.action_size)))
        return jax.vmap(env.restart)(stepped), stepped.episode.was_healthy

    state = first
    came_up = state.episode.was_healthy
    for _ in range(4):
        np.testing.assert_array_equal(state.episode.grading.distance, at)
        state, came_up = step(state)
    recovered = np.asarray(came_up)
    moved = np.asarray(state.episode.grading.distance) - at
    assert recovered[counts].any() and not recovered[counts].all()
    np.testing.assert_array_equal(moved[~counts], 0.0)
    inside = counts & (at > STEP) & (at < 1.0 - STEP)
    np.testing.assert_allclose(moved[inside], np.where(recovered[inside], STEP, -STEP), atol=1e-6)
