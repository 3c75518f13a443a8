"""Tiny environments whose values and best actions are known by pencil and paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from envs import RecoveryEnv, State
from envs.mirror import Mirror, Reflection
from envs.recovery_env import Episode
from lamour_jax.config import RunConfig
from lamour_jax.console import Console
from lamour_jax.objective import Objective, original_task
from lamour_jax.policies import fresh_header
from lamour_jax.ppo.acting import act
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.ppo.learner import Found, Learner, TrainState
from lamour_jax.ppo.networks import Agent
from lamour_jax.run import loop
from lamour_jax.run.checkpoints import Identity
from lamour_jax.run.folder import RunFolder
from lamour_jax.run.loop import Hooks
from lamour_jax.run.record import Run

SMALL = PPOConfig(
    num_envs=32,
    unroll_length=8,
    epochs=4,
    minibatch_size=64,
    learning_rate=3e-3,
    horizon=9.4912,  # a discount of 0.9 for steps of one second
    hidden_sizes=(16,),
    std=0.5,
    min_std=0.05,
)

NO_HOOKS = Hooks(evaluate=lambda run, agent: {})


class Probe:
    """One number to see, one number to act with, and an end after `length` steps.

    It has of `RecoveryEnv` what the learner and the evaluation use, without physics. In the mirror
    both numbers change their sign.
    """

    name = "probe"
    observation_size = 1
    action_size = 1
    recovered_share = 0.2
    control_timestep = 1.0
    has_goal = False

    def __init__(
        self,
        reward: Callable[[jax.Array, jax.Array], jax.Array],
        start: Callable[[jax.Array], jax.Array] = lambda key: jnp.zeros(1),
        advance: Callable[[jax.Array], jax.Array] = lambda obs: obs,
        length: int = 1,
        truncates: bool = False,
        hides: bool = False,
    ):
        """Describes an episode.

        Args:
            reward: of the observation acted on, `(1,)`, and the action, `(1,)`.
            start: the first observation from a key.
            advance: the next observation from the current one.
            length: steps of an episode.
            truncates: whether the end is a time limit, not a termination.
            hides: whether the policy sees 0 and the critic the number, twice.
        """
        self._reward, self._start, self._advance = reward, start, advance
        self.time_limit = length
        self._truncates = truncates
        self.hides = hides
        self.critic_observation_size = 2 if hides else 0

    @classmethod
    def mirror(cls) -> Mirror:
        turned = Reflection.by_name(["lateral"], ["lateral"])
        return Mirror(observation=turned, action=turned)

    def reset(self, key: jax.Array) -> State:
        key, start_key = jax.random.split(key)
        no, zero = jnp.bool_(False), jnp.float32(0.0)
        seen = self._start(start_key)
        episode = Episode(
            healthy=jnp.bool_(True),
            was_healthy=jnp.bool_(True),
            falling=no,
            fell=no,
            success=no,
            termination=no,
            truncation=no,
            steps=jnp.int32(0),
            healthy_streak=jnp.int32(0),
            task_reward=zero,
        )
        return State(
            data=(),
            obs=self._observe(seen),
            reward=zero,
            done=zero,
            episode=episode,
            memory=(),
            recovery_state=seen,
            key=key,
        )

    def step(self, state: State, action: jax.Array) -> State:
        before = state.recovery_state
        reward = self._reward(before, jnp.clip(action, -1.0, 1.0)).reshape(())
        steps = state.episode.steps + 1
        ended = steps >= self.time_limit
        seen = self._advance(before)
        return state.replace(
            obs=self._observe(seen),
            reward=reward,
            done=ended.astype(jnp.float32),
            episode=state.episode.replace(
                termination=ended & (not self._truncates),
                truncation=ended & self._truncates,
                steps=steps,
                healthy_streak=steps,
                task_reward=reward,
            ),
            recovery_state=seen,
        )

    def restart(self, state: State) -> State:
        fresh = self.reset(state.key)
        return jax.tree.map(lambda new, old: jnp.where(state.done > 0, new, old), fresh, state)

    def _observe(self, seen: jax.Array) -> dict[str, jax.Array]:
        if not self.hides:
            return {"policy": seen}
        return {"policy": jnp.zeros(1), "critic": jnp.concatenate([seen, seen])}


def plus_or_minus_one(key: jax.Array) -> jax.Array:
    """A start that is 1 or -1."""
    return jax.random.rademacher(key, (1,), jnp.float32)


def make_learner(
    probe: Probe,
    config: PPOConfig = SMALL,
    objective: Objective | None = None,
    iterations: int = 100,
    **agents: Agent,
) -> Learner:
    """Returns a learner on a probe; `agents` are its `original` and `initial`."""
    env = cast(RecoveryEnv, probe)
    network = fresh_header(env, RunConfig(ppo=config)).network()
    return Learner(env, objective or original_task(), config, iterations, network, **agents)


def alone(tree: Any) -> Any:
    """Returns what belongs to the only member of a population."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


def begin(learner: Learner, seed: int = 0) -> Agent:
    """Returns the agent that training begins with."""
    return cast(Agent, alone(learner.init(seed)).agent)


def iterate(learner: Learner, state: TrainState) -> tuple[TrainState, Found]:
    """Does an iteration of a population of one; what was found is without the axis."""
    state, found = learner.iterate(state)
    return state, alone(found)


def train(learner: Learner, iterations: int = 100, seed: int = 0) -> Agent:
    """Returns the agent after `iterations`."""
    state = learner.init(seed)
    for _ in range(iterations):
        state, _ = learner.iterate(state)
    return cast(Agent, alone(state).agent)


def train_run(
    learner: Learner, config: RunConfig, folder: RunFolder, hooks: Hooks = NO_HOOKS
) -> tuple[TrainState, list[dict[str, float]]]:
    """Trains one run as its settings say; returns the final state and its metrics."""
    run = Run(Identity(config), folder)
    [state] = loop.train(learner, [run], hooks, Console())
    return state, run.history.rows


def values(learner: Learner, agent: Agent, *observations: float) -> list[float]:
    """Returns the critic's values of observations."""
    return [
        float(learner.network.value(agent, {"policy": jnp.array([obs])})) for obs in observations
    ]


def mean_actions(learner: Learner, agent: Agent, *observations: float) -> list[float]:
    """Returns the policy's mean actions in observations."""
    obs, nowhere = jnp.array(observations)[:, None], jnp.zeros(len(observations), bool)
    return [float(action) for action in act(learner.network, agent, obs, nowhere).action[:, 0]]
