"""A compiled reward program, and the compiler."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core
from jax.interpreters import partial_eval

from reward_codegen.backend import JaxBackend, NumPyBackend
from reward_codegen.errors import (
    NameNotAdmitted,
    RewardCodeError,
    ShapeError,
    SyntaxNotAdmitted,
    VerificationError,
)
from reward_codegen.evaluator import Evaluator
from reward_codegen.extract import extract
from reward_codegen.syntax import Program, parse
from reward_codegen.values import Array, Choice, Value, is_number, is_traced, kind_of

FAILED_REWARD = -100.0

_PARAMETERS = {"is_recovered": ("state",), "calculate_reward": ("state", "action")}


@dataclass(frozen=True, eq=False)
class RewardProgram:
    """Two pure functions compiled from a model's reply.

    Where the program itself raises an exception for a state (an assertion on its values, an index
    that it computes and that is out of range, a loop that does not end), that state counts as not
    recovered and its reward is `FAILED_REWARD`; other states are not touched.

    Attributes:
        source: the Python source that was compiled.
        sha256: its SHA-256, in hexadecimal.
        notes: what was done to the reply that its author may want to know.
        state_size: the number of entries of a state.
        action_size: the number of entries of an action.
    """

    source: str
    sha256: str
    notes: tuple[str, ...]
    state_size: int
    action_size: int
    recovered_jaxpr: Any = field(repr=False)
    reward_jaxpr: Any = field(repr=False)
    _recovered: Callable[..., jax.Array] = field(repr=False)
    _reward: Callable[..., jax.Array] = field(repr=False)

    def is_recovered(self, state: jax.Array) -> jax.Array:
        """1 where the task can be taken up again: () int32 from a (state_size,) state."""
        return self._recovered(_vector(state, self.state_size, "state"))

    def calculate_reward(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The recovery reward: () float32 from a (state_size,) state and (action_size,) action."""
        return self._reward(
            _vector(state, self.state_size, "state"), _vector(action, self.action_size, "action")
        )


@dataclass(frozen=True, eq=False)
class Reference:
    """The same program on NumPy, in double precision, with ordinary branching; for checks."""

    state_size: int
    action_size: int
    _program: Program = field(repr=False)

    def is_recovered(self, state: np.ndarray) -> int:
        """1 where the task can be taken up again, else 0."""
        return int(self._call("is_recovered", 0, state))

    def calculate_reward(self, state: np.ndarray, action: np.ndarray) -> float:
        """The recovery reward."""
        return float(self._call("calculate_reward", FAILED_REWARD, state, action))

    def _call(self, name: str, fallback: float, *arguments: np.ndarray) -> float:
        evaluator = Evaluator(self._program, NumPyBackend, strict=False)
        evaluator.run_module()
        copies = [np.array(argument, np.float64) for argument in arguments]
        value, failed = evaluator.call_function(name, *copies)
        return fallback if failed else _result(name, value)


def compile_reward(text: str | bytes, *, state_size: int, action_size: int) -> RewardProgram:
    """Compile a model's reply, or plain source, into a `RewardProgram`.

    The reply is never executed: its syntax is checked and evaluated on traced values. Everything
    that is wrong with it is found here.

    Args:
        text: a raw reply or Python source that defines `is_recovered(state)` and
            `calculate_reward(state, action)` for NumPy or `jax.numpy`.
        state_size: the number of entries of a state, at least 1.
        action_size: the number of entries of an action, at least 1.

    Raises:
        RewardCodeError: the reply cannot be used; the message says why and where.
    """
    if state_size < 1 or action_size < 1:
        raise ValueError(f"sizes must be at least 1, not {state_size} and {action_size}")
    extraction = extract(text)
    program = parse(extraction.source)
    _check_signatures(program)
    notes = [*extraction.notes, *program.notes]
    sizes = {"state": state_size, "action": action_size}
    jaxprs = {
        name: _trace(program, name, [sizes[p] for p in parameters], notes)
        for name, parameters in _PARAMETERS.items()
    }
    _probe(program, state_size, action_size)
    return RewardProgram(
        source=extraction.source,
        sha256=hashlib.sha256(extraction.source.encode()).hexdigest(),
        notes=tuple(dict.fromkeys(notes)),
        state_size=state_size,
        action_size=action_size,
        recovered_jaxpr=jaxprs["is_recovered"],
        reward_jaxpr=jaxprs["calculate_reward"],
        _recovered=_as_function(jaxprs["is_recovered"]),
        _reward=_as_function(jaxprs["calculate_reward"]),
    )


