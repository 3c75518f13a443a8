"""Acting while learning: a batch of environments stepped by the policy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs import RecoveryEnv, State
from lamour_jax.placement import Placement
from lamour_jax.ppo.acting import Acted, Actor
from lamour_jax.ppo.config import GuardConfig
from lamour_jax.ppo.guard import BadSamples, BadStates, discard, what_is_wrong
from lamour_jax.ppo.networks import Agent
from lamour_jax.ppo.noise import NoiseBounds


class Rollout(struct.PyTreeNode):
    """Transitions, leading axes `(time, envs)`.

    Attributes:
        obs: observations, `policy` and, where the critic may see more, `critic`.
        acted: what was done, and how likely it was.
        consolidation: weight of staying close to the original policy.
        reward: of the objective.
        termination, truncation, healthy: of the next state.
        valid: whether anything can be learned from it (see `guard`).
    """

    obs: dict[str, jax.Array]
    acted: Acted
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
        episode, episode_return = state.episode, self.episode_return + state.reward
        done = state.done * valid
        recovered = episode.truncation * is_held(episode, recovered_share)
        return EpisodeTotals(
            episode_return=episode_return * (1.0 - state.done),
            ended=self.ended + done,
            ended_return=self.ended_return + done * episode_return,
            ended_length=self.ended_length + done * episode.steps,
            ended_healthy_streak=self.ended_healthy_streak + done * episode.healthy_streak,
            ended_recovered=self.ended_recovered + done * recovered,
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


def is_held(episode: Any, recovered_share: float) -> jax.Array:
    """Returns whether the robot was healthy in the whole last share of its episode so far, `()`.

    Of an episode that ran to its time limit this is what "recovered" means.
    """
    return episode.healthy_streak >= recovered_share * episode.steps


class Acting(struct.PyTreeNode):
    """What acting carries from step to step: environments, totals, the noise's past."""

    env_state: State
    totals: EpisodeTotals
    noise: jax.Array


def collect(
    key: jax.Array,
    env: RecoveryEnv,
    actor: Actor,
    agent: Agent,
    limits: NoiseBounds,
    acting: Acting,
    unroll_length: int,
    guard: GuardConfig,
    placement: Placement,
) -> tuple[Acting, Rollout, BadStates]:
    """Steps every environment `unroll_length` times; those that end restart from a fresh start.

    So do those whose step is bad; the states that bad steps began from are the third result.
    """
    step_envs, restart_envs = placement.map_envs(env.step), placement.map_envs(env.restart)
    objective, network = actor.objective, actor.network

    def step(
        carry: tuple[Acting, BadSamples], key: jax.Array
    ) -> tuple[tuple[Acting, BadSamples], Rollout]:
        acting, bad_samples = carry
        state = acting.env_state
        drawn = network.policy.draw(jax.random.fold_in(key, 1), len(state.done))
        acted = actor(agent, state, key, acting.noise, limits, drawn)
        ended = step_envs(state, acted.action)
        applied = jnp.clip(acted.action, -1.0, 1.0)
        reward = jax.vmap(objective.reward)(ended, applied)
        wrong = what_is_wrong(ended, reward, guard)
        bad_samples = bad_samples.add(wrong, state, applied, reward)
        bad = wrong.any(-1)
        ended, reward = discard(ended, reward, bad)
        rollout = Rollout(
            obs=state.obs,
            acted=acted,
            consolidation=jax.vmap(objective.consolidation)(state),
            reward=reward,
            termination=ended.episode.termination,
            truncation=ended.episode.truncation,
            healthy=ended.episode.healthy,
            valid=~bad,
        )
        acting = Acting(
            env_state=restart_envs(ended),
            totals=acting.totals.add(ended, env.recovered_share, ~bad),
            noise=acted.noise,
        )
        return (acting, bad_samples), rollout

    nothing = BadSamples.none(acting.env_state, network.policy.action_size)
    (acting, bad_samples), rollout = jax.lax.scan(
        step, (acting, nothing), jax.random.split(key, unroll_length)
    )
    return acting, rollout, bad_samples.states()
