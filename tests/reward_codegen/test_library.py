"""The library programs: what they promise, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reward_codegen import RewardProgram, library

from .agreement import assert_same, by_jax, by_python, compiled, ordinary

SIZES = {"ant": (27, 8), "half_cheetah": (17, 6), "hopper": (11, 3), "walker2d": (17, 6)}


def state_of(name: str, *first: float) -> np.ndarray:
    state = np.zeros(SIZES[name][0])
    state[: len(first)] = first
    return state


# From the out-of-distribution start to the ordinary one; the first is where recovery begins.
RECOVERIES = {
    "ant": [
        state_of("ant", 0.25 + 0.35 * t, np.sin(0.5 * np.pi * t), np.cos(0.5 * np.pi * t))
        for t in np.linspace(0, 1, 30)
    ],
    "half_cheetah": [
        state_of("half_cheetah", -0.5 * (1 - t), -2.88 * (1 - t)) for t in np.linspace(0, 1, 30)
    ],
    "hopper": [
        state_of("hopper", 0.1 + 1.15 * t, -1.7453 * (1 - t)) for t in np.linspace(0, 1, 30)
    ],
    "walker2d": [
        state_of("walker2d", 0.1 + 1.15 * t, 1.574 * (1 - t)) for t in np.linspace(0, 1, 30)
    ],
}


def healthy(name: str, states: np.ndarray) -> np.ndarray:
    """The environments' own health tests, as far as position and orientation go."""
    z, angle = states[:, 0], states[:, 1]
    match name:
        case "ant":
            w, x, y, q = states[:, 1:5].T
            roll = np.arctan2(2 * (w * x + y * q), 1 - 2 * (x * x + y * y))
            return (z >= 0.2) & (z <= 1.0) & (np.abs(roll) <= np.pi / 2)
        case "half_cheetah":
            return np.abs(angle) <= np.pi / 2
        case "hopper":
            return (z > 0.7) & (np.abs(angle) < 0.2)
    return (z > 0.9) & (z < 2.0) & (np.abs(angle) < 0.3)


@pytest.fixture(params=library.names())
def named(request: pytest.FixtureRequest) -> tuple[str, RewardProgram]:
    name = request.param
    return name, compiled(library.source(name), *SIZES[name])


def test_an_unknown_name_lists_the_known_ones() -> None:
    assert library.names() == ("ant", "half_cheetah", "hopper", "walker2d")
    with pytest.raises(KeyError, match="no library reward program 'anti'; known: ant, half"):
        library.source("anti")


def test_it_agrees_with_python(named: tuple[str, RewardProgram]) -> None:
    name, program = named
    states, actions = ordinary(7, 200, SIZES[name][0]), ordinary(8, 200, SIZES[name][1])
    expected = by_python(library.source(name), states, actions)
    assert_same(by_jax(program, states, actions), expected)


def test_the_reward_is_negative_and_rises_toward_recovery(named: tuple[str, RewardProgram]) -> None:
    name, program = named
    path = np.stack(RECOVERIES[name])
    rewards, recovered = by_jax(program, path, np.zeros((len(path), SIZES[name][1])))
    assert (rewards < 0).all()
    assert (np.diff(rewards) > 0).all()
    assert -11.0 < rewards[0] < -9.0
    assert rewards[-1] > -2.0
    assert recovered[0] == 0 and recovered[-1] == 1
    assert (np.diff(recovered) >= 0).all()


def test_where_it_has_not_recovered_standing_up_pays(named: tuple[str, RewardProgram]) -> None:
    name, program = named
    states = unit_orientations(name, ordinary(9, 2000, SIZES[name][0]))
    rewards, recovered = by_jax(program, states, np.zeros((2000, SIZES[name][1])))
    assert (rewards < -1.0).all()
    assert rewards[recovered == 0].max() < -1.5


def test_recovered_means_healthy(named: tuple[str, RewardProgram]) -> None:
    name, program = named
    states = unit_orientations(name, ordinary(10, 4000, SIZES[name][0]))
    recovered = by_jax(program, states, np.zeros((4000, SIZES[name][1])))[1]
    assert recovered.sum() > 20
    assert healthy(name, states)[recovered == 1].all()


def unit_orientations(name: str, states: np.ndarray) -> np.ndarray:
    if name == "ant":
        states[:, 1:5] /= np.linalg.norm(states[:, 1:5], axis=1, keepdims=True)
    return states


def test_the_action_penalty_is_small(named: tuple[str, RewardProgram]) -> None:
    name, program = named
    state = RECOVERIES[name][0]
    idle = program.calculate_reward(state, jnp.zeros(program.action_size))
    full = program.calculate_reward(state, jnp.ones(program.action_size))
    assert 0.0 < float(idle - full) < 0.02


def test_states_that_are_not_finite_have_not_recovered(named: tuple[str, RewardProgram]) -> None:
    name, program = named
    for value in (jnp.nan, jnp.inf, -jnp.inf):
        state = jnp.asarray(RECOVERIES[name][-1]).at[-1].set(value)
        assert int(program.is_recovered(state)) == 0
        reward = program.calculate_reward(state, jnp.zeros(program.action_size))
        assert float(reward) == -20.0


def hand_written(state: jax.Array, action: jax.Array) -> jax.Array:
    """library/half_cheetah.py as one would write it for JAX."""
    finite = jnp.all(jnp.isfinite(state)) & jnp.all(jnp.isfinite(action))
    error = jnp.abs(state[1])
    reward = -1.0 - 4.0 * error / jnp.pi - jnp.maximum(0.0, -state[0])
    stage = jnp.where(error < 2.0, jnp.where(error < jnp.pi / 2, -0.5, -2.0), -3.5)
    stage = jnp.where(error < 2.5, stage, -5.0)
    stage = jnp.where(error < 1.2, 0.0, stage)
    reward = reward + stage - 0.01 * jnp.sum(jnp.square(action)) / action.size
    return jnp.where(finite, jnp.minimum(reward, -0.01), -20.0)


def equations(jaxpr: jax.extend.core.Jaxpr) -> int:
    """The number of equations, those of inner functions instead of their calls."""
    count = 0
    for equation in jaxpr.eqns:
        inner = [value for value in equation.params.values() if hasattr(value, "jaxpr")]
        count += sum(equations(value.jaxpr) for value in inner) or 1
    return count


def test_it_computes_no_more_than_twice_what_is_written_by_hand() -> None:
    program = compiled(library.source("half_cheetah"), 17, 6)
    by_hand = jax.make_jaxpr(hand_written)(jnp.zeros(17), jnp.zeros(6))
    states, actions = ordinary(11, 300, 17), ordinary(12, 300, 6)
    expected = jax.vmap(hand_written)(jnp.asarray(states), jnp.asarray(actions))
    np.testing.assert_allclose(by_jax(program, states, actions)[0], expected, rtol=1e-5)
    assert equations(program.calculate_reward_jaxpr.jaxpr) <= 2 * equations(by_hand.jaxpr)
