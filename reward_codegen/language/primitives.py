"""The operations of the graph that work entry by entry, each with its NumPy and its JAX form.

Numbers are carried as floats whatever their Python type is, truths as bools. The NumPy form runs
in the precision of its operands; the JAX form gets operands of one shape, or scalars.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """NumPy says nothing of NaN, infinities and empty reductions: their values say it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@dataclass(frozen=True)
class Primitive:
    """One operation.

    Attributes:
        numpy: on NumPy arrays.
        jax: on JAX arrays of one shape.
        gives_bool: whether the result is a truth.
        takes_bool: whether the operands are truths.
    """

    numpy: Callable[..., Any]
    jax: Callable[..., Any]
    gives_bool: bool = False
    takes_bool: bool = False


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.asarray(x).dtype])(x)


def _integers(operation: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A bitwise operation on numbers that are whole."""

    def by_numpy(*operands: Any) -> Any:
        whole = [np.nan_to_num(np.asarray(x, float)).astype(np.int64) for x in operands]
        return np.asarray(operation(*whole)).astype(np.asarray(operands[0]).dtype)

    def by_jax(*operands: Any) -> Any:
        whole = [jnp.asarray(x).astype(jnp.int32) for x in operands]
        return operation(*whole).astype(jnp.float32)

    return by_numpy, by_jax


def _floor_divide(x: Any, y: Any) -> Any:
    return jnp.floor_divide(*(jnp.asarray(part, jnp.float32) for part in (x, y)))


def _mod(x: Any, y: Any) -> Any:
    return jnp.mod(*(jnp.asarray(part, jnp.float32) for part in (x, y)))


def _ieee_remainder(x: Any, y: Any) -> Any:
    """The remainder towards the nearest multiple, the even one where two are as near."""
    rest = np.fmod(np.abs(x), np.abs(y))
    return _nearest(np, np.abs(x), np.abs(y), rest) * np.where(np.signbit(x), -1.0, 1.0)


def _jax_remainder(x: Any, y: Any) -> Any:
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    rest = jnp.fmod(jnp.abs(x), jnp.abs(y))
    return _nearest(jnp, jnp.abs(x), jnp.abs(y), rest) * jnp.where(jnp.signbit(x), -1.0, 1.0)


def _nearest(np_: Any, x: Any, y: Any, rest: Any) -> Any:
    odd = np_.fmod(np_.floor_divide(x, y), 2.0) == 1.0
    return np_.where((rest > y / 2) | ((rest == y / 2) & odd), rest - y, rest)


def _power(x: Any, y: Any) -> Any:
    known = isinstance(y, np.generic | np.ndarray) and np.ndim(y) == 0
    if known and float(y).is_integer() and abs(float(y)) <= 64:
        return lax.integer_pow(x, int(y))
    return lax.pow(jnp.asarray(x, jnp.float32), jnp.broadcast_to(jnp.float32(y), jnp.shape(x)))


def _tan(x: Any) -> Any:
    return lax.tan(x)


def _log_base(base: float) -> Callable[[Any], Any]:
    return lambda x: lax.mul(lax.log(x), np.float32(1.0 / math.log(base)))


def _numbers(numpy_form: Callable[..., Any], jax_form: Callable[..., Any]) -> Primitive:
    return Primitive(numpy_form, jax_form)


def _test(numpy_form: Callable[..., Any], jax_form: Callable[..., Any]) -> Primitive:
    return Primitive(numpy_form, jax_form, gives_bool=True)


def _logic(numpy_form: Callable[..., Any], jax_form: Callable[..., Any]) -> Primitive:
    return Primitive(numpy_form, jax_form, gives_bool=True, takes_bool=True)


PRIMITIVES: Final[dict[str, Primitive]] = {
    # one operand
    "neg": _numbers(np.negative, lax.neg),
    "abs": _numbers(np.abs, lax.abs),
    "sqrt": _numbers(np.sqrt, lax.sqrt),
    "cbrt": _numbers(np.cbrt, lax.cbrt),
    "square": _numbers(np.square, lax.square),
    "exp": _numbers(np.exp, lax.exp),
    "exp2": _numbers(np.exp2, lax.exp2),
    "expm1": _numbers(np.expm1, lax.expm1),
    "log": _numbers(np.log, lax.log),
    "log2": _numbers(np.log2, _log_base(2.0)),
    "log10": _numbers(np.log10, _log_base(10.0)),
    "log1p": _numbers(np.log1p, lax.log1p),
    "sin": _numbers(np.sin, lax.sin),
    "cos": _numbers(np.cos, lax.cos),
    "tan": _numbers(np.tan, _tan),
    "arcsin": _numbers(np.arcsin, lax.asin),
    "arccos": _numbers(np.arccos, lax.acos),
    "arctan": _numbers(np.arctan, lax.atan),
    "sinh": _numbers(np.sinh, lax.sinh),
    "cosh": _numbers(np.cosh, lax.cosh),
    "tanh": _numbers(np.tanh, lax.tanh),
    "arcsinh": _numbers(np.arcsinh, lax.asinh),
    "arccosh": _numbers(np.arccosh, lax.acosh),
    "arctanh": _numbers(np.arctanh, lax.atanh),
    "sign": _numbers(np.sign, lax.sign),
    "floor": _numbers(np.floor, lax.floor),
    "ceil": _numbers(np.ceil, lax.ceil),
    "trunc": _numbers(np.trunc, jnp.trunc),
    "rint": _numbers(np.rint, lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)),
    "sinc": _numbers(np.sinc, jnp.sinc),
    "i0": _numbers(np.i0, jnp.i0),
    "erf": _numbers(_erf, lax.erf),
    "sigmoid": _numbers(lambda x: 1.0 / (1.0 + np.exp(-x)), jax.nn.sigmoid),
    "isnan": _test(np.isnan, lambda x: lax.ne(x, x)),
    "isinf": _test(np.isinf, jnp.isinf),
    "isfinite": _test(np.isfinite, lax.is_finite),
    "signbit": _test(np.signbit, jnp.signbit),
    "not": _logic(np.logical_not, lax.bitwise_not),
    "real": Primitive(lambda x: x.astype(float), lambda x: x.astype(jnp.float32), takes_bool=True),
    # two operands
    "add": _numbers(np.add, lax.add),
    "sub": _numbers(np.subtract, lax.sub),
    "mul": _numbers(np.multiply, lax.mul),
    "div": _numbers(np.divide, lax.div),
    "floordiv": _numbers(np.floor_divide, _floor_divide),
    "mod": _numbers(np.mod, _mod),
    "fmod": _numbers(np.fmod, lax.rem),
    "remainder": _numbers(_ieee_remainder, _jax_remainder),
    "pow": _numbers(np.power, _power),
    "max": _numbers(np.maximum, lax.max),
    "min": _numbers(np.minimum, lax.min),
    "fmax": _numbers(np.fmax, jnp.fmax),
    "fmin": _numbers(np.fmin, jnp.fmin),
    "arctan2": _numbers(np.arctan2, lax.atan2),
    "hypot": _numbers(np.hypot, jnp.hypot),
    "copysign": _numbers(np.copysign, jnp.copysign),
    "logaddexp": _numbers(np.logaddexp, jnp.logaddexp),
    "logaddexp2": _numbers(np.logaddexp2, jnp.logaddexp2),
    "heaviside": _numbers(np.heaviside, jnp.heaviside),
    "eq": _test(np.equal, lax.eq),
    "ne": _test(np.not_equal, lax.ne),
    "lt": _test(np.less, lax.lt),
    "le": _test(np.less_equal, lax.le),
    "gt": _test(np.greater, lax.gt),
    "ge": _test(np.greater_equal, lax.ge),
    "and": _logic(np.logical_and, lax.bitwise_and),
    "or": _logic(np.logical_or, lax.bitwise_or),
    "xor": _logic(np.logical_xor, lax.bitwise_xor),
    "bitand": _numbers(*_integers(lambda x, y: x & y)),
    "bitor": _numbers(*_integers(lambda x, y: x | y)),
    "bitxor": _numbers(*_integers(lambda x, y: x ^ y)),
}
