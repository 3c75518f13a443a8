"""A `while` on a traced condition that is too long to unroll, as one `lax.while_loop`.

The cells that the body changes become the loop's carry; the ways out of the body (break, return,
raise) become flags, with their values, and are taken when the loop has ended. Lanes that would go
on beyond the bound fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from reward_codegen.backend import JaxBackend
from reward_codegen.branching import Outcome
from reward_codegen.budget import MAX_LOOP_ITERATIONS
from reward_codegen.errors import ShapeError
from reward_codegen.machine import Machine
from reward_codegen.values import UNDEFINED, Array, Cell, ListValue, Value, is_number, is_traced

_MAX_TRIALS = 6  # until the carry's cells and types no longer change


@dataclass
class _Carry:
    """What goes round: the cells that change, and for each its structure and number types."""

    cells: list[Cell]
    templates: list[Value]
    types: list[list[jax.ShapeDtypeStruct]]


@dataclass
class _Exits:
    """The ways out of the body, as the last trace of it found them."""

    kinds: list[str]
    values: list[Value]


def rolled_loop(machine: Machine, condition: Callable[[], Value], body: Callable[[], None]) -> None:
    """Run `body` as long as `condition` holds, in each lane for itself.

    Raises:
        Unwind: the loop is left for good in all lanes.
        ShapeError: a variable changes its kind or shape from one iteration to the next.
    """
    backend = machine.backend
    assert isinstance(backend, JaxBackend)
    branching = machine.branching
    present = branching.present()  # while the trace is still the one that it belongs to
    carry = _Carry([], [], [])
    exits = _Exits([], [])

    def iteration(leaves: list[list[Any]]) -> tuple[Any, list[Any], list[Any], dict[Cell, Value]]:
        """One iteration from the carry's values: goes on?, exit flags, exit values, changes."""
        backend.open_trace()
        try:
            return branching.rehearse(lambda: run(leaves))
        finally:
            backend.close_trace()

    def run(leaves: list[list[Any]]) -> tuple[Any, list[Any], list[Any]]:
        for cell, template, parts in zip(carry.cells, carry.templates, leaves, strict=True):
            branching.write(cell, _rebuild(machine, template, list(parts)))
        test: list[Value] = []

        def body_and_test() -> None:
            body()
            # In here, since the test may leave the loop as well, by an index out of range say.
            test.append(machine.truth(condition()))

        found, end = branching.region(branching.open_kinds(), body_and_test)
        outcomes = [outcome for _, outcome in found]
        if end is not None:
            outcomes.append(end)
        flags = _exclusive([outcome for _, outcome in found], end is None)
        exits.kinds = [kind for kind, _ in found]
        exits.values = [outcome.value for _, outcome in found]
        values = [[_as_array(part) for part in _leaves(machine, value)] for value in exits.values]
        branching.settle([("", Outcome(o.condition, None, o.changes)) for o in outcomes], None)
        goes_on: Any = jnp.asarray(end is not None)
        if end is not None:
            goes_on = jnp.asarray(test[-1])
            for flag in flags:
                goes_on = goes_on & ~flag
        return goes_on, flags, values

    for _ in range(_MAX_TRIALS):
        known = list(carry.cells), [list(types) for types in carry.types]
        changed: dict[Cell, Value] = {}

        def trial(leaves: list[list[Any]], changed: dict[Cell, Value] = changed) -> Any:
            goes_on, flags, values, changes = iteration(leaves)
            changed.update(changes)
            return (
                goes_on,
                flags,
                values,
                [
                    [_as_array(part) for part in _leaves(machine, content)]
                    for content in changes.values()
                ],
            )

        _, flag_types, value_types, content_types = jax.eval_shape(trial, carry.types)
        _widen(machine, carry, changed, content_types)
        if known == (carry.cells, carry.types):
            break
    else:
        raise ShapeError("the variables of this loop change their kind at every iteration")

    def step(state: Any) -> Any:
        count, _, _, _, leaves = state
        goes_on, flags, values, changes = iteration(leaves)
        contents = [
            [
                _as_array(part).astype(type_.dtype)
                for part, type_ in zip(_leaves(machine, changes[cell]), types, strict=True)
            ]
            for cell, types in zip(carry.cells, carry.types, strict=True)
        ]
        return count + 1, goes_on, flags, values, contents

    first = _as_array(machine.truth(condition()))
    start = (
        jnp.int32(0),
        first if present is None else first & present,
        [jnp.zeros(t.shape, t.dtype) for t in flag_types],
        [[jnp.zeros(t.shape, t.dtype) for t in types] for types in value_types],
        [
            _start(machine, cell, types)
            for cell, types in zip(carry.cells, carry.types, strict=True)
        ],
    )
    _, unfinished, flags, values, contents = lax.while_loop(
        lambda state: state[1] & (state[0] < MAX_LOOP_ITERATIONS), step, start
    )
    for cell, template, parts in zip(carry.cells, carry.templates, contents, strict=True):
        machine.write(cell, _rebuild(machine, template, list(parts)))
    branching.fork(unfinished, lambda: branching.exit("failed"), lambda: None)
    for flag, kind, template, parts in zip(flags, exits.kinds, exits.values, values, strict=True):
        value = _rebuild(machine, template, list(parts))
        branching.fork(flag, partial(branching.exit, kind, value), lambda: None)


