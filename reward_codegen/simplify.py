"""Fewer equations for the same values: what a careful hand would not have written.

XLA would find most of this as well, but what is traced inside a training step is compiled again
with it each time, and a person may want to read it.

An equation is left out if nothing needs its result, if the same one has been emitted already, or
if it changes nothing: a select between equal arms, a product with 1, a conversion to the type that
a value has. Calls of inner jitted functions are replaced by their equations, and a part of a part
of an array is taken from the array. Every rule is exact, for NaN,
infinities and -0.0 too; only numbers below 1e-38, which XLA may flush to 0, may survive.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend import core as jax_core

_CALLS = ("jit", "pjit")


def simplify(closed: jax_core.ClosedJaxpr) -> jax_core.ClosedJaxpr:
    """An equivalent of a pure program, with as many equations or fewer."""
    avals: list[Any] = closed.in_avals
    arguments = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    while True:
        before, closed = closed, jax.make_jaxpr(_emission(closed))(*arguments)
        # A rule may leave equations behind that nothing needs any more.
        if equations(closed.jaxpr) >= equations(before.jaxpr) and _all_needed(closed.jaxpr):
            return closed


def equations(jaxpr: jax_core.Jaxpr) -> int:
    """The number of equations: with those of loops and branches, and of jitted functions instead
    of their calls."""
    return sum(
        (equation.primitive.name not in _CALLS) + sum(map(equations, _inner(equation)))
        for equation in jaxpr.eqns
    )


def _inner(equation: jax_core.JaxprEqn) -> Iterable[jax_core.Jaxpr]:
    """The jaxprs among an equation's parameters."""
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, jax_core.ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, jax_core.Jaxpr):
                yield part


def _emission(closed: jax_core.ClosedJaxpr) -> Callable[..., list[Any]]:
    return lambda *arguments: _Emitter().run(closed.jaxpr, closed.consts, arguments)


