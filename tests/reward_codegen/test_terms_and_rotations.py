"""What the language has beside NumPy: named terms, rotations of scipy, and its page of the docs."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reward_codegen import RewardCodeError, compile_reward
from reward_codegen.language.reference_page import page

from .agreement import IS_RECOVERED, assert_same, by_jax, by_python, compiled, ordinary

ROTATIONS = {
    "euler xyz": "r.as_euler('xyz').sum()",
    "euler ZYX in degrees": "r.as_euler('ZYX', degrees=True)[1]",
    "euler zxz": "abs(r.as_euler('zxz')[1])",
    "matrix": "r.as_matrix()[2, 2] + r.as_matrix()[0, 1]",
    "apply": "r.apply([0.0, 0.0, 1.0])[2] + r.apply(state[5:8], inverse=True)[0]",
    "inverse": "r.inv().as_quat()[0] + r.as_quat(canonical=True)[3]",
    "scalar first": "R.from_quat(state[1:5], scalar_first=True).as_euler('xyz')[0]",
    "rotation vector": "r.as_rotvec()[1] + r.magnitude()",
    "product": "(r * R.from_euler('z', 90, degrees=True)).as_matrix()[0, 1]",
    "from Euler angles": "R.from_euler('xyz', state[5:8]).as_quat()[0] ** 2",
    "from a rotation vector": "R.from_rotvec(state[5:8]).as_matrix()[1, 1]",
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations_are_those_of_scipy(name: str) -> None:
    source = (
        "import numpy as np\nfrom scipy.spatial.transform import Rotation as R\n"
        f"{IS_RECOVERED}def calculate_reward(state, action):\n"
        f"    r = R.from_quat(state[1:5])\n    return {ROTATIONS[name]}\n"
    )
    states, actions = ordinary(1, 60, 9), ordinary(2, 60, 2)
    states[:, 5:8] *= 0.7
    found = by_jax(compiled(source, 9, 2), states, actions)
    assert_same(found, by_python(source, states, actions), rtol=2e-3)


def test_what_a_rotation_has_not_here_is_refused() -> None:
    source = (
        "from scipy.spatial.transform import Rotation as R\n"
        f"{IS_RECOVERED}def calculate_reward(state, action):\n"
        "    return R.from_quat(state[1:5]).as_mrp()[0]\n"
    )
    with pytest.raises(RewardCodeError, match="Line 5: .*as_mrp.* not admitted"):
        compiled(source, 9, 2)


TERMS = f"""
import numpy as np
{IS_RECOVERED}
def calculate_reward(state, action):
    if state[0] > 5:
        return -20.0
    if state[1] > 5:
        raise ValueError("no")
    terms = {{"up": state[0] * 2, "effort": -np.sum(action ** 2)}}
    if state[1] > 0:
        terms["bonus"] = 1.0
    return sum(terms.values()), terms
"""


def test_terms_are_compiled_like_the_reward() -> None:
    program = compile_reward(TERMS, state_size=3, action_size=2)
    states = jnp.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [6.0, 0.0, 0.0], [1.0, 6.0, 0.0]])
    actions = jnp.ones((4, 2))
    terms = jax.jit(jax.vmap(program.terms))(states, actions)
    rewards = jax.vmap(program.calculate_reward)(states, actions)
    nan = np.nan
    np.testing.assert_allclose(rewards, [1.0, 0.0, -20.0, -100.0])
    np.testing.assert_allclose(terms["up"], [2.0, 2.0, nan, nan])
    np.testing.assert_allclose(terms["effort"], [-2.0, -2.0, nan, nan])
    np.testing.assert_allclose(terms["bonus"], [1.0, nan, nan, nan])
    assert all(term.dtype == jnp.float32 for term in terms.values())


def test_a_plain_number_has_no_terms() -> None:
    source = f"{IS_RECOVERED}def calculate_reward(state, action):\n    return state[0]\n"
    assert compiled(source, 3, 1).terms(jnp.zeros(3), jnp.zeros(1)) == {}


def test_the_page_is_up_to_date() -> None:
    file = Path(__file__).parents[2] / "docs" / "reward_language.md"
    assert file.read_text("utf-8") == page(), (
        "python -m reward_codegen.language.reference_page > docs/reward_language.md"
    )
