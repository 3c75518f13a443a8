"""Walks an admitted program on values: known ones, and those that JAX traces.

The same walk with NumPy as its backend, where nothing is traced, is the reference.
"""

import ast
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from reward_codegen import arrays, attributes, conversions, modules, python_functions
from reward_codegen.backend import NumPyBackend
from reward_codegen.branching import Outcome, Unwind
from reward_codegen.budget import MAX_LOOP_ITERATIONS, UNROLLED_ITERATIONS
from reward_codegen.errors import (
    BudgetExceeded,
    NameNotAdmitted,
    RewardCodeError,
    ShapeError,
    SyntaxNotAdmitted,
)
from reward_codegen.expressions import BINARY, Expressions
from reward_codegen.record_types import DataclassDecorator
from reward_codegen.rolled_loop import rolled_loop
from reward_codegen.syntax import Program, bound_names
from reward_codegen.tables import EXCEPTIONS
from reward_codegen.values import (
    ABSENT,
    UNDEFINED,
    Array,
    DictValue,
    ExceptionType,
    ExceptionValue,
    Kind,
    ListValue,
    Module,
    RecordType,
    Value,
    is_traced,
    kind_of,
)

_BREAK = frozenset({"break"})
_CONTINUE = frozenset({"continue"})
_FAILED = frozenset({"failed"})


