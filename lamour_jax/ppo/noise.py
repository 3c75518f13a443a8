"""Action noise: how wide it is, how it is correlated, and the densities that follow.

A policy's noise is Gaussian with a learned standard deviation, one for ordinary states and one for
states in which the robot explores. While it trains, both are held within bounds that narrow.
Exploration noise is a first-order autoregressive process of unit variance times its std. Given its
past, an action is Gaussian around a mean moved by an offset, so PPO's probability ratio is exact.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from brax.training.distribution import NormalDistribution
from flax import struct

from lamour_jax.ppo.config import PPOConfig


class NoiseBounds(struct.PyTreeNode):
    """Bounds of the noise's standard deviation; entry 0 ordinary, entry 1 exploring, `(2,)`.

    `correlation` is that of exploration noise from one control step to the next, `()`.
    """

    low: jax.Array | np.ndarray
    high: jax.Array | np.ndarray
    correlation: jax.Array | np.ndarray


# No bounds and no correlation: a policy's noise as its file has it.
OWN = NoiseBounds(
    low=np.zeros(2, np.float32),
    high=np.full(2, np.inf, np.float32),
    correlation=np.float32(0.0),  # type: ignore[arg-type]
)


def annealed(ends: tuple[float, float], progress: jax.Array, annealing: float) -> jax.Array:
    """Returns a value on its way from start to end by equal factors.

    Args:
        ends: the start and the end.
        progress: share of training that is over, `()`, 0 to 1.
        annealing: the share at which the end is reached.
    """
    start, end = ends
    return start * (end / start) ** jnp.minimum(progress / annealing, 1.0)


def bounds(config: PPOConfig, progress: jax.Array, correlation: float = 0.0) -> NoiseBounds:
    """Returns the bounds at `progress`, `()` from 0 to 1, through training."""
    ceiling = annealed(config.max_std, progress, config.annealing)
    explore = annealed(config.explore_std, progress, config.annealing)
    return NoiseBounds(
        low=jnp.stack([jnp.minimum(config.min_std, ceiling), explore]),
        high=jnp.stack([ceiling, explore]),
        correlation=jnp.float32(correlation),
    )


def bounded_std(log_std: jax.Array, exploring: jax.Array, limits: NoiseBounds) -> jax.Array:
    """Returns the noise's std `(..., actions)`.

    Args:
        log_std: `(2, actions)`, row 0 ordinary, row 1 exploring.
        exploring: `(...)` bool.
        limits: of the std.
    """
    std = jnp.clip(jnp.exp(log_std), limits.low[:, None], limits.high[:, None])
    return jnp.where(exploring[..., None], std[1], std[0])


def given_past(
    log_std: jax.Array, exploring: jax.Array, past: jax.Array, limits: NoiseBounds
) -> tuple[jax.Array, jax.Array]:
    """Returns the std of the next action given past noise, and how that moves the mean.

    Args:
        log_std: `(2, actions)`.
        exploring: `(...)` bool; only exploration noise is correlated.
        past: exploration noise of the step before in units of its std, `(..., actions)`.
        limits: of the std, and the correlation.
    """
    std = bounded_std(log_std, exploring, limits)
    correlation = jnp.where(exploring, limits.correlation, 0.0)[..., None]
    return std * jnp.sqrt(1.0 - jnp.square(correlation)), std * correlation * past


def settled(log_std: jax.Array, config: PPOConfig) -> jax.Array:
    """Returns a finished policy's `log_std`: that of the end of training, its ceiling applied."""
    final = bounds(config, jnp.float32(1.0))
    std = jnp.stack([bounded_std(log_std, jnp.bool_(row), final) for row in (False, True)])
    return jnp.log(std.at[0].min(config.settled_std))


def sample(key: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Draws actions `(..., actions)`, unclipped."""
    return _gaussian(mean).create_dist((mean, std)).sample(seed=key)


def log_prob(mean: jax.Array, std: jax.Array, action: jax.Array) -> jax.Array:
    """Returns the log density of unclipped actions, `(...)`."""
    return _gaussian(mean).log_prob((mean, std), action)


def entropy(mean: jax.Array, std: jax.Array) -> jax.Array:
    """Returns the action distribution's entropy, `(...)`."""
    return _gaussian(mean).create_dist((mean, std)).entropy().sum(-1)


def cross_entropy(
    target_mean: jax.Array, target_std: jax.Array, mean: jax.Array, std: jax.Array
) -> jax.Array:
    """Cross-entropy of diagonal Gaussians, `-E[log N(a; mean, std)]`, `a ~ N(target)`, `(...)`.

    The closed form of policy consolidation's expectation over the original policy's actions
    (LaMOuR, arXiv 2503.17125, eq. for LPC): the same gradient without sampling noise.
    """
    variance = jnp.square(std)
    squared = jnp.square(target_std) + jnp.square(target_mean - mean)
    return 0.5 * jnp.sum(squared / variance + jnp.log(2.0 * jnp.pi * variance), axis=-1)


def _gaussian(mean: jax.Array) -> NormalDistribution:
    return NormalDistribution(mean.shape[-1])
