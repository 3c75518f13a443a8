"""How the three forms of a program are compared: JAX, the NumPy reference, and Python itself.

Python itself runs only programs that stand in these tests.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from reward_codegen import RewardProgram, compile_reward
from reward_codegen.reference import Reference

RTOL = 1e-4  # of the reward, single against double precision, on ordinary states
IS_RECOVERED = "def is_recovered(state):\n    return 1 if state[0] > 0.3 else 0\n"


def ordinary(seed: int, count: int, size: int) -> np.ndarray:
    """Random rows of ordinary size; single precision, so that all forms see the same numbers."""
    generator = np.random.default_rng(seed)
    scales = generator.choice([0.1, 0.5, 1.0, 2.0], (count, 1))
    return (generator.normal(size=(count, size)) * scales).astype(np.float32).astype(np.float64)


def compiled(source: str, state_size: int, action_size: int) -> RewardProgram:
    return compile_reward(source, state_size=state_size, action_size=action_size)


def by_jax(program: RewardProgram, states: np.ndarray, actions: np.ndarray) -> tuple:
    """The rewards and recoveries of the compiled form, vmapped under jit."""
    rewards = jax.jit(jax.vmap(program.calculate_reward))(jnp.asarray(states), jnp.asarray(actions))
    recovered = jax.jit(jax.vmap(program.is_recovered))(jnp.asarray(states))
    assert rewards.dtype == jnp.float32 and recovered.dtype == jnp.int32
    assert rewards.shape == recovered.shape == (len(states),)
    return np.asarray(rewards, np.float64), np.asarray(recovered)


def by_reference(program: RewardProgram, states: np.ndarray, actions: np.ndarray) -> tuple:
    """The same from the evaluator on NumPy."""
    reference = Reference(program.outcomes)
    rewards = [reference.calculate_reward(s, a) for s, a in zip(states, actions, strict=True)]
    return np.array(rewards), np.array([reference.is_recovered(s) for s in states])


def by_python(
    source: str,
    states: np.ndarray,
    actions: np.ndarray,
    convert: Callable[[np.ndarray], object] = np.array,
) -> tuple:
    """The same from Python itself."""
    namespace: dict = {"__name__": "reward"}
    exec(source, namespace)
    with np.errstate(all="ignore"):
        rewards = [
            float(namespace["calculate_reward"](convert(s), convert(a)))
            for s, a in zip(states, actions, strict=True)
        ]
        recovered = [int(namespace["is_recovered"](convert(s))) for s in states]
    return np.array(rewards), np.array(recovered)


def assert_same(found: tuple, expected: tuple, rtol: float = RTOL) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=rtol, atol=1e-5)
    np.testing.assert_array_equal(found[1], expected[1])
