"""Forms of library functions that NumPy or JAX has not, or has under another meaning."""

from collections.abc import Callable
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def _softmax(x: Any, axis: Any = -1) -> Any:
    exponents = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return exponents / np.sum(exponents, axis=axis, keepdims=True)


def _logsumexp(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    largest = np.max(a, axis=axis, keepdims=True)
    total = np.log(np.sum(np.exp(a - largest), axis=axis, keepdims=True)) + largest
    return total if keepdims else np.squeeze(total, axis)


def _reduced(operation: Callable[..., Any], whole: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction of all entries by `lax`, of others by `jax.numpy`."""

    def reduce(a: Any, axis: Any = None, keepdims: bool = False, **others: Any) -> Any:
        if axis is None and not keepdims and not others and a.ndim:
            return operation(a, axes=tuple(range(a.ndim)))
        return whole(a, axis=axis, keepdims=keepdims, **others)

    return reduce


def _jax_isin(element: Any, test_elements: Any, **keywords: Any) -> Any:
    return jnp.isin(element, test_elements, **keywords)


def _unsigned(a: Any) -> Any:
    """-0.0 as 0.0: equal to NumPy, but not in the order of JAX."""
    return jnp.where(a == 0.0, 0.0, a)


NUMPY_FORMS: Final[dict[str, Callable[..., Any]]] = {
    "nn.softmax": _softmax,
    "nn.logsumexp": _logsumexp,
    "trapezoid": np.trapezoid,
    "vecdot": lambda a, b: np.sum(np.multiply(a, b), -1),
}
JAX_FORMS: Final[dict[str, Callable[..., Any]]] = {
    "nn.softmax": jax.nn.softmax,
    "nn.logsumexp": jax.nn.logsumexp,
    "isin": _jax_isin,
    "sort": lambda a, axis=-1, kind=None: jnp.sort(_unsigned(a), axis=axis),
    "argsort": lambda a, axis=-1, kind=None: jnp.argsort(_unsigned(a), axis=axis),
    "any": _reduced(lax.reduce_or, jnp.any),
    "all": _reduced(lax.reduce_and, jnp.all),
    "sum": _reduced(lax.reduce_sum, jnp.sum),
    "max": _reduced(lax.reduce_max, jnp.max),
    "min": _reduced(lax.reduce_min, jnp.min),
}
