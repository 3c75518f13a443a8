"""What each method rewards, consolidates and explores, case by case."""

from __future__ import annotations

from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import State
from lamour_jax.config import ObjectiveConfig
from lamour_jax.methods import METHODS, Ingredients, make_objective
from lamour_jax.methods.sero import LARGEST, DropoutPolicy, uncertainty
from lamour_jax.objective import Objective, original_task
from lamour_jax.ppo.networks import ActorCritic
from reward_codegen import RewardProgram
from tests.lamour_jax.probes import Probe

ACTION = jnp.array([0.5])


class TwoLines:
    """A reward program by hand: recovered above 0; reward -|state| - |action|."""

    @staticmethod
    def is_recovered(state: jax.Array) -> jax.Array:
        return (state[0] > 0.0).astype(jnp.int32)

    @staticmethod
    def calculate_reward(state: jax.Array, action: jax.Array) -> jax.Array:
        return -jnp.abs(state[0]) - jnp.abs(action[0])


PROGRAM = cast(RewardProgram, TwoLines)
POLICY = DropoutPolicy(1, 1, (8, 8), dropout=0.1)
NETWORK = ActorCritic(POLICY)
ORIGINAL = NETWORK.init(jax.random.key(0), 0.5).replace(auxiliary={LARGEST: jnp.ones(8)})


def make(method: str, fall_cost: float = 0.0) -> Objective:
    coefficients = ObjectiveConfig(aux_coef=0.2, consol_coef=0.1, fall_cost=fall_cost)
    return make_objective(method, Ingredients(PROGRAM, coefficients, NETWORK, ORIGINAL))


def state(healthy: bool = True, falling: bool = False, at: float = 3.0) -> State:
    """A state whose transition was worth 7 to the original task; the program sees where it is."""
    plain = Probe(reward=lambda obs, action: obs).reset(jax.random.key(0))
    return plain.replace(
        obs={"policy": jnp.array([at])},
        reward=jnp.float32(7.0 if healthy else 0.0),
        episode=plain.episode.replace(
            healthy=jnp.bool_(healthy),
            falling=jnp.bool_(falling),
            task_reward=jnp.float32(7.0),
        ),
        recovery_state=jnp.array([at]),
    )


@pytest.mark.parametrize(
    ("method", "healthy", "reward"),
    [
        ("lamour", True, 7.0),
        ("lamour", False, 0.2 * -3.5),
        ("lamour-no-lpc", True, 7.0),
        ("lamour-no-lpc", False, 0.2 * -3.5),
        ("lamour-switch", True, 7.0),
        ("lamour-switch", False, 0.2 * -3.5),
        ("sero", True, 7.0),
        ("env", True, 7.0),
        ("env", False, 7.0),
        ("zero", True, 7.0),
        ("zero", False, 0.0),
    ],
)
def test_reward(method: str, healthy: bool, reward: float) -> None:
    objective = make(method)
    assert float(objective.reward(state(healthy), ACTION)) == pytest.approx(reward)


def test_a_reward_that_is_no_number_stays_visible() -> None:
    # The learner leaves the sample out; a number in its place would be learned from.
    objective = make("lamour")
    reward = objective.reward(state(healthy=False, at=jnp.nan), ACTION)
    assert jnp.isnan(reward)


@pytest.mark.parametrize("method", METHODS)
def test_a_fall_costs_the_same_in_every_method(method: str) -> None:
    objective = make(method, fall_cost=20.0)
    down = objective.reward(state(healthy=False), ACTION)
    falling = objective.reward(state(healthy=False, falling=True), ACTION)
    assert float(down - falling) == pytest.approx(20.0)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "sero"])
def test_only_lamour_consolidates_and_only_where_recovered(method: str) -> None:
    objective = make(method)
    recovered, not_recovered = state(at=1.0), state(at=-1.0)
    weight = 0.1 if method == "lamour" else 0.0
    assert float(objective.consolidation(recovered)) == pytest.approx(weight)
    assert float(objective.consolidation(not_recovered)) == 0.0


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explores_where_not_recovered(method: str) -> None:
    objective = make(method)
    assert not objective.exploring(state(at=1.0))
    assert objective.exploring(state(at=-1.0))


def test_original_task_is_the_environments_reward_alone() -> None:
    objective = original_task()
    assert float(objective.reward(state(healthy=True), ACTION)) == 7.0
    assert float(objective.reward(state(healthy=False), ACTION)) == 0.0
    assert float(objective.consolidation(state(at=1.0))) == 0.0
    assert not objective.exploring(state(at=-1.0))


def test_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown method 'sac'; known: lamour, lamour-no-lpc"):
        make("sac")


@pytest.mark.parametrize("method", METHODS)
def test_only_the_switch_lets_the_original_policy_act_and_only_where_recovered(method: str) -> None:
    objective = make(method)
    recovered, not_recovered = state(at=1.0), state(at=-1.0)
    assert bool(objective.original_acts(recovered)) == (method == "lamour-switch")
    assert not objective.original_acts(not_recovered)


def test_sero_rewards_and_consolidates_by_certainty() -> None:
    objective = make("sero")
    certainty = 1.0 - float(uncertainty(NETWORK, ORIGINAL, jnp.array([3.0])))
    assert 0.0 < certainty < 1.0
    down = float(objective.reward(state(healthy=False), ACTION))
    assert down == pytest.approx(0.2 * (certainty - 1.0))
    weight = float(objective.consolidation(state(at=3.0)))
    assert weight == pytest.approx(0.1 * certainty)


def test_uncertainty_weighs_units_by_their_own_relative_variance() -> None:
    """Recomputed by hand from the definition in LaMOuR's comparison with SeRO."""
    obs = jnp.array([3.0])
    variance = np.asarray(POLICY.hidden_variance(ORIGINAL.params.policy, obs))
    limits = np.linspace(0.5, 4.0, 8) * variance.max()
    agent = ORIGINAL.replace(auxiliary={LARGEST: jnp.asarray(limits)})
    relative = variance / limits
    expected = np.average(relative, weights=relative)
    assert float(uncertainty(NETWORK, agent, obs)) == pytest.approx(expected, rel=1e-5)
    tight = ORIGINAL.replace(auxiliary={LARGEST: jnp.full(8, 1e-3)})
    assert float(uncertainty(NETWORK, tight, obs)) == 1.0
