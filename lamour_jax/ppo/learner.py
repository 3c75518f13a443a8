"""One PPO iteration as one compiled program: rollout, advantages, minibatch updates.

Training is of a population: every leaf of the state has its members as the leading axis. One run
alone is a population of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from brax.training.acme import running_statistics
from brax.training.agents.ppo.losses import compute_gae
from flax import struct

from envs import RecoveryEnv
from lamour_jax.objective import Objective
from lamour_jax.placement import Placement
from lamour_jax.ppo import noise
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.config import POLICY_SCALES, GuardConfig, PPOConfig
from lamour_jax.ppo.guard import BadStates, Skipped
from lamour_jax.ppo.loss import LossWeights, Minibatch, ppo_loss
from lamour_jax.ppo.networks import ActorCritic, Agent, AgentParams
from lamour_jax.ppo.rollout import Acting, EpisodeTotals, Rollout, collect


class TrainState(struct.PyTreeNode):
    """Everything that training carries from one iteration to the next."""

    agent: Agent
    optimizer: optax.OptState
    acting: Acting
    key: jax.Array
    iteration: jax.Array
    learning_rate_scale: jax.Array
    skipped: Skipped


class Found(struct.PyTreeNode):
    """What an iteration found: its metrics, `()` each, and the states that bad samples began from.

    `skipped` are the updates that were not made, up to now.
    """

    metrics: dict[str, jax.Array]
    bad_states: BadStates
    skipped: Skipped


class _Updates(struct.PyTreeNode):
    """What an iteration's updates made; `losses` and `applied` `(epochs, minibatches)`."""

    params: AgentParams
    optimizer: optax.OptState
    losses: dict[str, jax.Array]
    applied: jax.Array


