"""The admitted library functions exist in both array modules, and mean the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reward_codegen.backend import JAX_FORMS, NUMPY_FORMS, OPERATORS, JaxBackend, NumPyBackend
from reward_codegen.backend import resolve as resolved
from reward_codegen.budget import Budget
from reward_codegen.tables import (
    ARRAY_ARGUMENTS,
    ENTRYWISE,
    LAX_FUNCTIONS,
    MATH_FUNCTIONS,
    NN_FUNCTIONS,
    NN_SYNONYMS,
    SEQUENCE_FUNCTIONS,
)

PATHS = sorted(
    set(ARRAY_ARGUMENTS)
    | SEQUENCE_FUNCTIONS
    | set(LAX_FUNCTIONS.values())
    | set(MATH_FUNCTIONS.values())
    | {NN_SYNONYMS.get(name, f"nn.{name}") for name in NN_FUNCTIONS}
)


def test_every_path_leads_to_a_function_of_both_modules() -> None:
    for path in PATHS:
        assert path in OPERATORS or path in NUMPY_FORMS or callable(resolved(np, path)), path
        below_jax = path.startswith(("nn.", "lax."))
        assert (
            path in OPERATORS
            or path in JAX_FORMS
            or callable(resolved(jax if below_jax else jnp, path))
        ), path


# Functions that take arguments of their own are covered by the idioms.
ALIKE = sorted(
    path
    for path in PATHS
    if (path in ENTRYWISE or path.startswith(("nn.", "lax.")))
    and path not in ("lax.clamp", "lax.integer_pow", "invert")
)


@pytest.mark.parametrize("path", ALIKE)
def test_the_two_forms_agree(path: str) -> None:
    count = ARRAY_ARGUMENTS.get(path, 1)
    x = np.float32(np.linspace(0.05, 0.95, 7))
    arguments = (x, x[::-1].copy(), x * 2)[:count]
    if path in ("where", "clip"):
        arguments = (x > 0.5, x, x * 2) if path == "where" else (x, np.float32(0.2), x * 2)
    known = NumPyBackend(Budget()).apply(path, *arguments)
    traced = jax.make_jaxpr(lambda *a: JaxBackend(Budget()).apply(path, *a))(*arguments)
    found = jax.core.eval_jaxpr(traced.jaxpr, traced.consts, *arguments)[0]
    np.testing.assert_allclose(found, known, rtol=2e-5, atol=1e-6)


def test_the_same_operation_is_emitted_once() -> None:
    def function(x: jax.Array) -> jax.Array:
        backend = JaxBackend(Budget())
        return backend.apply("+", backend.apply("sin", x), backend.apply("sin", x))

    assert len(jax.make_jaxpr(function)(1.0).eqns) == 2


def test_known_values_are_computed_in_double_precision() -> None:
    assert JaxBackend(Budget()).apply("exp", 1.0) == np.e
