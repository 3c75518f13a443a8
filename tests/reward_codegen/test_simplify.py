"""Each rule leaves equations out and keeps the values, to the last bit."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core as jax_core

from reward_codegen.simplify import equations, simplify

X = jnp.array([1.5, -2.0, 0.0, -0.0, jnp.nan, jnp.inf, -jnp.inf, 3e38])

FEWER: dict[str, tuple[Callable, int]] = {
    "one": (lambda x: 1.0 * x * 1.0 / 1.0, 0),
    "nothing taken away": (lambda x: x - 0.0, 0),
    "nothing added": (lambda x: x + 0.0, 1),  # -0.0 + 0.0 is 0.0
    "negative zero taken away": (lambda x: x - (-0.0), 1),
    "twice the same": (lambda x: jnp.sin(x) + jnp.sin(x), 2),
    "other constants": (lambda x: (x * 2.0) + (x * 3.0), 3),
    "signs of zero": (lambda x: jnp.maximum(x, 0.0) + 1 / jnp.maximum(x, -0.0), 4),
    "equal arms": (lambda x: jnp.where(x > 1.0, x * 2.0, x * 2.0), 1),
    "equal constants": (lambda x: x + jnp.where(x > 1.0, jnp.float32(2.0), jnp.float32(2.0)), 2),
    "not needed": (lambda x: (jnp.cos(x), x)[1], 0),
    "jitted": (jax.jit(lambda x: jax.jit(jnp.cos)(x) * 1.0), 1),
    "part of a part": (lambda x: x[2:7][1:3], 1),
    "same part by other ways": (lambda x: x[2:7][1:3] + x[3:5], 2),
    "steps of a part": (lambda x: x[1:8][1:7:2], 1),
    "part of every second": (lambda x: x[::2][1:3], 2),
    "largest of itself": (lambda x: jnp.maximum(x, x), 0),
    "own type": (lambda x: x.astype(jnp.float32), 0),
    "other type": (lambda x: (x > 0).astype(jnp.float32), 2),
    "loop": (lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * 2.0, x * 1.0), 6),
    "constant": (lambda x: x * jnp.arange(8.0) + x * np.arange(8.0, dtype=np.float32), 4),
}


@pytest.mark.parametrize("name", FEWER)
def test_equations_are_left_out(name: str) -> None:
    function, most = FEWER[name]
    closed = jax.make_jaxpr(function)(X)
    simple = simplify(closed)
    assert equations(simple.jaxpr) <= most, str(simple)
    expected, found = (jax_core.jaxpr_as_fun(part)(X)[0] for part in (closed, simple))
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(
        np.asarray(found).view(np.int32), np.asarray(expected).view(np.int32)
    )


def test_derivatives_stay_what_they_are() -> None:
    def function(x: jax.Array) -> jax.Array:
        return jnp.sum(jax.nn.relu(x) * jax.nn.softplus(x))

    simple = jax_core.jaxpr_as_fun(simplify(jax.make_jaxpr(function)(jnp.ones(3))))
    x = jnp.array([-1.0, 0.0, 2.0])
    found = jax.grad(lambda x: simple(x)[0])(x)
    np.testing.assert_allclose(found, jax.grad(function)(x), rtol=1e-6)
