"""Programs and replies as language models write them."""

import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from reward_codegen import RewardCodeError, compile_reward

from .agreement import assert_same, by_jax, by_python, by_reference, compiled, ordinary

DATA = Path(__file__).parent / "data"
SIZES = {
    "ant": (111, 8),
    "halfcheetah": (17, 6),
    "hopper": (11, 3),
    "walker2d": (17, 6),
    "humanoid": (67, 21),
    "pushchair": (5, 20),
}
PROGRAMS = sorted(path.relative_to(DATA).as_posix() for path in DATA.glob("*/*/*.py"))
REPLIES = json.loads((DATA / "replies" / "expected.json").read_text())
SECONDS = 5.0  # to refuse a hostile reply, on a busy machine; alone it takes well under one


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_agrees_with_python(name: str) -> None:
    source = (DATA / name).read_text()
    state_size, action_size = SIZES[name.split("/")[1]]
    states, actions = ordinary(3, 60, state_size), ordinary(4, 60, action_size)
    program = compiled(source, state_size, action_size)
    found = by_jax(program, states, actions)
    assert_same(found, by_reference(program, states, actions))
    convert = np.array if name.startswith("numpy") else jnp.asarray
    few = 60 if name.startswith("numpy") else 4  # JAX's own dispatch is slow
    expected = by_python(source, states[:few], actions[:few], convert)
    assert_same((found[0][:few], found[1][:few]), expected)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_agrees_on_extreme_states(name: str) -> None:
    """NaN, infinities, zeros and large numbers, against the reference."""
    source = (DATA / name).read_text()
    state_size, action_size = SIZES[name.split("/")[1]]
    states, actions = ordinary(5, 24, state_size), ordinary(6, 24, action_size)
    states[0], actions[1] = 0.0, 0.0
    states[2] *= 1e3
    for row, value in enumerate((np.nan, np.inf, -np.inf), start=3):
        states[row, row % state_size] = value
        states[row + 3, :3] = value
        actions[row + 6, 0] = value
    program = compiled(source, state_size, action_size)
    found, expected = by_jax(program, states, actions), by_reference(program, states, actions)
    # nan_to_num maps infinities to the largest number, which differs between precisions.
    huge = np.abs(expected[0]) > 1e30
    np.testing.assert_allclose(found[0][~huge], expected[0][~huge], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply["file"])
def test_a_reply_is_accepted_or_refused(reply: dict) -> None:
    text = (DATA / "replies" / reply["file"]).read_bytes()
    canary = Path(reply["canary"]) if reply["canary"] else None
    start = time.perf_counter()
    if reply["expect"] == "accept":
        program = compile_reward(text, state_size=111, action_size=8)
        assert np.isfinite(program.calculate_reward(jnp.ones(111) * 0.3, jnp.zeros(8)))
    else:
        with pytest.raises(RewardCodeError) as caught:
            compile_reward(text, state_size=111, action_size=8)
        message = str(caught.value)
        assert len(message) < 500 and "\n" not in message
    assert time.perf_counter() - start < SECONDS
    assert canary is None or not canary.exists()


MESSAGES = {
    "malformed/02": "holds no Python code",
    "malformed/05": "calculate_reward does not return a value on every path",
    "malformed/06": "is_recovered is not defined at the top level",
    "malformed/08": "Line 9: .* it must be calculate_reward\\(state, action\\)",
    "malformed/10": "Line 3: `class AntRecoveryReward.* outside of any class",
    "malformed/16": "Line 11: `TARGET_HEIGHT`: the name TARGET_HEIGHT is not defined",
    "malformed/18": "Line 14: `action\\[8\\]`: index 8 is out of range .* of 8 entries",
    "malformed/20": "NaN or an infinity for all ordinary states",
    "malformed/25": "Line 15: .* does not end",
    "malformed/27": "Line 14: `np.random.*randomness is not admitted",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_refusal_names_the_line_and_the_reason(name: str) -> None:
    text = (DATA / "replies" / f"{name}.txt").read_bytes()
    with pytest.raises(RewardCodeError, match=MESSAGES[name]):
        compile_reward(text, state_size=111, action_size=8)
