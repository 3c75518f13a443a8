"""A compiled reward program, and the compiler."""

import ast
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core as jax_core

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.extract import extract
from reward_codegen.language.compute import by_jax
from reward_codegen.language.names import check_names
from reward_codegen.language.outcome import PARAMETERS, Outcome, interpret
from reward_codegen.language.parse import Program, bound_names, parse
from reward_codegen.reference import Reference
from reward_codegen.smoke import smoke_test

_RESULTS = {"is_recovered": jnp.int32, "calculate_reward": jnp.float32}


@dataclass(frozen=True, eq=False)
class RewardProgram:
    """Two pure functions compiled from a model's reply, usable inside jit, vmap and scan.

    Where the program itself raises an exception for a state (a `raise` or `assert` on its values,
    an index it computes that is out of range, a loop that does not end), that state counts as not
    recovered and its reward is `FAILED_REWARD`; other states of the batch are not touched.

    Attributes:
        source: the Python source that was compiled.
        sha256: its SHA-256, in hexadecimal.
        notes: what was done to the reply that its author may want to know.
        state_size: the number of entries of a state.
        action_size: the number of entries of an action.
        is_recovered_jaxpr: what `is_recovered` computes.
        calculate_reward_jaxpr: what `calculate_reward` computes.
        outcomes: what the interpreter has found, by function.
    """

    source: str
    sha256: str
    notes: tuple[str, ...]
    state_size: int
    action_size: int
    is_recovered_jaxpr: jax_core.ClosedJaxpr = field(repr=False)
    calculate_reward_jaxpr: jax_core.ClosedJaxpr = field(repr=False)
    outcomes: dict[str, Outcome] = field(repr=False)
    _is_recovered: Callable[..., jax.Array] = field(repr=False)
    _calculate_reward: Callable[..., jax.Array] = field(repr=False)
    _terms: Callable[..., dict[str, jax.Array]] = field(repr=False)

    def is_recovered(self, state: jax.Array) -> jax.Array:
        """1 where the original task can be taken up again: () int32 from a (state_size,) state."""
        return self._is_recovered(_vector(state, self.state_size, "state"))

    def calculate_reward(self, state: jax.Array, action: jax.Array) -> jax.Array:
        """The recovery reward: () float32 from a (state_size,) state and (action_size,) action."""
        return self._calculate_reward(
            _vector(state, self.state_size, "state"), _vector(action, self.action_size, "action")
        )

    def terms(self, state: jax.Array, action: jax.Array) -> dict[str, jax.Array]:
        """The named terms of the reward, each () float32.

        They are the dictionary of a `calculate_reward` that ends with `return reward, {...}`;
        empty where it returns a number alone. A term is NaN where the program names none or
        raises an exception.

        Args:
            state: (state_size,).
            action: (action_size,).
        """
        return self._terms(
            _vector(state, self.state_size, "state"), _vector(action, self.action_size, "action")
        )


def compile_reward(text: str | bytes, *, state_size: int, action_size: int) -> RewardProgram:
    """Compile a model's reply, or plain source, into a `RewardProgram`.

    The reply is never executed: its syntax is checked and evaluated on traced values. Everything
    that is wrong with it is found here.

    Args:
        text: a raw reply, or Python source, that defines `is_recovered(state)` and
            `calculate_reward(state, action)` for NumPy or `jax.numpy`.
        state_size: the number of entries of a state, at least 1.
        action_size: the number of entries of an action, at least 1.

    Raises:
        RewardCodeError: the reply cannot be used; the message says where and why.
        ValueError: a size is below 1.
    """
    if state_size < 1 or action_size < 1:
        raise ValueError(f"sizes must be at least 1, not {state_size} and {action_size}")
    extraction = extract(text)
    return compile_source(
        extraction.source, state_size=state_size, action_size=action_size, notes=extraction.notes
    )