class Evaluator(Expressions):
    """One evaluation of a program: its module, then calls of its functions."""

    def __init__(
        self, program: Program, backend: Callable[[Any], NumPyBackend], *, strict: bool
    ) -> None:
        super().__init__(program, backend, strict=strict)
        self._handled: list[ExceptionValue] = []
        self.machine.loop = self._while_loop
        self._locating(lambda: self._block(program.tree.body))
        self.machine.module_end = self._branching.birth()

    def call_function(self, name: str, *arguments: Any) -> tuple[Value, Value]:
        """Call a function of the module on arrays of one dimension.

        Returns its value and whether the call has failed: a bool, or a traced one. The value where
        it has failed has no meaning (None if it fails everywhere).

        Raises:
            RewardCodeError: something it does is not admitted.
        """
        self.machine.budget.start()
        values = tuple(self.machine.wrap(argument) for argument in arguments)

        def body() -> Value:
            function = self._module.variables[name].content
            return self._guarded(self.program.tree, self.call, function, values, {})

        def run() -> tuple[Value, Value]:
            exits, end = self._branching.region(_FAILED, body)
            if end is None:
                return None, True
            failed: Value = False
            for _, outcome in exits:
                failed = self.machine.merge(outcome.condition, True, failed)
            return end.value, failed

        return self._locating(run)

    def _locating(self, action: Callable[[], Any]) -> Any:
        """Run `action`; whatever goes wrong is a `RewardCodeError` that names the line."""
        try:
            with np.errstate(all="ignore"):
                return action()
        except RewardCodeError:
            raise
        except RecursionError:
            message = "the program nests calls or expressions too deeply"
            raise self._located(BudgetExceeded(message)) from None
        except MemoryError:
            message = "the program needs too much memory"
            raise self._located(BudgetExceeded(message)) from None
        except Exception as error:  # a shortcoming of ours, which must not end a training run
            message = f"this is not understood ({type(error).__name__}); write it more simply"
            raise self._located(RewardCodeError(message)) from error

    # Simple statements ------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._node = statement
            try:
                self.machine.budget.step()
                getattr(self, "_do_" + type(statement).__name__)(statement)
            except RewardCodeError as error:
                if error.line is None:
                    raise self._located(error) from None
                raise

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.eval(node.value)

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def _do_Nonlocal(self, node: ast.Nonlocal) -> None:
        pass  # `bound_names` has taken it into account

    def _do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname is None:
                top = alias.name.split(".")[0]
                self._bind(top, Module(top))
            else:
                self._bind(alias.asname, Module(alias.name))

    def _do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            value = modules.module_member(str(node.module), alias.name)
            self._bind(alias.asname or alias.name, value)

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.eval(node.value)
        for target in node.targets:
            self._assign(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, self.eval(node.value))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        machine, target, operator = self.machine, node.target, BINARY[type(node.op)]
        if isinstance(target, ast.Subscript):
            container, index = self.eval(target.value), self.eval(target.slice)
            old = self._guarded(target, arrays.subscript, machine, container, index)
            new = self._guarded(node, machine.binary, operator, old, self.eval(node.value))
            self._guarded(node, arrays.assign, machine, container, index, new)
            return
        old, value = self.eval(target), self.eval(node.value)
        if isinstance(old, ListValue) and operator == "+":
            self._guarded(node, arrays.extend, machine, old, value)
        elif isinstance(old, Array) and machine.in_place:
            self._guarded(node, arrays.update, machine, old, operator, value)
        else:
            self._assign(target, self._guarded(node, machine.binary, operator, old, value))

    def _do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target.id, UNDEFINED)

    def _do_With(self, node: ast.With) -> None:
        for item in node.items:
            if self.eval(item.context_expr) is not ABSENT or item.optional_vars is not None:
                raise SyntaxNotAdmitted("of `with` only `with np.errstate(...):` is admitted")
        self._block(node.body)

    # Definitions ------------------------------------------------------------------------------

    def _do_FunctionDef(self, node: ast.FunctionDef) -> None:
        value: Value = self._function(node.name, node.args, node.body, bound_names(node))
        for decorator in reversed(node.decorator_list):
            value = self._guarded(decorator, self.call, self.eval(decorator), (value,), {})
        self._bind(node.name, value)

    def _do_ClassDef(self, node: ast.ClassDef) -> None:
        if any(self.eval(base) == Kind("TypedDict") for base in node.bases):
            self._bind(node.name, Kind("dict"))
            return
        is_tuple = any(self.eval(base) == Kind("NamedTuple") for base in node.bases)
        is_data, frozen = is_tuple, True
        for decorator in node.decorator_list:
            value = self.eval(decorator)
            if not isinstance(value, DataclassDecorator):
                raise NameNotAdmitted("the only decorator of a class that is admitted is dataclass")
            is_data, frozen = True, value.frozen
        fields: list[str] = []
        values: dict[str, Value] = {}
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                fields.append(statement.target.id)
                if statement.value is not None:
                    values[statement.target.id] = self.eval(statement.value)
            elif isinstance(statement, ast.Assign):
                value = self.eval(statement.value)
                values.update((t.id, value) for t in statement.targets if isinstance(t, ast.Name))
        own = tuple(fields) if is_data else ()
        defaults = {name: value for name, value in values.items() if name in own}
        self._bind(node.name, RecordType(node.name, own, defaults, is_tuple, frozen, values))

    # Branches and loops -------------------------------------------------------------------------

    def _do_If(self, node: ast.If) -> None:
        self._branch(node.test, lambda: self._block(node.body), lambda: self._block(node.orelse))

    def _do_Return(self, node: ast.Return) -> None:
        self._branching.exit("return", None if node.value is None else self.eval(node.value))

    def _do_Break(self, _: ast.Break) -> None:
        self._branching.exit("break")

    def _do_Continue(self, _: ast.Continue) -> None:
        self._branching.exit("continue")

    def _do_For(self, node: ast.For) -> None:
        entries = self._guarded(node.iter, self.machine.entries, self.eval(node.iter))

        def loop(entries: tuple[tuple[Value, Value], ...]) -> None:
            for there, item in entries:
                iteration = partial(self._iteration, node.body, node.target, item)
                if there is None:
                    iteration()
                else:
                    self._branching.fork(there, iteration, lambda: None)
            self._block(node.orelse)

        self._loop(lambda: self._for_each_kind(entries, loop))

    def _loop(self, body: Callable[[], None]) -> None:
        self._branching.settle(*self._branching.region(_BREAK, body))

    def _iteration(
        self, body: list[ast.stmt], target: ast.expr | None = None, item: Value = None
    ) -> None:
        def run() -> None:
            self.machine.budget.step()
            if target is not None:
                self._assign(target, item)
            self._block(body)

        self._branching.settle(*self._branching.region(_CONTINUE, run))

    def _do_While(self, node: ast.While) -> None:
        def condition() -> Value:
            return self._guarded(node.test, self.machine.truth, self.eval(node.test))

        self._while(
            condition,
            partial(self._iteration, node.body),
            lambda: self._block(node.orelse),
            node,
            forever=isinstance(node.test, ast.Constant),
        )

    def _while_loop(self, condition: Callable[[], Value], body: Callable[[], None]) -> None:
        """The loop of `lax.while_loop`."""
        self._while(condition, body, lambda: None, self._node, forever=False)

    def _while(
        self,
        condition: Callable[[], Value],
        body: Callable[[], None],
        orelse: Callable[[], None],
        node: ast.AST,
        *,
        forever: bool,
    ) -> None:
        """Unroll as long as the condition is known, and a little longer; then roll up the rest."""

        def leave() -> None:
            orelse()
            self._branching.exit("break")

        def loop() -> None:
            iterations = traced = 0
            rollable = True
            while True:
                truth = condition()
                partings = self._branching.partings
                if is_traced(truth):
                    self._branching.fork(truth, lambda: None, leave)
                elif not truth:
                    break
                iterations += 1
                if iterations > UNROLLED_ITERATIONS + MAX_LOOP_ITERATIONS:
                    self._node = node
                    self.machine.end_endless_loop(getattr(node, "lineno", 0))
                body()
                # `while True` with a traced `break` is as open as a traced condition.
                left = forever and self._branching.partings > partings
                traced += is_traced(truth) or left
                if rollable and traced >= UNROLLED_ITERATIONS:
                    try:
                        rolled_loop(self.machine, condition, body)
                        break
                    except ShapeError:
                        rollable = False  # a list that grows, say: the budget is the bound
            orelse()

        self._loop(loop)

    # Exceptions -------------------------------------------------------------------------------

    def _do_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            value = self.eval(node.exc)
            error = ExceptionValue(value, "") if isinstance(value, ExceptionType) else value
        elif self._handled:
            error = self._handled[-1]
        else:
            raise SyntaxNotAdmitted("a bare `raise` is admitted inside `except` only")
        self._node = node
        if not isinstance(error, ExceptionValue):
            raise NameNotAdmitted(f"{kind_of(error)} cannot be raised; raise ValueError(...)")
        self._fail(error.type.name, error.message, explicit=True)

    def _do_Assert(self, node: ast.Assert) -> None:
        def fail() -> None:
            message = "" if node.msg is None else conversions.as_text(self.eval(node.msg))
            self._node = node
            self._fail("AssertionError", message, explicit=True)

        self._branch(node.test, lambda: None, fail)

    def _do_Try(self, node: ast.Try) -> None:
        caught = [self._caught(handler) for handler in node.handlers]
        kinds = frozenset(f"raise:{name}" for names in caught for name in names)
        exits, end = self._branching.region(kinds, lambda: self._block(node.body))
        if not exits and end is None:
            raise Unwind  # the body has left for elsewhere

        def recover(kind: str, outcome: Outcome) -> None:
            self._branching.apply(outcome.changes)
            name = kind.removeprefix("raise:")
            handlers = zip(node.handlers, caught, strict=True)
            self._handle(next(h for h, names in handlers if name in names), outcome.value)

        def go_on(position: int) -> None:
            """Go on from the exits from `position` on, in the order in which they happened."""
            if position < len(exits):
                kind, outcome = exits[position]
                if outcome.condition is None or (position == len(exits) - 1 and end is None):
                    recover(kind, outcome)
                else:
                    self._branching.fork(
                        outcome.condition,
                        lambda: recover(kind, outcome),
                        lambda: go_on(position + 1),
                    )
            elif end is not None:
                self._branching.apply(end.changes)
                self._block(node.orelse)

        go_on(0)
        self._block(node.finalbody)

    def _caught(self, handler: ast.ExceptHandler) -> frozenset[str]:
        """The names of all exceptions that a handler catches."""
        if handler.type is None:
            return frozenset(EXCEPTIONS)
        value = self.eval(handler.type)
        types = value if isinstance(value, tuple) else (value,)
        names = {type_.name for type_ in types if isinstance(type_, ExceptionType)}
        return frozenset(
            name for name, bases in EXCEPTIONS.items() if name in names or names & set(bases)
        )

    def _handle(self, handler: ast.ExceptHandler, error: ExceptionValue) -> None:
        if handler.name is not None:
            self._bind(handler.name, error)
        self._handled.append(error)
        try:
            self._block(handler.body)
        finally:
            self._handled.pop()

    # match ------------------------------------------------------------------------------------

    def _do_Match(self, node: ast.Match) -> None:
        self._cases(node.cases, self.eval(node.subject))

    def _cases(self, cases: list[ast.match_case], subject: Value) -> None:
        if not cases:
            return
        case, rest = cases[0], cases[1:]

        def matched() -> None:
            if case.guard is None:
                self._block(case.body)
            else:
                self._branch(case.guard, lambda: self._block(case.body), further)

        def further() -> None:
            self._cases(rest, subject)

        matches = self._guarded(case.pattern, self._matches, case.pattern, subject)
        self._decide(case.pattern, matches, matched, further)

    def _matches(self, pattern: ast.pattern, subject: Value) -> Value:
        machine = self.machine
        subject = machine.decide(subject)
        match pattern:
            case ast.MatchValue():
                return machine.truth(machine.binary("==", subject, self.eval(pattern.value)))
            case ast.MatchSingleton():
                return machine.is_(subject, pattern.value)
            case ast.MatchAs():
                matched = (
                    True if pattern.pattern is None else self._matches(pattern.pattern, subject)
                )
                if pattern.name is not None:
                    self._bind(pattern.name, subject)
                return matched
            case ast.MatchOr():
                return machine.any_of([self._matches(part, subject) for part in pattern.patterns])
            case ast.MatchSequence() if isinstance(subject, tuple | ListValue):
                return self._matches_items(pattern.patterns, machine.items(subject))
            case ast.MatchMapping() if isinstance(subject, DictValue):
                content = dict(machine.content(subject))
                keys = [machine.key(self.eval(key)) for key in pattern.keys]
                if not content.keys() >= set(keys):
                    return False
                parts = [
                    (p, content.pop(key)) for key, p in zip(keys, pattern.patterns, strict=True)
                ]
                if pattern.rest is not None:
                    self._bind(pattern.rest, machine.make_dict(content))
                return machine.all_of([self._matches(part, item) for part, item in parts])
            case ast.MatchClass():
                return self._matches_class(pattern, subject)
        return False

    def _matches_items(self, patterns: list[ast.pattern], items: tuple[Value, ...]) -> Value:
        star = next((i for i, p in enumerate(patterns) if isinstance(p, ast.MatchStar)), None)
        if star is not None and len(items) >= len(patterns) - 1:
            end = len(items) - (len(patterns) - star - 1)
            self._assign_rest(patterns[star], items[star:end])
            patterns = patterns[:star] + patterns[star + 1 :]
            items = items[:star] + items[end:]
        if len(items) != len(patterns):
            return False
        pairs = zip(patterns, items, strict=True)
        return self.machine.all_of([self._matches(part, item) for part, item in pairs])

    def _assign_rest(self, pattern: ast.pattern, items: tuple[Value, ...]) -> None:
        if isinstance(pattern, ast.MatchStar) and pattern.name is not None:
            self._bind(pattern.name, self.machine.make_list(items))

    def _matches_class(self, pattern: ast.MatchClass, subject: Value) -> Value:
        type_ = self.eval(pattern.cls)
        if not python_functions.is_instance(subject, type_):
            return False
        if not isinstance(type_, RecordType):  # float(x): the subject itself
            return self._matches_items(pattern.patterns, (subject,) * len(pattern.patterns))
        names = (*type_.fields[: len(pattern.patterns)], *pattern.kwd_attrs)
        patterns = (*pattern.patterns, *pattern.kwd_patterns)
        fields = [attributes.attribute(self.machine, subject, name) for name in names]
        return self._matches_items(list(patterns), tuple(fields))