class Learner:
    """Trains agents on an environment and an objective."""

    def __init__(
        self,
        env: RecoveryEnv,
        objective: Objective,
        config: PPOConfig,
        iterations: int,
        network: ActorCritic,
        original: Agent | None = None,
        initial: Agent | None = None,
        guard: GuardConfig | None = None,
        placement: Placement | None = None,
    ):
        """Prepares the compiled iteration.

        Args:
            env: a single environment; the learner makes it a batch.
            objective: the method.
            config: the learner's settings.
            iterations: how many iterations the schedules (learning rate, noise) span.
            network: of the agents.
            original: the policy to consolidate, whose observation statistics stay frozen.
            initial: the agent to start from; `original` by default, a fresh one without either.
            guard: which samples are bad; its defaults if none is given.
            placement: the devices that the environments are spread over; a single one by default.
        """
        self.network = network
        self._env = env
        self._actor = Actor(network, objective, original)
        self._config = config
        self._per_step = config.per_step(env.control_timestep)
        self._guard = guard or GuardConfig()
        self._iterations = iterations
        self._original = original
        self._initial = original if initial is None else initial
        self._placement = placement or Placement()
        self._optimizer = optax.inject_hyperparams(self._make_optimizer)(learning_rate=0.0)
        self.iterate = jax.jit(self._iterate_all, donate_argnums=0)
        # Compiled, since arrays of several processes can only be changed so.
        self._take = jax.jit(self._take_member, static_argnums=1)
        self._join = jax.jit(self._join_members)
        self._reset = jax.jit(jax.vmap(env.reset))

    def _make_optimizer(self, learning_rate: float) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self._config.max_grad_norm),
            optax.adam(learning_rate, eps=1e-5),
        )

    # The population.

    def init(self, *seeds: int) -> TrainState:
        """Returns the state before the first iteration, leading axis a member for each seed.

        The same seed gives the same bits, whoever stands beside it.
        """
        states = [self._init(seed) for seed in seeds]
        # The iteration takes its argument's memory over, so no two leaves may share a buffer. On
        # named devices, as restored checkpoints are: either way the iteration compiles once.
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        return self._on_devices(self._placement.place, states, axis=1)

    def bytes_per_member(self) -> int:
        """Returns about how much memory one member takes while an iteration runs."""
        state = jax.eval_shape(lambda: self._init(0))
        config, sizes = self._config, state.acting.env_state.obs.values()
        # The state before, after and while it is stepped; a rollout, as it is and as a batch.
        numbers = sum(size.shape[-1] for size in sizes) + 6 * self.network.policy.action_size + 16
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
        return 3 * held + 4 * 4 * config.batch_size * numbers

    def member(self, states: TrainState, index: int) -> TrainState:
        """Returns one member's state, without the population's axis."""
        return self._take(states, index)

    def population(self, members: Sequence[TrainState]) -> TrainState:
        """Returns members' states, as `member` gives them, side by side."""
        return self._join(list(members))

    def _take_member(self, states: TrainState, index: int) -> TrainState:
        own = jax.tree.map(lambda leaf: leaf[index], states)
        return self._on_devices(self._placement.constrain, own, axis=0)

    def _join_members(self, members: list[TrainState]) -> TrainState:
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        return self._on_devices(self._placement.constrain, states, axis=1)

    def _on_devices(self, put: Callable[..., Any], state: TrainState, axis: int) -> TrainState:
        """Spreads the environments, along `axis`, and what belongs to each over the devices."""
        acting = put(state.acting, lambda leaf: leaf.ndim > axis, axis)
        return put(state.replace(acting=None)).replace(acting=acting)

    def _iterate_all(self, states: TrainState) -> tuple[TrainState, Found]:
        """Does an iteration of every member; every leaf has the members as its leading axis."""
        if len(states.iteration) == 1:
            # The same program without an axis: some operations are slower with one of length 1.
            done = self._iterate(jax.tree.map(lambda leaf: leaf[0], states))
            states, found = jax.tree.map(lambda leaf: leaf[None], done)
        else:
            states, found = jax.vmap(self._iterate)(states)
        return self._on_devices(self._placement.constrain, states, axis=1), found

    # One member.

    def _init(self, seed: int) -> TrainState:
        config = self._config
        agent_key, env_key, clock_key, key = jax.random.split(jax.random.key(seed), 4)
        agent = self.network.init(agent_key, config.std)
        if self._initial is not None:
            agent = self._initial
        env_state = self._reset(jax.random.split(env_key, config.num_envs))
        # Time limits would otherwise end all episodes at once, again and again, and an iteration
        # would see either only starts or none.
        steps = jax.random.randint(clock_key, (config.num_envs,), 0, self._env.time_limit)
        episode = env_state.episode.replace(steps=steps)
        return TrainState(
            agent=agent,
            optimizer=self._optimizer.init(agent.params),
            acting=Acting(
                env_state=env_state.replace(episode=episode),
                totals=EpisodeTotals.zero(config.num_envs),
                noise=jnp.zeros((config.num_envs, self.network.policy.action_size)),
            ),
            key=key,
            iteration=jnp.int32(0),
            learning_rate_scale=jnp.float32(config.initial_scale),
            skipped=Skipped.none(),
        )

    def _iterate(self, state: TrainState) -> tuple[TrainState, Found]:
        config = self._config
        progress = state.iteration / self._iterations
        limits = noise.bounds(config, progress, self._per_step.correlation)
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        acting, rollout, bad_states = collect(
            rollout_key,
            self._env,
            self._actor,
            state.agent,
            limits,
            state.acting,
            config.unroll_length,
            self._guard,
            self._placement,
        )
        agent, batch = self._prepare(state.agent, rollout, acting.env_state.obs)
        weights = LossWeights(
            policy=(progress >= config.critic_warmup).astype(jnp.float32),
            acting=noise.annealed(config.acting_weight, progress, config.annealing),
        )
        learning_rate = config.learning_rate * (1.0 - (1.0 - config.final_learning_rate) * progress)
        made = self._update(update_key, agent.params, batch, limits, weights, learning_rate, state)
        losses = {name: _mean_where(made.applied, values) for name, values in made.losses.items()}
        skipped = state.skipped.add(made.applied.ravel())
        next_state = TrainState(
            agent=agent.replace(params=made.params),
            optimizer=made.optimizer,
            acting=acting.replace(totals=acting.totals.cleared()),
            key=key,
            iteration=state.iteration + 1,
            # While the policy stands still, its KL divergence says nothing.
            learning_rate_scale=jnp.where(
                weights.policy > 0.0,
                self._adapt(state.learning_rate_scale, losses["approx_kl"]),
                state.learning_rate_scale,
            ),
            skipped=skipped,
        )
        metrics = {
            **{f"training/{name}": value for name, value in losses.items()},
            **acting.totals.metrics(),
            **self._rollout_metrics(rollout, acting),
            "training/bad_samples": bad_states.count,
            "training/bad_samples_at_start": bad_states.at_start,
            "training/bad_samples_healthy": bad_states.healthy,
            "training/skipped_updates": skipped.total - state.skipped.total,
            "training/learning_rate": learning_rate,
            "training/policy_learning_rate": learning_rate * state.learning_rate_scale,
            "training/explore_std": limits.low[1],
            "training/std": noise.bounded_std(made.params.log_std, jnp.bool_(False), limits).mean(),
        }
        return next_state, Found(metrics, bad_states, skipped)

    def _rollout_metrics(self, rollout: Rollout, acting: Acting) -> dict[str, jax.Array]:
        grading = acting.env_state.episode.grading
        graded = {} if grading is None else {"recovery/start_distance": grading.distance.mean()}
        return graded | {
            "reward/mean": rollout.reward.mean(),
            "recovery/healthy_fraction": rollout.healthy.mean(),
        }

    def _update(
        self,
        key: jax.Array,
        params: AgentParams,
        batch: Minibatch,
        limits: noise.NoiseBounds,
        weights: LossWeights,
        learning_rate: jax.Array,
        state: TrainState,
    ) -> _Updates:
        """Goes over an iteration's transitions `config.epochs` times in random minibatches."""
        config = self._config
        optimizer = state.optimizer
        optimizer.hyperparams["learning_rate"] = learning_rate

        def epoch(carry: tuple[Any, optax.OptState], key: jax.Array) -> tuple[Any, Any]:
            order = jax.random.permutation(key, config.batch_size)
            order = order.reshape(-1, config.minibatch_size)
            return jax.lax.scan(minibatch_step, carry, order)

        def minibatch_step(carry: tuple[Any, optax.OptState], rows: jax.Array) -> tuple[Any, Any]:
            params, optimizer = carry
            minibatch = jax.tree.map(lambda x: x[rows], batch)
            minibatch = self._placement.constrain(minibatch, lambda leaf: True)
            gradients, metrics = jax.grad(ppo_loss, has_aux=True)(
                params, self.network, minibatch, limits, config, weights
            )
            # A sum of squares is not finite where one of them is not.
            squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradients))
            applied = jnp.isfinite(squares)
            updates, next_optimizer = self._optimizer.update(gradients, optimizer, params)
            scale = state.learning_rate_scale
            updates = updates.replace(
                policy=jax.tree.map(lambda update: scale * update, updates.policy),
                log_std=scale * updates.log_std,
            )
            updated = optax.apply_updates(params, updates), next_optimizer
            kept = jax.tree.map(lambda new, old: jnp.where(applied, new, old), updated, carry)
            return kept, (metrics, applied)

        (params, optimizer), (losses, applied) = jax.lax.scan(
            epoch, (params, optimizer), jax.random.split(key, config.epochs)
        )
        return _Updates(params, optimizer, losses, applied)

    def _adapt(self, scale: jax.Array, kl: jax.Array) -> jax.Array:
        """Moves the policy's learning rate so that an iteration's mean KL stays near its target.

        As the noise's std falls, the same step in the mean is a larger step of the policy: with a
        fixed rate the clipped share rises to a half and learning stalls.
        """
        target = self._config.target_kl
        factor = jnp.where(kl > 1.3 * target, 1 / 1.1, jnp.where(kl < target / 1.3, 1.1, 1.0))
        return jnp.clip(scale * factor, *POLICY_SCALES)

    def _prepare(
        self, agent: Agent, rollout: Rollout, last_obs: dict[str, jax.Array]
    ) -> tuple[Agent, Minibatch]:
        """Updates the statistics and flattens a `(time, envs)` rollout for the updates."""
        config, network, acted = self._config, self.network, rollout.acted
        seen = jax.tree.map(lambda x, last: jnp.concatenate([x, last[None]]), rollout.obs, last_obs)
        values = network.value(agent, seen)
        targets, advantages = compute_gae(
            truncation=rollout.truncation.astype(jnp.float32),
            termination=rollout.termination.astype(jnp.float32),
            rewards=rollout.reward,
            values=values[:-1],
            bootstrap_value=values[-1],
            lambda_=config.gae_lambda,
            discount=self._per_step.discount,
        )
        value_statistics = running_statistics.update(agent.value_statistics, targets)
        own_critic = agent.critic_statistics is not None
        consolidation, original_mean, original_std = self._consolidation(rollout)
        batch = Minibatch(
            obs=network.normalize(agent, rollout.obs["policy"]),
            critic_obs=network.normalize_critic(agent, rollout.obs) if own_critic else None,
            action=acted.action,
            noise_offset=acted.noise_offset,
            log_prob=acted.log_prob,
            exploring=acted.exploring,
            valid=rollout.valid.astype(jnp.float32),
            learning=rollout.valid * (1.0 - acted.original_acted),
            drawn=acted.drawn,
            advantage=normalize_within_groups(advantages, acted.exploring, rollout.valid),
            value_target=running_statistics.normalize(targets, value_statistics),
            consolidation=consolidation,
            original_mean=original_mean,
            original_std=original_std,
        )
        if self._original is None:
            # Used from the next iteration on: this one's actions were chosen under the old ones.
            agent = network.observed(agent, rollout.obs, config.observation_std_floor)
        agent = agent.replace(value_statistics=value_statistics)
        batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        # Minibatches are drawn from all transitions, so that how many devices there are does not
        # matter: each device gets them all, and takes its share of every minibatch.
        return agent, self._placement.constrain(batch)

    def _consolidation(self, rollout: Rollout) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns where to stay close to the original policy, and its action's mean and std."""
        original, network = self._original, self.network
        if original is None:
            action = rollout.acted.action
            return jnp.zeros_like(rollout.reward), jnp.zeros_like(action), jnp.ones_like(action)
        obs = network.normalize(original, rollout.obs["policy"])
        mean = network.mean(original.params, obs)
        std = jnp.broadcast_to(jnp.exp(original.params.log_std[0]), mean.shape)
        return rollout.valid * rollout.consolidation, mean, std


