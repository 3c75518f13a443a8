"""One PPO iteration as one compiled program: rollout, advantages, minibatch updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from brax.training.acme import running_statistics
from brax.training.agents.ppo.losses import compute_gae
from flax import struct

from envs import RecoveryEnv
from envs.mirror import Mirror
from lamour_jax.errors import UserError
from lamour_jax.objective import Objective
from lamour_jax.placement import Placement
from lamour_jax.ppo.config import POLICY_SCALES, GuardConfig, PPOConfig
from lamour_jax.ppo.guard import BadSamples, BadStates, Skipped
from lamour_jax.ppo.loss import LossWeights, Minibatch, ppo_loss
from lamour_jax.ppo.networks import ActorCritic, Agent, NoiseBounds
from lamour_jax.ppo.rollout import Acting, EpisodeTotals, Rollout, collect


class TrainState(struct.PyTreeNode):
    """Everything that training carries from one iteration to the next.

    `bad_states` is what the iteration that made this state has found; the next finds its own.
    """

    agent: Agent
    optimizer: optax.OptState
    acting: Acting
    key: jax.Array
    iteration: jax.Array
    learning_rate_scale: jax.Array
    skipped: Skipped
    bad_states: BadStates


class Learner:
    """Trains an agent on an environment and an objective."""

    def __init__(
        self,
        env: RecoveryEnv,
        objective: Objective,
        config: PPOConfig,
        iterations: int,
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
            original: the policy to consolidate, whose observation statistics stay frozen.
            initial: the agent to start from; `original` by default, a fresh one without either.
            guard: which samples are bad; its defaults if none is given.
            placement: the devices that the environments are spread over; a single one by default.
        """
        self.network = ActorCritic(
            env.observation_size,
            env.action_size,
            config.hidden_sizes,
            config.activation,
            config.dropout,
            config.output,
            mirror_of(env) if config.mirror else None,
        )
        self._env = env
        self._objective = objective
        self._config = config
        self._per_step = config.per_step(env.control_timestep)
        self._guard = guard or GuardConfig()
        self._iterations = iterations
        self._original = original
        self._initial = original if initial is None else initial
        self._placement = placement or Placement()
        self._optimizer = optax.inject_hyperparams(self._make_optimizer)(learning_rate=0.0)
        self.iterate = jax.jit(self._iterate, donate_argnums=0)
        # Of several seeds at once; every leaf of the state has them as its leading axis.
        self.iterate_together = jax.jit(jax.vmap(self._iterate), donate_argnums=0)

    def _make_optimizer(self, learning_rate: float) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(self._config.max_grad_norm),
            optax.adam(learning_rate, eps=1e-5),
        )

    def init(self, seed: int) -> TrainState:
        """Returns the state before the first iteration; the same seed gives the same bits."""
        agent_key, env_key, clock_key, key = jax.random.split(jax.random.key(seed), 4)
        agent = self.network.init(agent_key, self._config.std)
        if self._initial is not None:
            agent = self._initial
        env_state = jax.jit(jax.vmap(self._env.reset))(
            jax.random.split(env_key, self._config.num_envs)
        )
        # Time limits would otherwise end all episodes at once, again and again, and an iteration
        # would see either only starts or none.
        env_state.info["steps"] = jax.random.randint(
            clock_key, (self._config.num_envs,), 0, self._env.time_limit
        )
        state = TrainState(
            agent=agent,
            optimizer=self._optimizer.init(agent.params),
            acting=Acting(
                env_state=env_state,
                totals=EpisodeTotals.zero(self._config.num_envs),
                noise=jnp.zeros((self._config.num_envs, self._env.action_size)),
            ),
            key=key,
            iteration=jnp.int32(0),
            learning_rate_scale=jnp.float32(self._config.initial_scale),
            skipped=Skipped.none(),
            bad_states=BadSamples.none(env_state, self._env.action_size).states(),
        )
        # The iteration takes its argument's memory over, so no two leaves may share a buffer. On
        # named devices, as restored checkpoints are: either way the iteration compiles once.
        return self._on_devices(self._placement.place, jax.tree.map(jnp.copy, state))

    def _on_devices(self, put: Callable[..., Any], state: TrainState) -> TrainState:
        """Spreads the environments and what belongs to each over the devices."""
        acting = put(state.acting, lambda leaf: leaf.ndim > 0)
        return put(state.replace(acting=None)).replace(acting=acting)

    def noise_bounds(self, progress: jax.Array) -> NoiseBounds:
        """Returns the bounds of the action noise at `progress`, 0 to 1, through training."""
        config = self._config
        ceiling = self._annealed(config.max_std, progress)
        explore = self._annealed(config.explore_std, progress)
        return NoiseBounds(
            low=jnp.stack([jnp.minimum(config.min_std, ceiling), explore]),
            high=jnp.stack([ceiling, explore]),
            correlation=jnp.float32(self._per_step.correlation),
        )

    def _annealed(self, ends: tuple[float, float], progress: jax.Array) -> jax.Array:
        """Returns a setting on its way from start to end by equal factors, there at `annealing`."""
        start, end = ends
        return start * (end / start) ** jnp.minimum(progress / self._config.annealing, 1.0)

    def settled(self, agent: Agent) -> Agent:
        """Returns the agent with the action noise that it has at the end of training."""
        bounds = self.noise_bounds(jnp.float32(1.0))
        std = jnp.stack(
            [
                self.network.std(agent.params, jnp.bool_(exploring), bounds)
                for exploring in (False, True)
            ]
        )
        std = std.at[0].min(self._config.settled_std)
        return agent.replace(params=agent.params.replace(log_std=jnp.log(std)))

    def _iterate(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        config, network = self._config, self.network
        progress = state.iteration / self._iterations
        bounds = self.noise_bounds(progress)
        key, rollout_key, update_key = jax.random.split(state.key, 3)

        acting, rollout, bad_states = collect(
            rollout_key,
            self._env,
            self._objective,
            network,
            state.agent,
            state.agent if self._original is None else self._original,
            bounds,
            state.acting,
            config.unroll_length,
            self._guard,
            self._placement,
        )
        agent, batch = self._prepare(state.agent, rollout, acting.env_state.obs)
        decay = 1.0 - (1.0 - config.final_learning_rate) * progress
        learning_rate = config.learning_rate * decay
        optimizer = state.optimizer
        optimizer.hyperparams["learning_rate"] = learning_rate
        weights = LossWeights(
            policy=(progress >= config.critic_warmup).astype(jnp.float32),
            acting=self._annealed(config.acting_weight, progress),
        )

        def epoch(carry: tuple[Any, optax.OptState], key: jax.Array) -> tuple[Any, Any]:
            order = jax.random.permutation(key, config.batch_size)
            order = order.reshape(-1, config.minibatch_size)
            return jax.lax.scan(minibatch_step, carry, order)

        def minibatch_step(carry: tuple[Any, optax.OptState], rows: jax.Array) -> tuple[Any, Any]:
            params, optimizer = carry
            minibatch = jax.tree.map(lambda x: x[rows], batch)
            minibatch = self._placement.constrain(minibatch, lambda leaf: True)
            gradients, metrics = jax.grad(ppo_loss, has_aux=True)(
                params, network, minibatch, bounds, config, weights
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
            epoch, (agent.params, optimizer), jax.random.split(update_key, config.epochs)
        )
        losses = {name: _mean_where(applied, values) for name, values in losses.items()}
        skipped = state.skipped.add(applied.ravel())
        next_state = TrainState(
            agent=agent.replace(params=params),
            optimizer=optimizer,
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
            bad_states=bad_states,
        )
        metrics = {
            **{f"training/{name}": value for name, value in losses.items()},
            **acting.totals.metrics(),
            "training/bad_samples": bad_states.count,
            "training/skipped_updates": skipped.total - state.skipped.total,
            "training/learning_rate": learning_rate,
            "training/policy_learning_rate": learning_rate * state.learning_rate_scale,
            "training/explore_std": bounds.low[1],
            "training/std": network.std(params, jnp.bool_(False), bounds).mean(),
            "reward/mean": rollout.reward.mean(),
            "recovery/healthy_fraction": rollout.healthy.mean(),
        }
        grading = acting.env_state.info.get("grading")
        if grading is not None:
            metrics["recovery/start_distance"] = grading.distance.mean()
        return self._on_devices(self._placement.constrain, next_state), metrics

    def _adapt(self, scale: jax.Array, kl: jax.Array) -> jax.Array:
        """Moves the policy's learning rate so that an iteration's mean KL stays near its target.

        As the noise's std falls, the same step in the mean is a larger step of the policy: with a
        fixed rate the clipped share rises to a half and learning stalls.
        """
        target = self._config.target_kl
        factor = jnp.where(kl > 1.3 * target, 1 / 1.1, jnp.where(kl < target / 1.3, 1.1, 1.0))
        return jnp.clip(scale * factor, *POLICY_SCALES)

    def _prepare(
        self, agent: Agent, rollout: Rollout, last_obs: jax.Array
    ) -> tuple[Agent, Minibatch]:
        """Updates the statistics and flattens a `(time, envs)` rollout for the updates."""
        config, network = self._config, self.network
        values = network.value(agent, jnp.concatenate([rollout.obs, last_obs[None]]))
        targets, advantages = compute_gae(
            truncation=rollout.truncation.astype(jnp.float32),
            termination=rollout.termination.astype(jnp.float32),
            rewards=rollout.reward,
            values=values[:-1],
            bootstrap_value=values[-1],
            lambda_=config.gae_lambda,
            discount=self._per_step.discount,
        )
        normalized_obs = network.normalize(agent, rollout.obs)
        value_statistics = running_statistics.update(agent.value_statistics, targets)
        observation_statistics = agent.observation_statistics
        if self._original is None:
            # Used from the next iteration on: this one's actions were chosen under the old ones.
            observation_statistics = running_statistics.update(
                observation_statistics,
                self._on_both_sides(rollout.obs),
                std_min_value=config.observation_std_floor,
            )
            agent = self._record_variance(agent, normalized_obs)
            original_mean = jnp.zeros_like(rollout.action)
            original_std = jnp.ones_like(rollout.action)
            consolidation = jnp.zeros_like(rollout.reward)
        else:
            original = self._original
            original_mean = network.mean(original.params, network.normalize(original, rollout.obs))
            original_std = jnp.broadcast_to(
                jnp.exp(original.params.log_std[0]), original_mean.shape
            )
            consolidation = rollout.valid * rollout.consolidation
        batch = Minibatch(
            obs=normalized_obs,
            action=rollout.action,
            noise_offset=rollout.noise_offset,
            log_prob=rollout.log_prob,
            exploring=rollout.exploring,
            valid=rollout.valid.astype(jnp.float32),
            learning=rollout.valid * (1.0 - rollout.original_acted),
            dropout_keys=rollout.dropout_keys,
            advantage=normalize_within_groups(advantages, rollout.exploring, rollout.valid),
            value_target=running_statistics.normalize(targets, value_statistics),
            consolidation=consolidation,
            original_mean=original_mean,
            original_std=original_std,
        )
        agent = agent.replace(
            observation_statistics=observation_statistics, value_statistics=value_statistics
        )
        batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        # Minibatches are drawn from all transitions, so that how many devices there are does not
        # matter: each device gets them all, and takes its share of every minibatch.
        return agent, self._placement.constrain(batch)

    def _on_both_sides(self, obs: jax.Array) -> jax.Array:
        """Returns observations, followed by their mirror images for networks that see both."""
        mirror = self.network.mirror
        return obs if mirror is None else jnp.concatenate([obs, mirror.observation(obs)])

    def _record_variance(self, agent: Agent, normalized_obs: jax.Array) -> Agent:
        """Raises the largest variance that dropout caused to that of an iteration's states."""
        if agent.max_hidden_variance is None:
            return agent
        # Every eighth step shows as much: neighbouring states are alike, and it takes 30 passes.
        variance = self.network.hidden_variance(agent.params, normalized_obs[::8])
        return agent.replace(
            max_hidden_variance=jnp.maximum(agent.max_hidden_variance, variance.max(axis=(0, 1)))
        )


def mirror_of(robot: RecoveryEnv | type[RecoveryEnv]) -> Mirror:
    """Returns what `ppo.mirror` needs to know of a robot.

    Raises:
        UserError: it does not say.
    """
    mirror = robot.mirror()
    if mirror is None:
        raise UserError(
            f"ppo.mirror: {robot.name} does not say what it looks like in a mirror "
            "(RecoveryEnv.mirror); set it to false"
        )
    return mirror


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
