"""The array module that a program is evaluated on: NumPy, or JAX where values are traced.

Functions go by their path below `numpy` (`exp`, `linalg.norm`) or below `jax` (`nn.relu`,
`lax.clamp`). Whatever is known is computed at once, by NumPy in double precision; an operation is
emitted only where a traced value takes part, and only once for the same arguments.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reward_codegen.budget import Budget
from reward_codegen.values import is_traced

_INT32_MAX = 2**31 - 1


def _numpy_softmax(x: Any, axis: int = -1) -> Any:
    exponents = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return exponents / np.sum(exponents, axis=axis, keepdims=True)


def _numpy_logsumexp(a: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    largest = np.max(a, axis=axis, keepdims=True)
    total = np.log(np.sum(np.exp(a - largest), axis=axis, keepdims=True)) + largest
    return total if keepdims else np.squeeze(total, axis)


def _numpy_index_set(content: Any, index: Any, new: Any) -> Any:
    copy = np.array(content)
    copy[index] = new
    return copy


# NumPy forms of functions that NumPy itself does not have.
NUMPY_FORMS: dict[str, Callable[..., Any]] = {
    "nn.relu": lambda x: np.maximum(x, 0.0),
    "nn.relu6": lambda x: np.clip(x, 0.0, 6.0),
    "nn.sigmoid": lambda x: 1.0 / (1.0 + np.exp(-np.asarray(x, float)))[()],
    "nn.hard_sigmoid": lambda x: np.clip(np.add(x, 3.0), 0.0, 6.0) / 6.0,
    "nn.hard_tanh": lambda x: np.clip(x, -1.0, 1.0),
    "nn.softplus": lambda x: np.logaddexp(x, 0.0),
    "nn.log_sigmoid": lambda x: -np.logaddexp(-np.asarray(x, float), 0.0)[()],
    "nn.soft_sign": lambda x: x / (np.abs(x) + 1.0),
    "nn.silu": lambda x: x / (1.0 + np.exp(-np.asarray(x, float)))[()],
    "nn.elu": lambda x, alpha=1.0: np.where(np.greater(x, 0), x, alpha * np.expm1(x))[()],
    "nn.leaky_relu": lambda x, negative_slope=0.01: np.where(
        np.greater_equal(x, 0), x, negative_slope * np.asarray(x)
    )[()],
    "nn.gelu": lambda x: 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
    "nn.softmax": _numpy_softmax,
    "nn.logsumexp": _numpy_logsumexp,
    "lax.clamp": lambda min, x, max: np.clip(x, min, max),
    "lax.rsqrt": lambda x: 1.0 / np.sqrt(x),
    "lax.erf": lambda x: np.vectorize(math.erf, otypes=[float])(x)[()],
    "index_set": _numpy_index_set,
    "astype": lambda content, dtype: np.asarray(content).astype(dtype)[()],
    "lax.integer_pow": lambda x, y: np.power(np.asarray(x, float), y)[()],
}


def _index_set(content: Any, index: Any, new: Any) -> Any:
    return jnp.asarray(content).at[index].set(new)


def _index(content: Any, index: Any) -> Any:
    return jnp.asarray(content)[index]


def _astype(content: Any, dtype: Any) -> Any:
    return jnp.asarray(content).astype(dtype)


OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "@": operator.matmul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "abs": operator.abs,
    "index": operator.getitem,
}


# JAX forms of functions that have another name there.
JAX_FORMS: dict[str, Callable[..., Any]] = {
    "index": _index,
    "index_set": _index_set,
    "astype": _astype,
}


def resolve(root: Any, path: str) -> Callable[..., Any]:
    """The function at a dotted path below a module."""
    for part in path.split("."):
        root = getattr(root, part)
    return root


class NumPyBackend:
    """Everything is known: NumPy in double precision."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def apply(self, path: str, *args: Any, **kwargs: Any) -> Any:
        """Call the function at `path` on arrays and numbers."""
        function = OPERATORS.get(path) or NUMPY_FORMS.get(path) or resolve(np, path)
        result = function(*args, **kwargs)
        return result[()] if isinstance(result, np.ndarray) and result.ndim == 0 else result

    def select(self, condition: Any, then: Any, other: Any) -> Any:
        """`then` where the condition holds, `other` elsewhere; shapes are equal."""
        return np.where(condition, then, other)[()]


class JaxBackend(NumPyBackend):
    """What is known is computed by NumPy, what is traced becomes operations of single precision."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        self._emitted: list[dict[Any, tuple[Any, Any]]] = [{}]

    def apply(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if not _any_traced(args) and not _any_traced(kwargs.values()):
            return super().apply(path, *args, **kwargs)
        return self.emit(path, self._function(path), *args, **kwargs)

    def emit(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Emit an operation, or find the one emitted before for the same arguments."""
        key = (name, _identity(args), _identity(tuple(sorted(kwargs.items()))))
        for emitted in reversed(self._emitted):
            if key in emitted:
                return emitted[key][0]
        self.budget.operation()
        prepared = [_prepare(argument) for argument in args]
        result = function(*prepared, **{name: _prepare(value) for name, value in kwargs.items()})
        # The arguments are kept so that their identities stay taken.
        self._emitted[-1][key] = (result, (args, kwargs))
        return result

    def select(self, condition: Any, then: Any, other: Any) -> Any:
        if not _any_traced((condition,)):
            return super().select(condition, then, other)
        return self.emit("select", _select, condition, then, other)

    def open_trace(self) -> None:
        """Operations emitted from now on belong to an inner trace, as of a loop's body."""
        self._emitted.append({})

    def close_trace(self) -> None:
        """The inner trace has ended."""
        self._emitted.pop()

    @staticmethod
    def _function(path: str) -> Callable[..., Any]:
        if path in JAX_FORMS:
            return JAX_FORMS[path]
        if path in OPERATORS:
            return OPERATORS[path]
        return resolve(jax, path) if path.startswith(("nn.", "lax.")) else resolve(jnp, path)


def _select(condition: Any, then: Any, other: Any) -> Any:
    dtype = jnp.result_type(then, other)
    then, other = (
        value.astype(dtype) if is_traced(value) else np.asarray(value, dtype)
        for value in (then, other)
    )
    if jnp.ndim(condition) == 0 or jnp.shape(condition) == jnp.shape(then):
        return lax.select(condition, then, other)
    return jnp.where(condition, then, other)


def _any_traced(values: Any) -> bool:
    return any(
        _any_traced(value) if isinstance(value, list | tuple) else is_traced(value)
        for value in values
    )


def _identity(value: Any) -> Any:
    """A key that is equal only for values that are the same."""
    if isinstance(value, tuple | list):
        return (type(value).__name__, tuple(_identity(item) for item in value))
    if value is None or isinstance(value, bool | int | str):
        return (type(value).__name__, value)
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, np.generic):
        return (str(value.dtype), value.tobytes())
    return ("object", id(value))


def _prepare(value: Any) -> Any:
    """A known value as an operand of single precision.

    NumPy's scalars become Python's, which take the type of what they are combined with; integers
    too large for 32 bits become floats.
    """
    if isinstance(value, tuple | list):
        return type(value)(_prepare(item) for item in value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _INT32_MAX:
        return float(value)
    if isinstance(value, np.dtype):
        return {"f": np.dtype("float32"), "i": np.dtype("int32")}.get(value.kind, value)
    if isinstance(value, np.ndarray):
        if value.dtype == np.float64:
            return value.astype(np.float32)
        if value.dtype == np.int64:
            return value.astype(
                np.int32 if np.abs(value).max(initial=0) <= _INT32_MAX else np.float32
            )
    return value
