"""Acting: a batch of environments stepped by the policy, with what learning needs to know."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs import RecoveryEnv, State
from lamour_jax.ppo.acting import Actor
from lamour_jax.objective import Objective
from lamour_jax.placement import Placement
from lamour_jax.ppo.config import GuardConfig
from lamour_jax.ppo.guard import BadSamples, BadStates, discard, is_bad
from lamour_jax.ppo.networks import ActorCritic, Agent, NoiseBounds


class Rollout(struct.PyTreeNode):
    """Transitions, leading axes `(time, envs)`.

    Attributes:
        obs: observation.
        action: unclipped.
        noise_offset: what the action distribution's mean was moved by, `(..., action_size)`: the
            part of correlated noise that was settled before this step.
        log_prob: log density of the action.
        exploring: whether exploration noise was on.
        original_acted: whether the action was the original policy's.
        dropout_keys: what decided which units were dropped, if any were.
        consolidation: weight of staying close to the original policy.
        reward: of the objective.
        termination, truncation, healthy: of the next state.
        valid: whether anything can be learned from it (see `guard`).
    """

    obs: jax.Array
    action: jax.Array
    noise_offset: jax.Array
    log_prob: jax.Array
    exploring: jax.Array
    original_acted: jax.Array
    dropout_keys: jax.Array | None
    consolidation: jax.Array
    reward: jax.Array
    termination: jax.Array
    truncation: jax.Array
    healthy: jax.Array
    valid: jax.Array


class EpisodeTotals(struct.PyTreeNode):
    """Running sums of each environment's episode, and sums over its ended episodes, all `(envs,)`.

    Of each environment by itself: where they are spread over devices, a step needs no exchange.
    """

    episode_return: jax.Array
    ended: jax.Array
    ended_return: jax.Array
    ended_length: jax.Array
    ended_healthy_streak: jax.Array
    ended_recovered: jax.Array

    @classmethod
    def zero(cls, num_envs: int) -> EpisodeTotals:
        return cls(*[jnp.zeros(num_envs)] * 6)

    def cleared(self) -> EpisodeTotals:
        """Returns the sums over ended episodes reset, those of running episodes kept."""
        zero = EpisodeTotals.zero(len(self.episode_return))
        return zero.replace(episode_return=self.episode_return)

    def add(self, state: State, recovered_share: float, valid: jax.Array) -> EpisodeTotals:
        """Adds one step of every environment; `state` is the step's result before restarts.

        An episode that is cut off because its step is not `valid`, `(envs,)` bool, is forgotten.
        """
        episode_return = self.episode_return + state.reward
        info = state.info
        done = state.done * valid
        held = info["healthy_streak"] >= recovered_share * info["steps"]
        return EpisodeTotals(
            episode_return=episode_return * (1.0 - state.done),
            ended=self.ended + done,
            ended_return=self.ended_return + done * episode_return,
            ended_length=self.ended_length + done * info["steps"],
            ended_healthy_streak=self.ended_healthy_streak + done * info["healthy_streak"],
            ended_recovered=self.ended_recovered + done * info["truncation"] * held,
        )

    def metrics(self) -> dict[str, jax.Array]:
        """Returns means over ended episodes, NaN where none ended."""
        ended = self.ended.sum()
        return {
            "episode/ended": ended,
            "episode/return": self.ended_return.sum() / ended,
            "episode/length": self.ended_length.sum() / ended,
            "episode/healthy_streak": self.ended_healthy_streak.sum() / ended,
            "episode/recovered": self.ended_recovered.sum() / ended,
        }


class Acting(struct.PyTreeNode):
    """What acting carries from step to step: environments, totals, the noise's past."""

    env_state: State
    totals: EpisodeTotals
    noise: jax.Array


def collect(
    key: jax.Array,
    env: RecoveryEnv,
    objective: Objective,
    network: ActorCritic,
    agent: Agent,
    original: Agent,
    bounds: NoiseBounds,
    acting: Acting,
    unroll_length: int,
    guard: GuardConfig,
    placement: Placement,
) -> tuple[Acting, Rollout, BadStates]:
    """Steps every environment `unroll_length` times; those that end restart from a fresh start.

    So do those whose step is bad; the states that bad steps began from are the third result.

    Exploration noise is a first-order autoregressive process of unit variance, scaled by the
    exploring std: given its past, an action is Gaussian around a mean moved by `noise_offset`,
    so PPO's probability ratio stays exact. Where the method lets `original` act, its action is a
    sample with its own noise.
    """
    step_envs, restart_envs = placement.map_envs(env.step), placement.map_envs(env.restart)

    def step(
        carry: tuple[Acting, BadSamples], key: jax.Array
    ) -> tuple[tuple[Acting, BadSamples], Rollout]:
        acting, bad_samples = carry
        state, totals = acting.env_state, acting.totals
        exploring = jax.vmap(objective.exploring)(state)
        std, offset = network.noise(agent.params, exploring, acting.noise, bounds)
        dropout_keys = network.dropout_keys(jax.random.fold_in(key, 1), len(state.obs))
        mean = network.mean(agent.params, network.normalize(agent, state.obs), dropout_keys)
        mean = mean + offset
        action = network.sample(key, mean, std)
        noise = (action - mean + offset) / bounds.high[1]
        original_acts = jax.vmap(objective.original_acts)(state)
        originals = Actor(network)(original, state, jax.random.fold_in(key, 2))
        action = jnp.where(original_acts[:, None], originals, action)
        ended = step_envs(state, action)
        applied = jnp.clip(action, -1.0, 1.0)
        reward = jax.vmap(objective.reward)(ended, applied)
        bad = is_bad(ended, reward, guard)
        bad_samples = bad_samples.add(bad, state, applied, reward)
        ended, reward = discard(ended, reward, bad)
        rollout = Rollout(
            obs=state.obs,
            action=action,
            noise_offset=offset,
            log_prob=network.log_prob(mean, std, action),
            exploring=exploring,
            original_acted=original_acts,
            dropout_keys=dropout_keys,
            consolidation=jax.vmap(objective.consolidation)(state),
            reward=reward,
            termination=ended.info["termination"],
            truncation=ended.info["truncation"],
            healthy=ended.info["healthy"],
            valid=~bad,
        )
        acting = Acting(
            env_state=restart_envs(ended),
            totals=totals.add(ended, env.recovered_share, ~bad),
            noise=jnp.where(exploring[:, None], noise, 0.0),
        )
        return (acting, bad_samples), rollout

    nothing = BadSamples.none(acting.env_state, env.action_size)
    (acting, bad_samples), rollout = jax.lax.scan(
        step, (acting, nothing), jax.random.split(key, unroll_length)
    )
    return acting, rollout, bad_samples.states()