def compile_source(
    source: str, *, state_size: int, action_size: int, notes: Sequence[str] = ()
) -> RewardProgram:
    """Compile Python source that has been extracted already; otherwise as `compile_reward`.

    Args:
        source: the program.
        state_size: the number of entries of a state, at least 1.
        action_size: the number of entries of an action, at least 1.
        notes: what was done to the source before.

    Raises:
        RewardCodeError: the program cannot be used; the message says where and why.
    """
    program = parse(source)
    _check_signatures(program)
    check_names(program)
    sizes = {"state": state_size, "action": action_size}
    outcomes = {name: interpret(program, name, sizes) for name in PARAMETERS}
    found = [*notes, *program.notes]
    for outcome in outcomes.values():
        found += outcome.interpreter.notes
    jaxprs = {name: _traced(outcome, name, sizes) for name, outcome in outcomes.items()}
    compiled = RewardProgram(
        source=program.source,
        sha256=hashlib.sha256(program.source.encode()).hexdigest(),
        notes=tuple(dict.fromkeys(found)),
        state_size=state_size,
        action_size=action_size,
        is_recovered_jaxpr=jaxprs["is_recovered"],
        calculate_reward_jaxpr=jaxprs["calculate_reward"],
        _is_recovered=_as_function(jaxprs["is_recovered"]),
        outcomes=outcomes,
        _calculate_reward=_as_function(jaxprs["calculate_reward"]),
        _terms=_terms(outcomes["calculate_reward"]),
    )
    smoke_test(Reference(compiled.outcomes), state_size, action_size)
    return compiled


def _vector(value: Any, size: int, name: str) -> jax.Array:
    array = jnp.asarray(value, jnp.float32)
    if array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape}, not ({size},); use jax.vmap for more")
    return array


def _check_signatures(program: Program) -> None:
    definitions = {
        node.name: node for node in program.tree.body if isinstance(node, ast.FunctionDef)
    }
    bound = bound_names(program.tree)
    for name, parameters in PARAMETERS.items():
        wanted = f"{name}({', '.join(parameters)})"
        if name not in bound:
            raise NameNotAdmitted(
                f"the function {name} is not defined at the top level of the source; "
                f"define {wanted}"
            )
        if name not in definitions or definitions[name].decorator_list:
            continue  # the call will show
        spec = definitions[name].args
        positional = [*spec.posonlyargs, *spec.args]
        required = len(positional) - len(spec.defaults)
        enough = len(positional) >= len(parameters) or spec.vararg is not None
        if required > len(parameters) or not enough or None in spec.kw_defaults:
            raise ShapeError(
                f"the function takes ({', '.join(part.arg for part in positional)}); "
                f"it must be {wanted}",
                line=definitions[name].lineno,
                text=f"def {name}",
            )


def _traced(outcome: Outcome, name: str, sizes: dict[str, int]) -> jax_core.ClosedJaxpr:
    """What a function computes, as a jaxpr."""
    names = PARAMETERS[name]

    def function(*arguments: jax.Array) -> jax.Array:
        inputs = dict(zip(names, arguments, strict=True))
        (result,) = by_jax([outcome.result], inputs)
        return jnp.asarray(result).astype(_RESULTS[name])

    return jax.make_jaxpr(function)(*_arguments(names, sizes))


def _arguments(names: Sequence[str], sizes: dict[str, int]) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct((sizes[name],), jnp.float32) for name in names]


def _terms(outcome: Outcome) -> Callable[..., dict[str, jax.Array]]:
    def function(state: jax.Array, action: jax.Array) -> dict[str, jax.Array]:
        values = by_jax(list(outcome.terms.values()), {"state": state, "action": action})
        return {
            name: jnp.asarray(value, jnp.float32)
            for name, value in zip(outcome.terms, values, strict=True)
        }

    return jax.jit(function)


def _as_function(closed: jax_core.ClosedJaxpr) -> Callable[..., jax.Array]:
    flat = jax_core.jaxpr_as_fun(closed)
    return jax.jit(lambda *arguments: flat(*arguments)[0])
