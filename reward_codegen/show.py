"""A program as it was understood, for a person to read."""

import ast
from collections import Counter
from collections.abc import Iterable
from typing import Any

from jax.extend import core as jax_core

from reward_codegen.budget import UNROLLED_ITERATIONS
from reward_codegen.language.outcome import PARAMETERS, Outcome
from reward_codegen.program import RewardProgram


def describe(program: RewardProgram, jaxpr: bool = False) -> str:
    """What each of the two functions reads, guards, turned into pure operations, and costs.

    Args:
        program: a compiled program.
        jaxpr: whether to print all equations too.
    """
    lines = [
        f"sha256 {program.sha256}",
        f"state: {program.state_size} entries; action: {program.action_size} entries",
    ]
    lines += [f"note: {note}" for note in program.notes]
    for name, parameters in PARAMETERS.items():
        closed = getattr(program, f"{name}_jaxpr")
        lines += ["", f"{name}({', '.join(parameters)})"]
        for parameter, variable in zip(parameters, closed.jaxpr.invars, strict=True):
            lines.append(f"  reads {_entries(closed.jaxpr, variable, parameter)}")
        lines += [f"  {line}" for line in _noted(program.outcomes[name])]
        lines.append(f"  {equations(closed.jaxpr)} equations: {_operations(closed.jaxpr)}")
        if jaxpr:
            lines += [f"    {line}" for line in str(closed).splitlines()]
    return "\n".join(lines)


# What is read ------------------------------------------------------------------------------------


def _entries(jaxpr: jax_core.Jaxpr, variable: Any, name: str) -> str:
    """Which entries of an argument the equations take."""
    single: set[int] = set()
    whole: list[str] = []
    for equation in jaxpr.eqns:
        if not any(operand is variable for operand in equation.invars):
            continue
        if equation.primitive.name == "slice":
            (start,), (limit,) = (equation.params[f"{b}_indices"] for b in ("start", "limit"))
            single.update(range(start, limit, (equation.params["strides"] or (1,))[0]))
        else:
            whole.append(equation.primitive.name)
    if any(result is variable for result in jaxpr.outvars):
        whole.append("the result")
    told = []
    if single:
        told.append(f"{name}[{_ranges(single)}]")
    if whole:
        told.append(f"all of {name} at once (in {', '.join(dict.fromkeys(whole))})")
    return " and ".join(told) or f"nothing of {name}"


def _ranges(indices: set[int]) -> str:
    """{0, 2, 3, 4} as `0, 2..4`."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}..{p[-1]}" for p in parts)


def _operations(jaxpr: jax_core.Jaxpr) -> str:
    """The most frequent operations."""
    counts = Counter(equation.primitive.name for equation in jaxpr.eqns)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(8)) or "a constant"


# What was made functional -------------------------------------------------------------------------


def _noted(outcome: Outcome) -> list[str]:
    """What the interpreter has noted of a function, in the order of the source."""
    m = outcome.interpreter
    noted = dict(m.seen)
    for node, count in m.rounds.values():
        if isinstance(node, ast.While) and count > UNROLLED_ITERATIONS:
            what = f"while: unrolled {UNROLLED_ITERATIONS} times or rolled into one loop"
        else:
            kind = "for" if isinstance(node, ast.For) else "while"
            what = f"{kind}: unrolled, {count} iteration{'s' if count != 1 else ''} in all"
        noted[getattr(node, "lineno", 0), what] = None
    return [f"line {line}: {what}" for line, what in sorted(noted)]


def equations(jaxpr: jax_core.Jaxpr) -> int:
    """The number of equations: with those of loops and branches, and of jitted functions instead
    of their calls."""
    return sum(
        (equation.primitive.name not in ("jit", "pjit")) + sum(map(equations, _inner(equation)))
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