def settled(agent: Agent, config: PPOConfig) -> Agent:
    """Returns a trained agent as it is finished, with the noise of the end of training."""
    log_std = noise.settled(agent.params.log_std, config)
    return agent.replace(params=agent.params.replace(log_std=log_std))


def _mean_where(applied: jax.Array, values: jax.Array) -> jax.Array:
    """Returns the mean over the updates that were made, NaN if none was; of all, bit by bit it."""
    share = applied.size / applied.sum()
    return jnp.where(applied, values, 0.0).mean() * share


def normalize_within_groups(advantages: jax.Array, group: jax.Array, valid: jax.Array) -> jax.Array:
    """Returns advantages with mean 0 and standard deviation 1 in either group, any shape.

    Mean and standard deviation are of those that are `valid`.

    A fall out of a running gait costs hundreds of times what a lying robot gains by moving a limb
    the right way: normalised together, coming back would hardly be learned from.
    """

    def normalize(mask: jax.Array) -> jax.Array:
        count = jnp.maximum(mask.sum(), 1)
        mean = jnp.sum(advantages * mask) / count
        variance = jnp.sum(jnp.square(advantages - mean) * mask) / count
        return (advantages - mean) / (jnp.sqrt(variance) + 1e-8)

    return jnp.where(group, normalize(group & valid), normalize(~group & valid))
