"""Policy consolidation's closed form against sampling, and where it pulls."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamour_jax.ppo.noise import cross_entropy

TARGET_MEAN = jnp.array([0.3, -0.8, 0.0])
TARGET_STD = jnp.array([0.2, 0.5, 1.0])
MEAN = jnp.array([0.1, -0.5, 0.7])
STD = jnp.array([0.4, 0.3, 0.6])


def sampled(mean: jax.Array, std: jax.Array) -> jax.Array:
    """The same number from 400,000 actions of the target, with the textbook's density."""
    noise = jax.random.normal(jax.random.key(0), (400_000, 3))
    actions = TARGET_MEAN + TARGET_STD * noise
    return -jax.scipy.stats.norm.logpdf(actions, mean, std).sum(-1).mean()


def closed(mean: jax.Array, std: jax.Array) -> jax.Array:
    return cross_entropy(TARGET_MEAN, TARGET_STD, mean, std)


def test_value_agrees_with_sampling() -> None:
    assert float(closed(MEAN, STD)) == pytest.approx(float(sampled(MEAN, STD)), rel=5e-3)


@pytest.mark.parametrize("argument", [0, 1], ids=["mean", "std"])
def test_gradient_agrees_with_sampling(argument: int) -> None:
    exact = jax.grad(closed, argument)(MEAN, STD)
    estimate = jax.grad(sampled, argument)(MEAN, STD)
    np.testing.assert_allclose(exact, estimate, rtol=0.02, atol=0.02)


number = st.floats(-2.0, 2.0, width=32)
positive = st.floats(0.0625, 2.0, width=32)


@settings(deadline=None, max_examples=50)
@given(number, positive, number, positive)
def test_nothing_is_closer_to_the_target_than_itself(
    target_mean: float, target_std: float, mean: float, std: float
) -> None:
    target = jnp.array([target_mean]), jnp.array([target_std])
    itself = float(cross_entropy(*target, *target))
    other = float(cross_entropy(*target, jnp.array([mean]), jnp.array([std])))
    assert other >= itself - 1e-4 * max(1.0, abs(itself))


def test_gradient_vanishes_at_the_target() -> None:
    for gradient in jax.grad(closed, (0, 1))(TARGET_MEAN, TARGET_STD):
        np.testing.assert_allclose(gradient, 0.0, atol=1e-5)


def test_at_the_target_it_is_the_targets_entropy() -> None:
    entropy = 0.5 * jnp.log(2.0 * jnp.pi * jnp.e * TARGET_STD**2).sum()
    assert float(closed(TARGET_MEAN, TARGET_STD)) == pytest.approx(float(entropy), rel=1e-5)


def test_each_state_has_its_own() -> None:
    batch = cross_entropy(
        jnp.stack([TARGET_MEAN, MEAN]), jnp.stack([TARGET_STD, STD]), MEAN[None], STD[None]
    )
    assert batch.shape == (2,)
    assert float(batch[0]) == pytest.approx(float(closed(MEAN, STD)))
