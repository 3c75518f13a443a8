"""The action noise: its bounds over training, its gate, its correlation in time."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamour_jax.ppo import noise
from lamour_jax.ppo.noise import NoiseBounds
from tests.lamour_jax.probes import SMALL

CONFIG = dataclasses.replace(
    SMALL,
    min_std=0.1,
    max_std=(1.0, 0.25),
    explore_std=(0.8, 0.2),
    explore_time_constant=1.9576,  # a correlation of 0.6 for steps of one second,
    settled_std=0.15,
)


LOG_STD = jnp.log(jnp.full((2, 1), SMALL.std))


@pytest.mark.parametrize(
    ("progress", "ceiling", "explore"), [(0.0, 1.0, 0.8), (0.5, 0.5, 0.4), (1.0, 0.25, 0.2)]
)
def test_bounds_fall_geometrically(progress: float, ceiling: float, explore: float) -> None:
    bounds = noise.bounds(CONFIG, jnp.float32(progress))
    np.testing.assert_allclose(bounds.high, [ceiling, explore], rtol=1e-5)
    np.testing.assert_allclose(bounds.low, [CONFIG.min_std, explore], rtol=1e-5)


@pytest.mark.parametrize(
    ("progress", "ceiling", "explore"), [(0.2, 0.5, 0.4), (0.4, 0.25, 0.2), (0.7, 0.25, 0.2)]
)
def test_bounds_stay_at_their_ends_after_annealing(
    progress: float, ceiling: float, explore: float
) -> None:
    config = dataclasses.replace(CONFIG, annealing=0.4)
    bounds = noise.bounds(config, jnp.float32(progress))
    np.testing.assert_allclose(bounds.high, [ceiling, explore], rtol=1e-5)


def test_floor_never_exceeds_the_ceiling() -> None:
    config = dataclasses.replace(CONFIG, min_std=0.5)
    bounds = noise.bounds(config, jnp.float32(1.0))
    assert float(bounds.low[0]) == pytest.approx(0.25)


@pytest.mark.parametrize(("learned", "acting"), [(0.01, 0.1), (0.3, 0.3), (5.0, 1.0)])
def test_learned_std_is_kept_within_the_bounds(learned: float, acting: float) -> None:
    log_std = jnp.full((2, 1), jnp.log(learned))
    bounds = noise.bounds(CONFIG, jnp.float32(0.0))
    std = noise.bounded_std(log_std, jnp.array([False, True]), bounds)
    np.testing.assert_allclose(std[:, 0], [acting, 0.8], rtol=1e-5)  # the gate's is not learned


def test_finished_policy_has_the_noise_of_trainings_end() -> None:
    settled = noise.settled(LOG_STD, CONFIG)
    np.testing.assert_allclose(jnp.exp(settled[:, 0]), [0.15, 0.2], rtol=1e-5)


def test_exploration_noise_is_correlated_in_time_and_keeps_its_std() -> None:
    bounds = NoiseBounds(
        low=jnp.array([0.3, 0.5]), high=jnp.array([0.3, 0.5]), correlation=jnp.float32(0.6)
    )

    def draw(exploring: bool) -> np.ndarray:
        def step(past: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            std, offset = noise.given_past(LOG_STD, jnp.bool_(exploring), past, bounds)
            drawn = offset + std * jax.random.normal(key, (1,))
            return drawn / bounds.high[1], drawn

        keys = jax.random.split(jax.random.key(0), 20_000)
        return np.asarray(jax.lax.scan(step, jnp.zeros(1), keys)[1][:, 0])

    exploring, acting = draw(True), draw(False)
    assert exploring.std() == pytest.approx(0.5, rel=0.05)
    assert np.corrcoef(exploring[1:], exploring[:-1])[0, 1] == pytest.approx(0.6, abs=0.03)
    assert acting.std() == pytest.approx(0.3, rel=0.05)
    assert np.corrcoef(acting[1:], acting[:-1])[0, 1] == pytest.approx(0.0, abs=0.03)
