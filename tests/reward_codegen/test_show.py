"""What is told of a program, line by line."""

import re

import pytest

from reward_codegen import compile_reward
from reward_codegen.show import describe
from tests import shipped

SOURCE = """
import numpy as np

WEIGHTS = {}
for name in ("a", "b"):
    WEIGHTS[name] = 0.5


def is_recovered(state):
    assert len(state) == 8
    return int(state[0] > 0.3)


def calculate_reward(state, action):
    if not np.all(np.isfinite(state[:2])):
        return -20.0
    if state[5] > 100:
        raise ValueError("too large")
    assert state[4] < 100
    m = np.zeros(3)
    for i in range(3):
        m[i] = state[i + 2] * WEIGHTS["a"]
    m *= 2
    x = abs(state[0])
    while x > 1:
        x = x / 2
    try:
        y = [1, 2][int(state[1])]
    except IndexError:
        y = 0
    return -1 - m.sum() - x + (1 if state[2] > 0 else 0) + y
"""


@pytest.fixture(scope="module")
def told() -> tuple[str, str]:
    """What is told of each function."""
    text = describe(compile_reward(SOURCE, state_size=8, action_size=2))
    first, _, rest = text.partition("calculate_reward(state, action)")
    return first, rest


def test_the_inputs_of_each_function(told: tuple[str, str]) -> None:
    assert "state: 8 entries; action: 2 entries" in told[0]
    assert "  reads state[0]\n" in told[0]
    assert "  reads state[0..5]\n" in told[1]
    assert "  reads nothing of action\n" in told[1]


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (0, "line 5: for: unrolled, 2 iterations in all"),
        (0, "line 10: assert: checked while compiling, holds"),
        (1, "line 15: a guard: returns at once where values are not finite"),
        (1, "line 17: if: depends on the values: both sides are computed and one is selected"),
        (1, "line 18: raise: a guard on values: where it fails"),
        (1, "line 19: assert: a guard on values"),
        (1, "line 21: for: unrolled, 3 iterations in all"),
        (1, "line 22: an array is changed in place: a functional update"),
        (1, "line 23: an array is changed in place: a functional update"),
        (1, "line 25: while: unrolled 12 times or rolled into one loop"),
        (1, "line 27: try: exceptions are taken where"),
        (1, "line 31: conditional expression: depends on the values"),
    ],
)
def test_what_was_guarded_and_made_functional(
    told: tuple[str, str], function: int, line: str
) -> None:
    assert f"  {line}" in told[function]


def test_dicts_are_not_arrays(told: tuple[str, str]) -> None:
    assert "line 6:" not in told[0]


def test_the_equations_are_counted_and_shown_on_request() -> None:
    program = compile_reward(shipped.source("hopper"), state_size=11, action_size=3)
    short, long = describe(program), describe(program, jaxpr=True)
    assert program.sha256 in short
    assert "reads all of action at once (in is_finite, square)" in short
    counts = [int(count) for count in re.findall(r"^  (\d+) equations: ", short, re.MULTILINE)]
    assert counts == [
        len(program.is_recovered_jaxpr.jaxpr.eqns),
        len(program.calculate_reward_jaxpr.jaxpr.eqns),
    ]
    assert "let" not in short
    assert long.count("{ lambda") == 2


def test_notes_are_told() -> None:
    program = compile_reward(
        SOURCE + 'if __name__ == "__main__":\n    print(1)\n', state_size=8, action_size=2
    )
    assert "note: the `if __name__ == '__main__'` block was left out" in describe(program)
