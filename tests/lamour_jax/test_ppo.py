"""PPO on probes with known answers, and what one iteration must and must not change."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import State
from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.methods.sero import LARGEST
from lamour_jax.objective import Objective, original_task
from lamour_jax.ppo import noise
from lamour_jax.ppo.loss import LossWeights, Minibatch, ppo_loss
from lamour_jax.ppo.networks import Agent
from lamour_jax.ppo.rollout import EpisodeTotals
from tests.lamour_jax.probes import (
    SMALL,
    Probe,
    begin,
    iterate,
    make_learner,
    mean_actions,
    plus_or_minus_one,
    train,
    values,
)

ONE = Probe(reward=lambda obs, action: jnp.ones(()), length=5, truncates=True)


def test_a_time_limit_is_not_the_end_of_the_world() -> None:
    # Reward 1 for ever, cut off every 5 steps: with truncation bootstrapped, the value is that of
    # an endless episode.
    learner = make_learner(ONE)
    (value,) = values(learner, train(learner), 0.0)
    assert value == pytest.approx(1.0 / (1.0 - SMALL.per_step(1.0).discount), rel=0.05)


def test_a_termination_is_the_end() -> None:
    probe = Probe(reward=lambda obs, action: jnp.ones(()), length=1)
    learner = make_learner(probe)
    (value,) = values(learner, train(learner), 0.0)
    assert value == pytest.approx(1.0, abs=0.05)


def test_value_depends_on_the_observation() -> None:
    probe = Probe(reward=lambda obs, action: obs, start=plus_or_minus_one)
    learner = make_learner(probe)
    assert values(learner, train(learner), -1.0, 1.0) == pytest.approx([-1.0, 1.0], abs=0.1)


def test_reward_one_step_away_is_discounted_once() -> None:
    # See 0, get nothing; see 1, get 1; end.
    probe = Probe(reward=lambda obs, action: obs, advance=lambda obs: obs + 1.0, length=2)
    learner = make_learner(probe)
    expected = [SMALL.per_step(1.0).discount, 1.0]
    assert values(learner, train(learner), 0.0, 1.0) == pytest.approx(expected, abs=0.05)


def test_policy_finds_the_best_action_for_each_observation() -> None:
    def reward(obs: jax.Array, action: jax.Array) -> jax.Array:
        return -jnp.square(action - 0.6 * obs)

    learner = make_learner(Probe(reward=reward, start=plus_or_minus_one), iterations=150)
    agent = train(learner, iterations=150)
    assert mean_actions(learner, agent, -1.0, 1.0) == pytest.approx([-0.6, 0.6], abs=0.1)


def test_in_the_mirror_it_learns_what_to_do_on_the_side_where_it_never_was() -> None:
    def reward(obs: jax.Array, action: jax.Array) -> jax.Array:
        return 1.0 - jnp.square(action * obs - 0.6)

    probe = Probe(reward=reward, start=lambda key: jnp.ones(1))
    config = dataclasses.replace(SMALL, mirror=True)
    learner = make_learner(probe, config, iterations=150)
    agent = train(learner, iterations=150)
    assert mean_actions(learner, agent, -1.0, 1.0) == pytest.approx([-0.6, 0.6], abs=0.1)
    assert values(learner, agent, -1.0, 1.0) == pytest.approx([1.0, 1.0], abs=0.15)


def test_a_robot_without_a_mirror_image_cannot_learn_from_it() -> None:
    config = dataclasses.replace(SMALL, mirror=True)
    with pytest.raises(UserError, match=r"ppo.mirror: hopper does not say .* set it to false"):
        policies.fresh_header(envs.load("hopper", engine="mujoco"), RunConfig(ppo=config))


@pytest.fixture(scope="module")
def fresh_agent() -> Agent:
    return begin(make_learner(ONE), seed=7)


def leaning(agent: Agent, action: float) -> Agent:
    """Returns `agent` with mean action about `action` everywhere and an exact noise std of 0.3."""
    policy = jax.tree.map(lambda x: x, agent.params.policy)
    last = max(policy["params"])
    policy["params"][last]["bias"] = jnp.full_like(policy["params"][last]["bias"], action)
    log_std = jnp.full_like(agent.params.log_std, jnp.log(0.3))
    params = dataclasses.replace(agent.params, policy=policy, log_std=log_std)
    return dataclasses.replace(agent, params=params)


def test_consolidation_brings_the_original_policy_back(fresh_agent: Agent) -> None:
    original = leaning(fresh_agent, 0.6)
    nothing_to_gain = Objective(
        reward=lambda state, action: jnp.float32(0.0),
        consolidation=lambda state: jnp.float32(10.0),
        exploring=lambda state: jnp.bool_(False),
    )
    learner = make_learner(
        ONE, objective=nothing_to_gain, original=original, initial=leaning(fresh_agent, -0.6)
    )
    agent = train(learner)
    assert mean_actions(learner, agent, 0.0) == pytest.approx([0.6], abs=0.05)
    np.testing.assert_allclose(jnp.exp(agent.params.log_std[0]), 0.3, rtol=0.1)


def test_the_policy_learns_only_where_it_acts(fresh_agent: Agent) -> None:
    # The reward asks for 0.6 everywhere; in observation 1 the original policy acts, with -0.6.
    probe = Probe(reward=lambda obs, action: -jnp.square(action - 0.6), start=plus_or_minus_one)
    objective = Objective(
        reward=lambda state, action: state.reward,
        original_acts=lambda state: state.obs["policy"][0] > 0.0,
    )
    original = leaning(fresh_agent, -0.6)
    learner = make_learner(probe, objective=objective, original=original, iterations=150)
    agent = train(learner, iterations=150)
    assert mean_actions(learner, agent, -1.0) == pytest.approx([0.6], abs=0.1)
    # The critic learns everywhere: what the original policy, mean -0.6 and std 0.3, makes of it.
    assert values(learner, agent, 1.0) == pytest.approx([-(1.2**2 + 0.3**2)], rel=0.15)


def test_unlikely_actions_of_the_original_policy_do_no_harm(fresh_agent: Agent) -> None:
    # The ratio of the second overflows; the policy does not learn from it.
    two, one = jnp.zeros(2), jnp.zeros((2, 1))
    batch = Minibatch(
        obs=one,
        critic_obs=None,
        action=one,
        noise_offset=one,
        log_prob=jnp.array([-1.0, -1e6]),
        exploring=two > 0.0,
        valid=two + 1.0,
        learning=jnp.array([1.0, 0.0]),
        drawn=None,
        advantage=jnp.array([-1.0, -1.0]),
        value_target=two,
        consolidation=two,
        original_mean=one,
        original_std=one + 1.0,
    )
    learner = make_learner(ONE)
    bounds = noise.bounds(SMALL, jnp.float32(0.0))
    weights = LossWeights(policy=jnp.float32(1.0), acting=jnp.float32(1.0))
    gradients, parts = jax.grad(ppo_loss, has_aux=True)(
        fresh_agent.params, learner.network, batch, bounds, SMALL, weights
    )
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, parts)))
    assert float(jnp.abs(gradients.log_std).max()) > 0.0


def test_dropout_keeps_the_probability_ratio_exact() -> None:
    # One gradient step an iteration: the policy that is updated is the one that acted.
    config = dataclasses.replace(
        SMALL, dropout=0.3, epochs=1, minibatch_size=SMALL.num_envs * SMALL.unroll_length
    )
    probe = Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one)
    learner = make_learner(probe, config)
    metrics = iterate(learner, learner.init(0))[1].metrics
    assert float(metrics["training/approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    assert float(metrics["training/clip_fraction"]) == 0.0


def test_a_policy_with_dropout_learns_and_records_its_largest_variance() -> None:
    probe = Probe(
        reward=lambda obs, action: -jnp.square(action - 0.6 * obs), start=plus_or_minus_one
    )
    config = dataclasses.replace(SMALL, dropout=0.1)
    learner = make_learner(probe, config, iterations=150)
    early = train(learner, iterations=2).auxiliary[LARGEST]
    agent = train(learner, iterations=150)
    assert mean_actions(learner, agent, -1.0, 1.0) == pytest.approx([-0.6, 0.6], abs=0.15)
    largest = np.asarray(agent.auxiliary[LARGEST])
    assert (largest >= np.asarray(early)).all()
    assert (largest > np.asarray(early)).any()


def test_observation_statistics_are_frozen_when_consolidating(fresh_agent: Agent) -> None:
    probe = Probe(reward=lambda obs, action: obs, start=plus_or_minus_one)
    consolidating = make_learner(probe, original=fresh_agent)
    learning_anew = make_learner(probe)
    before = fresh_agent.observation_statistics
    kept = train(consolidating, iterations=2).observation_statistics
    moved = train(learning_anew, iterations=2).observation_statistics
    assert jax.tree.all(jax.tree.map(np.array_equal, before, kept))
    np.testing.assert_allclose(moved.std, 1.0, atol=0.1)


def test_observation_std_has_a_floor() -> None:
    agent = train(make_learner(ONE), iterations=2)  # every observation is 0
    np.testing.assert_allclose(agent.observation_statistics.std, SMALL.observation_std_floor)


def test_only_the_critic_learns_during_its_warm_up() -> None:
    config = dataclasses.replace(SMALL, critic_warmup=0.5)
    learner = make_learner(ONE, config, iterations=4)
    state = learner.init(0)
    # The iteration takes over the memory of its argument: keep copies.
    policies = [jax.device_get((state.agent.params.policy, state.agent.params.log_std))]
    critics = [jax.device_get(state.agent.params.critic)]
    scales = []
    for _ in range(3):
        state, _ = learner.iterate(state)
        scales.append(float(state.learning_rate_scale[0]))
        policies.append(jax.device_get((state.agent.params.policy, state.agent.params.log_std)))
        critics.append(jax.device_get(state.agent.params.critic))

    def same(a: object, b: object) -> bool:
        return jax.tree.all(jax.tree.map(np.array_equal, a, b))

    assert same(policies[0], policies[1])
    assert same(policies[1], policies[2])
    assert not same(policies[2], policies[3])
    assert not same(critics[0], critics[1])
    assert scales[:2] == [1.0, 1.0], "it does not learn in larger and larger steps afterwards"


def test_a_policy_may_begin_in_small_steps() -> None:
    def moved(initial_scale: float) -> tuple[float, float]:
        learner = make_learner(ONE, dataclasses.replace(SMALL, initial_scale=initial_scale))
        state = learner.init(0)
        before = jax.device_get(state.agent.params)
        after = learner.iterate(state)[0].agent.params

        def distance(a: object, b: object) -> float:
            pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
            return float(sum(jnp.abs(x - y).sum() for x, y in pairs))

        return distance(after.policy, before.policy), distance(after.critic, before.critic)

    policy, critic = moved(1.0)
    gentle_policy, same_critic = moved(0.03)
    assert 0.0 < gentle_policy < 0.1 * policy
    assert same_critic == pytest.approx(critic, rel=1e-3)


def test_iterations_share_one_compilation() -> None:
    learner = make_learner(ONE)
    train(learner, iterations=4)
    assert learner.iterate._cache_size() == 1


def test_metrics_are_means_over_ended_episodes() -> None:
    def step(reward: list[float], done: list[bool]) -> State:
        state = jax.vmap(ONE.reset)(jax.random.split(jax.random.key(0), 3))
        counts = {"steps": jnp.array([4, 6, 8]), "healthy_streak": jnp.array([1, 2, 4])}
        return dataclasses.replace(
            state,
            reward=jnp.array(reward),
            done=jnp.array(done, jnp.float32),
            episode=state.episode.replace(**counts),
        )

    totals = EpisodeTotals.zero(3)
    all_valid = jnp.ones(3, bool)
    totals = totals.add(step([1.0, 2.0, 3.0], [False, False, False]), 0.2, all_valid)
    totals = totals.add(step([1.0, 4.0, 5.0], [False, True, True]), 0.2, all_valid)
    metrics = totals.metrics()
    assert float(metrics["episode/ended"]) == 2
    assert float(metrics["episode/return"]) == (6 + 8) / 2
    assert float(metrics["episode/length"]) == (6 + 8) / 2
    assert float(metrics["episode/healthy_streak"]) == (2 + 4) / 2
    # The next iteration goes on with the episodes that run, and counts ended ones anew.
    cleared = totals.cleared()
    np.testing.assert_array_equal(cleared.episode_return, [2.0, 0.0, 0.0])
    assert float(cleared.ended.sum()) == 0
    assert jnp.isnan(cleared.metrics()["episode/return"])


def test_seed_decides_every_bit() -> None:
    probe = Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one)
    learner = make_learner(probe, objective=original_task())
    first, again, other = (train(learner, iterations=3, seed=seed) for seed in (5, 5, 6))
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    assert not jax.tree.all(jax.tree.map(np.array_equal, first.params, other.params))


def test_the_critic_may_see_more_than_the_policy() -> None:
    # The policy sees 0 always; the critic sees the number that the reward is, twice.
    probe = Probe(reward=lambda obs, action: obs, start=plus_or_minus_one, hides=True)
    learner = make_learner(probe)
    agent = train(learner)
    seen = jnp.array([[-1.0, -1.0], [1.0, 1.0]])
    value = learner.network.value(agent, {"policy": jnp.zeros((2, 1)), "critic": seen})
    np.testing.assert_allclose(value, [-1.0, 1.0], atol=0.1)
    # Each has statistics of its own.
    assert agent.observation_statistics.mean.shape == (1,)
    assert agent.critic_statistics is not None
    np.testing.assert_allclose(agent.critic_statistics.std, 1.0, atol=0.1)