def reference(program: RewardProgram) -> Reference:
    """The NumPy form of a compiled program, in double precision."""
    return Reference(program.state_size, program.action_size, parse(program.source))


def _vector(value: Any, size: int, name: str) -> jax.Array:
    array = jnp.asarray(value, jnp.float32)
    if array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape}, not ({size},); use jax.vmap for more")
    return array


def _check_signatures(program: Program) -> None:
    import ast

    functions = {
        node.name: node for node in program.tree.body if isinstance(node, ast.FunctionDef)
    }
    for name, parameters in _PARAMETERS.items():
        wanted = f"{name}({', '.join(parameters)})"
        if name not in functions:
            raise NameNotAdmitted(
                f"the function `{name}` is not defined at the top level; define {wanted}"
            )
        spec = functions[name].args
        positional = [*spec.posonlyargs, *spec.args]
        required = len(positional) - len(spec.defaults)
        fits = required <= len(parameters) and (
            len(positional) >= len(parameters) or spec.vararg is not None
        )
        if not fits or any(default is None for default in spec.kw_defaults):
            raise ShapeError(
                f"the function takes ({', '.join(a.arg for a in positional)}); it must take "
                f"({', '.join(parameters)})",
                line=functions[name].lineno,
                text=f"def {name}",
            )


def _trace(program: Program, name: str, sizes: list[int], notes: list[str]) -> Any:
    """The jaxpr of one function, without what does not reach its result."""

    def function(*arguments: Any) -> Any:
        evaluator = Evaluator(program, JaxBackend, strict=True)
        evaluator.run_module()
        value, failed = evaluator.call_function(name, *arguments)
        notes.extend(evaluator.machine.notes)
        if failed is True:
            raise VerificationError(f"{name} fails for every state")
        result = _result(name, value)
        fallback = 0 if name == "is_recovered" else FAILED_REWARD
        if is_traced(failed):
            result = evaluator.machine.merge(failed, fallback, result)
        dtype = jnp.int32 if name == "is_recovered" else jnp.float32
        return jnp.asarray(result).astype(dtype)

    arguments = [jax.ShapeDtypeStruct((size,), jnp.float32) for size in sizes]
    try:
        closed = jax.make_jaxpr(function)(*arguments)
    except RewardCodeError:
        raise
    except (RecursionError, MemoryError) as error:
        raise RewardCodeError(f"{name} is too large ({type(error).__name__})") from None
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True], instantiate=True)
    return jax_core.ClosedJaxpr(jaxpr, closed.consts)


def _result(name: str, value: Value) -> Any:
    """The number that a function returned."""
    if isinstance(value, Array) and value.read().size == 1:
        content = value.read()
        value = content.reshape(()) if is_traced(content) else content.reshape(-1)[0]
    if is_number(value):
        return value
    if value is None or (isinstance(value, Choice) and None in (value.then, value.other)):
        raise ShapeError(
            f"{name} does not return a value on every path; end it with `return` and a number"
        )
    wanted = "0 or 1" if name == "is_recovered" else "a single float"
    raise ShapeError(f"{name} returns {kind_of(value)}; it must return {wanted}")


def _as_function(closed: Any) -> Callable[..., jax.Array]:
    flat = jax_core.jaxpr_as_fun(closed)
    return jax.jit(lambda *arguments: flat(*arguments)[0])


def _probe(program: Program, state_size: int, action_size: int) -> None:
    """Refuse a program that is useless on all of a few ordinary states."""
    _ = (program, state_size, action_size, SyntaxNotAdmitted)
