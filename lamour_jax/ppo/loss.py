"""The clipped PPO loss, with policy consolidation as one of its terms."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from lamour_jax.ppo import noise
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.ppo.networks import ActorCritic, AgentParams


class Minibatch(struct.PyTreeNode):
    """Transitions as the loss needs them; leading axis: transitions.

    Attributes:
        obs: normalised observation of the policy.
        critic_obs: that of the critic; None where it is the policy's.
        action: unclipped action.
        noise_offset: what correlated noise moved the action distribution's mean by.
        log_prob: its log density when it was drawn.
        exploring: whether exploration noise was on.
        valid: 1, or 0 of a bad sample, from which nothing learns.
        learning: whether the policy learns from this transition: 0 where another one acted, and of
            a bad sample.
        drawn: what the policy's network drew when it acted, if anything.
        advantage: normalised over the iteration.
        value_target: in standard deviations of the value targets.
        consolidation: weight of staying close to the original policy.
        original_mean: the original policy's mean action.
        original_std: its standard deviation.
    """

    obs: jax.Array
    critic_obs: jax.Array | None
    action: jax.Array
    noise_offset: jax.Array
    log_prob: jax.Array
    exploring: jax.Array
    valid: jax.Array
    learning: jax.Array
    drawn: Any
    advantage: jax.Array
    value_target: jax.Array
    consolidation: jax.Array
    original_mean: jax.Array
    original_std: jax.Array


class LossWeights(struct.PyTreeNode):
    """Weights that change over training.

    Attributes:
        policy: of the policy's loss against the critic's; 0 while only the critic learns, `()`.
        acting: of the surrogate where the robot is not exploring, `()`.
    """

    policy: jax.Array
    acting: jax.Array


def ppo_loss(
    params: AgentParams,
    network: ActorCritic,
    batch: Minibatch,
    limits: noise.NoiseBounds,
    config: PPOConfig,
    weights: LossWeights,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the loss to minimise, `()`, and its parts by name.

    The policy term is PPO's clipped surrogate (arXiv 1707.06347, eq. 7); consolidation adds
    `weight(s) x -E[log pi(a|s)]`, `a ~ pi_original(.|s)` (LaMOuR, arXiv 2503.17125).
    """
    mean = network.mean(params, batch.obs, batch.drawn)
    std, _ = noise.given_past(params.log_std, batch.exploring, batch.noise_offset, limits)
    log_ratio = noise.log_prob(mean + batch.noise_offset, std, batch.action) - batch.log_prob
    # Another's action can be so unlikely that its ratio overflows, and 0 x inf is not 0.
    log_ratio = jnp.where(batch.learning > 0.0, log_ratio, 0.0)
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
    weight = batch.learning * jnp.where(batch.exploring, 1.0, weights.acting)
    surrogate = jnp.mean(weight * jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))
    consolidation = jnp.mean(
        batch.consolidation
        * noise.cross_entropy(batch.original_mean, batch.original_std, mean, std)
    )
    excess = jnp.square(jnp.maximum(jnp.abs(mean) - 1.0, 0.0)).sum(-1)
    bound = jnp.mean(batch.valid * batch.exploring * excess)
    entropy = jnp.mean(batch.valid * noise.entropy(mean, std))
    critic_obs = batch.obs if batch.critic_obs is None else batch.critic_obs
    value = network.normalized_value(params, critic_obs)
    value_loss = 0.5 * jnp.mean(batch.valid * jnp.square(value - batch.value_target))
    policy_loss = (
        consolidation - surrogate + config.bound_coef * bound - config.entropy_coef * entropy
    )
    return weights.policy * policy_loss + value_loss, {
        "policy_loss": -surrogate,
        "consolidation_loss": consolidation,
        "bound_loss": bound,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": jnp.sum(weight * (ratio - 1.0 - log_ratio)) / jnp.maximum(weight.sum(), 1e-8),
        "clip_fraction": jnp.mean(batch.learning * (jnp.abs(ratio - 1.0) > config.clip)),
    }