def _exclusive(outcomes: list[Outcome], exhaustive: bool) -> list[Any]:
    """For each exit whether it is the one that is taken."""
    flags: list[Any] = []
    left = jnp.asarray(True)
    for index, outcome in enumerate(outcomes):
        last = exhaustive and index == len(outcomes) - 1
        here = jnp.asarray(True if last or outcome.condition is None else outcome.condition)
        flags.append(left & here)
        left = left & ~here
    return flags


def _widen(
    machine: Machine, carry: _Carry, changed: dict[Cell, Value], found: list[list[Any]]
) -> None:
    """Let the carry hold what a trial has changed."""
    for (cell, content), types in zip(changed.items(), found, strict=True):
        if cell not in carry.cells:
            if cell.content is not UNDEFINED:
                before = [_aval(part) for part in _leaves(machine, cell.content)]
                types = _join(before, types)
            carry.cells.append(cell)
            carry.templates.append(content)
            carry.types.append(types)
        else:
            place = carry.cells.index(cell)
            carry.types[place] = _join(carry.types[place], types)


def _join(first: list[Any], second: list[Any]) -> list[jax.ShapeDtypeStruct]:
    if [t.shape for t in first] != [t.shape for t in second]:
        raise ShapeError("a variable changes its kind or shape from one iteration to the next")
    return [
        jax.ShapeDtypeStruct(a.shape, jnp.promote_types(a.dtype, b.dtype))
        for a, b in zip(first, second, strict=True)
    ]


def _start(machine: Machine, cell: Cell, types: list[jax.ShapeDtypeStruct]) -> list[Any]:
    if cell.content is UNDEFINED:
        return [jnp.zeros(t.shape, t.dtype) for t in types]
    leaves = _leaves(machine, cell.content)
    return [_as_array(part).astype(t.dtype) for part, t in zip(leaves, types, strict=True)]


def _leaves(machine: Machine, content: Value) -> list[Any]:
    """The numbers and arrays in a cell's content, in order."""
    machine.budget.step()
    if is_number(content) or isinstance(content, np.ndarray) or is_traced(content):
        return [content]
    if isinstance(content, Array):
        return [content.read()]
    if isinstance(content, ListValue):
        return _leaves(machine, content.content)
    if isinstance(content, tuple):
        return [leaf for item in content for leaf in _leaves(machine, item)]
    if content is None or isinstance(content, str):
        return []
    raise ShapeError(
        "a loop whose length depends on the state may change numbers, arrays and lists only"
    )


def _rebuild(machine: Machine, template: Value, leaves: list[Any]) -> Value:
    """A content of the template's structure from `leaves`, which are used up."""
    if is_number(template) or isinstance(template, np.ndarray) or is_traced(template):
        return leaves.pop(0)
    if isinstance(template, Array):
        return machine.wrap(leaves.pop(0))
    if isinstance(template, ListValue):
        return machine.make_list(_rebuild(machine, template.content, leaves))
    if isinstance(template, tuple):
        return tuple(_rebuild(machine, item, leaves) for item in template)
    return template


def _aval(part: Any) -> jax.ShapeDtypeStruct:
    array = _as_array(part)
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _as_array(part: Any) -> Any:
    return part if is_traced(part) else jnp.asarray(part)
