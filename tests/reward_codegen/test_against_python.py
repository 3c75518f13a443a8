"""Programs mean what CPython makes of them: jitted, vmapped, and in the NumPy reference."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from reward_codegen import compile_reward

from . import generated, python_itself
from .python_itself import Case, cases, compiled_rewards, fits, outcome, states

# Python runs these, and the compiler refuses them, with a reason that its user can do something
# about. Nothing may stand here with a wrong value.
REFUSED = {
    "arrays/choose and take": "np.choose of an array of places; np.select does it",
    "arrays/cumulative": "methods of ufuncs; a loop does it",
    "arrays/mask of two dimensions": "a mask of the state beside another index; np.where does it",
    "arrays/norm of axes and orders": "the spectral norm",
    "arrays/unique of known values": "counts of np.unique",
    "arrays/vectorize and apply": "np.apply_along_axis; a loop does it",
    "containers/best so far with none": "a value that is None in some states, kept over a loop",
    "containers/counter and defaultdict": "other containers than Python's own",
    "containers/deque": "other containers than Python's own",
    "containers/dictionary methods": "popitem",
    "containers/list methods": "an item removed by a value of the state",
    "flow/finally return wins": "finally that leaves a function",
    "flow/generator function": "yield; a list does it",
    "flow/property and inheritance": "super; the base's method by its name does it",
    "numbers/bit operations on integers": "bit_length",
    "numbers/large integers of a state": "integers that single precision does not hold",
    "numbers/math exp overflows": "numbers that single precision does not hold",
    "numbers/pow with a modulus": "pow of three numbers",
    "numbers/type names": "type; isinstance does it",
    "points_of_meaning/c147_tiny_guard": "numbers that single precision does not hold",
    "arrays/exponentials": "numbers that single precision does not hold",
    "arrays/double precision guards": "numbers that single precision does not hold",
}

GENERATED = 25
SEED = 20_000
CASES = cases()
FOUND = sorted((Path(__file__).parent / "data" / "found_by_fuzzing").glob("*.py"))


@functools.cache
def some_states() -> tuple[np.ndarray, np.ndarray]:
    return states()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_a_program_means_what_it_means_in_python(case: Case) -> None:
    result = outcome(case.source, *some_states())
    refused = case.name in REFUSED and result.startswith("refused")
    assert refused or fits(case, result), result


def test_the_list_of_what_is_refused_names_cases() -> None:
    assert REFUSED.keys() <= {case.name for case in CASES}


@pytest.mark.parametrize("seed", range(SEED, SEED + GENERATED))
def test_a_generated_program_means_what_it_means_in_python(seed: int) -> None:
    source = generated.program(seed)
    result = outcome(source, *generated.states())
    assert fits(Case(f"generated {seed}", source, "either"), result), f"{result}\n{source}"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_generated_programs_have_found_stays_mended(path: Path) -> None:
    source = path.read_text()
    assert outcome(source, *generated.states()) == "agrees"


def test_one_state_alone_gives_what_the_batch_gives() -> None:
    case = next(case for case in CASES if case.name.endswith("a41_norms_reshape"))
    program = compile_reward(case.source, state_size=27, action_size=8)
    rows, actions = states(3)
    batch = compiled_rewards(program, rows, actions)
    alone = [
        program.calculate_reward(row, action) for row, action in zip(rows, actions, strict=True)
    ]
    np.testing.assert_allclose(np.array(alone), batch[:, 0], rtol=1e-5)
    traced = jax.jit(program.calculate_reward)(rows[0], actions[0])
    np.testing.assert_allclose(traced, batch[0, 0], rtol=1e-5)


def test_a_wrong_value_is_seen() -> None:
    """The comparison itself: one sign wrong, and a value where Python raises."""
    right = "def is_recovered(state):\n    return 1\ndef calculate_reward(state, action):\n"
    rows, actions = states(8)
    expected = python_itself.python_rewards(right + "    return state[5]\n", rows, actions)
    found = python_itself.python_rewards(right + "    return -state[5]\n", rows, actions)
    assert len(python_itself.differences(found, expected)) >= 6
    raising = python_itself.python_rewards(right + "    return [1][5]\n", rows, actions)
    assert (raising[:, 0] == -100).all() and (raising[:, 1] == 1).all()