class _Emitter:
    """Emits the equations of a jaxpr that are needed, each once.

    Attributes:
        emitted: results by equation. The operands are kept with them, so that their identities
            stay taken.
        sources: for parts of an array, the array and where they begin.
    """

    def __init__(self) -> None:
        self.emitted: dict[Any, tuple[list[Any], list[Any]]] = {}
        self.sources: dict[int, tuple[Any, tuple[int, ...]]] = {}

    def run(
        self, jaxpr: jax_core.Jaxpr, consts: Iterable[Any], arguments: Iterable[Any]
    ) -> list[Any]:
        """Emit a jaxpr on values; returns its results."""
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            return atom if isinstance(atom, jax_core.Literal) else values[atom]

        for equation in _needed(jaxpr):
            results = self._emit(jaxpr, equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [_plain(read(atom)) for atom in jaxpr.outvars]

    def _emit(
        self, jaxpr: jax_core.Jaxpr, equation: jax_core.JaxprEqn, operands: list[Any]
    ) -> list[Any]:
        name = equation.primitive.name
        if name in _CALLS:
            inner = equation.params["jaxpr"]
            return self.run(inner.jaxpr, inner.consts, operands)
        unchanged = _unchanged(name, operands, equation.outvars[0].aval)
        if unchanged is not None:
            return [unchanged]
        if name == "slice" and not isinstance(operands[0], jax_core.Literal):
            return [self._part(operands[0], equation.params)]
        key = (name, *map(_identity, operands), _hashable(equation.params))
        if key not in self.emitted:
            self.emitted[key] = (_bind(jaxpr, equation, operands), operands)
        return self.emitted[key][0]

    def _part(self, array: Any, params: dict[str, Any]) -> Any:
        """A part of an array, or of that which the array is a part of."""
        strides = params["strides"]
        nowhere = (0,) * len(params["start_indices"])
        whole, offsets = self.sources.get(id(array), (array, nowhere))
        starts, limits = (
            tuple(int(a) + int(b) for a, b in zip(params[bound], offsets, strict=True))
            for bound in ("start_indices", "limit_indices")
        )
        key = ("slice", _identity(whole), starts, limits, strides)
        if key not in self.emitted:
            part = lax.slice(whole, starts, limits, strides)
            self.emitted[key] = ([part], [whole])
            if strides is None:
                self.sources[id(part)] = (whole, starts)
        return self.emitted[key][0][0]


def _bind(jaxpr: jax_core.Jaxpr, equation: jax_core.JaxprEqn, operands: list[Any]) -> list[Any]:
    """Emit an equation of a jaxpr on other operands."""
    given = {
        variable: _plain(operand)
        for variable, operand in zip(equation.invars, operands, strict=True)
        if not isinstance(variable, jax_core.Literal)
    }
    alone = jaxpr.replace(
        constvars=[], invars=list(given), outvars=equation.outvars, eqns=[equation]
    )
    return list(jax_core.jaxpr_as_fun(jax_core.ClosedJaxpr(alone, ()))(*given.values()))


def _all_needed(jaxpr: jax_core.Jaxpr) -> bool:
    return len(_needed(jaxpr)) == len(jaxpr.eqns)


def _needed(jaxpr: jax_core.Jaxpr) -> list[jax_core.JaxprEqn]:
    """The equations that the results depend on, in order."""
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, jax_core.Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if not wanted.isdisjoint(equation.outvars):
            kept.append(equation)
            wanted.update(v for v in equation.invars if not isinstance(v, jax_core.Literal))
    return kept[::-1]


def _unchanged(name: str, operands: list[Any], result: Any) -> Any:
    """The operand that the result is, None if it is none of them."""
    candidate = None
    match name:
        case "select_n":
            same = {_identity(arm) for arm in operands[1:]}
            candidate = operands[1] if len(same) == 1 else None
        case "mul":
            for one, other in (operands, reversed(operands)):
                if _is_number(one, 1):
                    candidate = other
        case "div":
            candidate = operands[0] if _is_number(operands[1], 1) else None
        case "sub":
            candidate = operands[0] if _is_number(operands[1], 0) else None
        case "and" | "or" | "max" | "min":
            candidate = operands[0] if _identity(operands[0]) == _identity(operands[1]) else None
        case "convert_element_type" | "copy" | "reshape" | "broadcast_in_dim" | "squeeze" | "slice":
            candidate = operands[0] if len(operands) == 1 else None
    if candidate is None or isinstance(candidate, np.ndarray):
        return None
    aval: Any = candidate.aval
    same_type = aval.dtype == result.dtype and aval.shape == result.shape
    return candidate if same_type else None


def _is_number(operand: Any, number: int) -> bool:
    """Whether an operand is a constant that is +`number` everywhere."""
    if not isinstance(operand, jax_core.Literal) or np.ndim(operand.val) != 0:
        return False
    return bool(operand.val == number) and not np.signbit(np.asarray(operand.val, float))


def _identity(operand: Any) -> Any:
    """A key that is equal only for operands that are the same."""
    if isinstance(operand, jax_core.Literal):
        value = np.asarray(_plain(operand))
        return ("literal", str(value.dtype), value.shape, value.tobytes())
    if isinstance(operand, np.ndarray | np.generic):
        return ("constant", str(operand.dtype), operand.shape, operand.tobytes())
    return ("value", id(operand))


def _hashable(params: dict[str, Any]) -> Any:
    """Parameters as part of a key; those that cannot be compared are like no others."""
    items = tuple(sorted(params.items()))
    try:
        hash(items)
    except TypeError:
        return object()
    return items


def _plain(operand: Any) -> Any:
    """An operand for JAX: a literal as a NumPy scalar of its own type."""
    if isinstance(operand, jax_core.Literal):
        aval: Any = operand.aval
        return np.asarray(operand.val, aval.dtype)[()]
    return operand
