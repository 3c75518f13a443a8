"""What a compiled program is: pure, typed, transformable, and the same everywhere."""

import dataclasses
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reward_codegen import RewardProgram, compile_reward
from reward_codegen.language.outcome import FAILED_REWARD
from reward_codegen.reference import Reference
from tests import shipped

from .agreement import IS_RECOVERED, compiled

SOURCE = shipped.source("hopper")
STATES = jnp.asarray(np.random.default_rng(0).normal(size=(5, 11)), jnp.float32)
ACTIONS = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (5, 3)), jnp.float32)


@pytest.fixture(scope="module")
def program() -> RewardProgram:
    return compiled(SOURCE, 11, 3)


def test_it_carries_its_source_and_hash(program: RewardProgram) -> None:
    assert program.source == SOURCE
    assert program.sha256 == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert (program.state_size, program.action_size) == (11, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        program.source = ""  # type: ignore[misc]


def test_a_reply_and_its_source_have_the_same_hash(program: RewardProgram) -> None:
    reply = f"Here it is:\n```python\r\n{SOURCE}```\nDone."
    assert compiled(reply, 11, 3).sha256 == program.sha256


def test_results_are_scalars_of_the_promised_types(program: RewardProgram) -> None:
    reward = program.calculate_reward(STATES[0], ACTIONS[0])
    recovered = program.is_recovered(STATES[0])
    assert (reward.shape, reward.dtype) == ((), jnp.float32)
    assert (recovered.shape, recovered.dtype) == ((), jnp.int32)
    assert int(recovered) in (0, 1)


def test_single_jitted_vmapped_and_scanned_calls_agree(program: RewardProgram) -> None:
    pairs = list(zip(STATES, ACTIONS, strict=True))
    single = jnp.stack([program.calculate_reward(*pair) for pair in pairs])
    jitted = jnp.stack([jax.jit(program.calculate_reward)(*pair) for pair in pairs])
    batched = jax.vmap(program.calculate_reward)(STATES, ACTIONS)
    _, scanned = jax.lax.scan(
        lambda carry, pair: (carry, program.calculate_reward(*pair)), 0, (STATES, ACTIONS)
    )
    for other in (jitted, batched, scanned):
        np.testing.assert_allclose(other, single, rtol=1e-6)


def test_it_never_calls_back_to_the_host(program: RewardProgram) -> None:
    text = str(program.calculate_reward_jaxpr) + str(program.is_recovered_jaxpr)
    assert "callback" not in text
    assert not program.calculate_reward_jaxpr.effects


def test_a_state_of_another_size_is_refused(program: RewardProgram) -> None:
    with pytest.raises(ValueError, match=r"state has shape \(12,\), not \(11,\)"):
        program.is_recovered(jnp.zeros(12))
    with pytest.raises(ValueError, match=r"action has shape \(5, 3\), not \(3,\); use jax.vmap"):
        program.calculate_reward(STATES[0], ACTIONS)


def test_double_precision_elsewhere_changes_nothing(program: RewardProgram) -> None:
    with jax.enable_x64(True):
        wide = compile_reward(SOURCE, state_size=11, action_size=3)
        reward = wide.calculate_reward(np.asarray(STATES[0], float), np.asarray(ACTIONS[0], float))
        assert reward.dtype == jnp.float32
    expected = program.calculate_reward(STATES[0], ACTIONS[0])
    np.testing.assert_allclose(float(reward), float(expected), rtol=1e-6)


FAILING = """
def is_recovered(state):
    assert state[0] < 5
    return 1 if state[0] > 0.3 else 0

def calculate_reward(state, action):
    if state[0] > 1:
        raise ValueError("too high")
    table = [1.0, 2.0, 3.0]
    return table[int(state[1])]
"""


def test_where_the_program_raises_the_state_has_not_recovered() -> None:
    program = compiled(FAILING, 3, 1)
    reference = Reference(program.outcomes)
    action = np.zeros(1)
    cases = {
        (0.5, 2.0, 0.0): 3.0,
        (0.5, -1.0, 0.0): 3.0,
        (2.0, 1.0, 0.0): FAILED_REWARD,
        (0.0, 3.0, 0.0): FAILED_REWARD,
        (0.0, np.nan, 0.0): FAILED_REWARD,
    }
    rewards = jax.vmap(program.calculate_reward, (0, None))(jnp.array(list(cases)), action)
    np.testing.assert_allclose(rewards, list(cases.values()))
    for state, expected in cases.items():
        assert reference.calculate_reward(np.array(state), action) == expected
    assert int(program.is_recovered(jnp.array([4.0, 0.0, 0.0]))) == 1
    assert int(program.is_recovered(jnp.array([6.0, 0.0, 0.0]))) == 0


ENDLESS = """
def is_recovered(state):
    return 1 if state[0] > 0.3 else 0

def calculate_reward(state, action):
    x = state[0]
    while x > 2.0:
        x = x * 1.0 if x > 100.0 else x - 0.25
    return x
"""


def test_a_loop_that_does_not_end_fails_in_its_lanes_only() -> None:
    program = compiled(ENDLESS, 2, 1)
    states = jnp.array([[0.0, 0.0], [9.0, 0.0], [1e3, 0.0]])
    rewards = jax.vmap(program.calculate_reward, (0, None))(states, jnp.zeros(1))
    np.testing.assert_allclose(rewards, [0.0, 2.0, FAILED_REWARD])


def test_notes_say_what_was_done() -> None:
    source = IS_RECOVERED + (
        "def calculate_reward(state, action):\n    print(state)\n    return state[0]\n"
        "if __name__ == '__main__':\n    print(1)\n"
    )
    notes = compiled(f"Sure:\n{source}", 2, 1).notes
    assert notes[-2:] == (
        "the `if __name__ == '__main__'` block was left out",
        "print does nothing in a reward",
    )


def test_refused_and_accepted_programs_leave_no_trace_behind() -> None:
    """Compiling inside of a trace, as a careless caller may do, does not leak into it."""

    def traced(state: jax.Array) -> jax.Array:
        return compiled(SOURCE, 11, 3).calculate_reward(state, jnp.zeros(3))

    assert jax.jit(traced)(STATES[0]).shape == ()


@pytest.mark.parametrize("number", ["10**12", "-(2**62)", "-(10**30)", "2**100 - 2**100"])
def test_integers_of_any_size_may_be_returned(number: str) -> None:
    source = f"{IS_RECOVERED}def calculate_reward(state, action):\n    return {number}\n"
    expected = np.float32(eval(number))
    assert compiled(source, 6, 2).calculate_reward(jnp.zeros(6), jnp.zeros(2)) == expected
