"""A program as it was understood, for a person to read."""

import ast
from collections import Counter
from collections.abc import Callable
from typing import Any

from jax.extend import core as jax_core

from reward_codegen.budget import UNROLLED_ITERATIONS
from reward_codegen.evaluator import Evaluator
from reward_codegen.program import RewardProgram, trace
from reward_codegen.simplify import equations
from reward_codegen.syntax import Program, parse
from reward_codegen.values import Array, Value, is_traced

_SELECTED = "depends on the values: both sides are computed and one is selected"
_UPDATE = "an array is changed in place: a functional update"
_GUARD = "a guard on values: where it fails the state counts as not recovered, its reward as -100"


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
    parsed = parse(program.source)
    parts = {
        "is_recovered": ("state",),
        "calculate_reward": ("state", "action"),
    }
    for name, parameters in parts.items():
        closed = getattr(program, f"{name}_jaxpr")
        lines += ["", f"{name}({', '.join(parameters)})"]
        for parameter, variable in zip(parameters, closed.jaxpr.invars, strict=True):
            lines.append(f"  reads {_entries(closed.jaxpr, variable, parameter)}")
        watcher = _watch(parsed, name, [variable.aval.shape[0] for variable in closed.jaxpr.invars])
        lines += [f"  {line}" for line in watcher.lines()]
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


# What was functionalised -------------------------------------------------------------------------


class _Watcher(Evaluator):
    """An evaluator that notes what it does at which line."""

    def __init__(self, program: Program, *arguments: Any, **keywords: Any) -> None:
        self._seen: dict[tuple[int, str], None] = {}
        self._iterations: Counter[int] = Counter()
        self._owners: dict[int, ast.AST] = {}
        for node in ast.walk(program.tree):
            if isinstance(node, ast.If | ast.IfExp | ast.Assert | ast.While):
                self._owners[id(node.test)] = node
            if isinstance(node, ast.For | ast.While):
                self._owners[id(node.body)] = node
        super().__init__(program, *arguments, **keywords)

    def lines(self) -> list[str]:
        """What was noted, in the order of the source."""
        noted = dict(self._seen)
        for key, count in self._iterations.items():
            node = self._owners[key]
            if isinstance(node, ast.While) and count > UNROLLED_ITERATIONS:
                what = f"while: unrolled {UNROLLED_ITERATIONS} times or rolled into one loop"
            else:
                kind = "for" if isinstance(node, ast.For) else "while"
                what = f"{kind}: unrolled, {count} iteration{'s' if count != 1 else ''} in all"
            noted[getattr(node, "lineno", 0), what] = None
        return [f"line {line}: {what}" for line, what in sorted(noted)]

    def _note(self, node: ast.AST, what: str) -> None:
        self._seen[getattr(node, "lineno", 0), what] = None

    def _decide(
        self,
        node: ast.AST,
        condition: Value,
        then: Callable[[], Value],
        other: Callable[[], Value],
    ) -> Value:
        owner = self._owners.get(id(node))
        traced = is_traced(self._guarded(node, self.machine.truth, condition))
        if isinstance(owner, ast.Assert):
            self._note(owner, f"assert: {_GUARD if traced else 'checked while compiling, holds'}")
        elif _guards_finite(owner):
            self._note(node, "a guard: returns at once where values are not finite")
        elif traced:
            kind = "conditional expression" if isinstance(owner, ast.IfExp) else "if"
            self._note(node, f"{kind}: {_SELECTED}")
        return super()._decide(node, condition, then, other)

    def _iteration(
        self, body: list[ast.stmt], target: ast.expr | None = None, item: Value = None
    ) -> None:
        self._iterations[id(body)] += 1
        super()._iteration(body, target, item)

    def _do_Raise(self, node: ast.Raise) -> None:
        caught = any(kind.startswith("raise:") for kind in self._branching.open_kinds())
        self._note(node, f"raise: {'caught by a try' if caught else _GUARD}")
        super()._do_Raise(node)

    def _do_Try(self, node: ast.Try) -> None:
        self._note(node, "try: exceptions are taken where the states concerned would raise them")
        super()._do_Try(node)

    def _assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Subscript) and self._is_array(target.value):
            self._note(target, _UPDATE)
        super()._assign(target, value)

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        changed = node.target.value if isinstance(node.target, ast.Subscript) else node.target
        if self._is_array(changed):
            self._note(node, _UPDATE)
        super()._do_AugAssign(node)

    def _is_array(self, node: ast.expr) -> bool:
        cell = self._scope.find(node.id) if isinstance(node, ast.Name) else None
        return cell is not None and isinstance(cell.content, Array)


def _guards_finite(node: ast.AST | None) -> bool:
    """Whether an `if` returns at once where something is not finite."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.body[-1], ast.Return)
        and any(
            isinstance(part, ast.Attribute) and part.attr in ("isfinite", "isnan", "isinf")
            for part in ast.walk(node.test)
        )
    )


def _watch(program: Program, name: str, sizes: list[int]) -> _Watcher:
    watchers: list[_Watcher] = []

    def make(*arguments: Any, **keywords: Any) -> _Watcher:
        watchers.append(_Watcher(*arguments, **keywords))
        return watchers[-1]

    trace(program, name, sizes, [], make)
    return watchers[-1]
