"""Walks an admitted program on values: known ones, and those that JAX traces.

The same walk with NumPy as its backend, where nothing is traced, is the reference.
"""

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from reward_codegen import arrays, functions
from reward_codegen.backend import NumPyBackend
from reward_codegen.branching import Unwind
from reward_codegen.budget import MAX_CALL_DEPTH, MAX_LOOP_ITERATIONS, UNROLLED_ITERATIONS
from reward_codegen.errors import (
    BudgetExceeded,
    NameNotAdmitted,
    RewardCodeError,
    ShapeError,
    SyntaxNotAdmitted,
)
from reward_codegen.machine import Machine
from reward_codegen.rolled_loop import rolled_loop
from reward_codegen.syntax import Program, bound_names
from reward_codegen.tables import EXCEPTIONS
from reward_codegen.values import (
    ABSENT,
    UNDEFINED,
    Array,
    Builtin,
    Cell,
    Choice,
    DictValue,
    DType,
    ExceptionType,
    ExceptionValue,
    Function,
    Kind,
    ListValue,
    Masked,
    Module,
    Record,
    RecordType,
    Scope,
    Value,
    is_static_int,
    is_traced,
    kind_of,
)

_BINARY = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**", ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
_COMPARE = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_UNARY = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "invert"}

_RETURN = frozenset({"return"})
_BREAK = frozenset({"break"})
_CONTINUE = frozenset({"continue"})
FAILED = frozenset({"failed"})

# Python's own exceptions, as the operations of the machine and of the libraries raise them.
_PROGRAM_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    NotImplementedError,
)


class Evaluator:
    """One evaluation of a program: its module, then calls of its functions."""

    def __init__(
        self, program: Program, backend: Callable[[Any], NumPyBackend], *, strict: bool
    ) -> None:
        self.program = program
        self.machine = Machine(backend, strict=strict, in_place=not program.uses_jax)
        self.machine.invoke = self.call
        self._branching = self.machine.branching
        self._module = Scope(None)
        self._scope = self._module
        self._depth = 0
        self._node: ast.AST = program.tree
        self._handled: list[ExceptionValue] = []

    # The outside ------------------------------------------------------------------------------

    def run_module(self) -> None:
        """Evaluate the module: its constants, functions and types.

        Raises:
            RewardCodeError: something in it is not admitted.
        """
        self._locating(lambda: self._block(self.program.tree.body))
        self.machine.module_end = self._branching.birth()

    def call_function(self, name: str, *arguments: Any) -> tuple[Value, Value]:
        """Call a function of the module on arrays of one dimension.

        Returns its value and whether the call has failed: True, or a traced bool. The value where
        it has failed has no meaning (None if it fails everywhere).

        Raises:
            RewardCodeError: something it does is not admitted.
        """

        def body() -> Value:
            arrays = tuple(self.machine.wrap(argument) for argument in arguments)
            return self.call(self._module.variables[name].content, arrays, {})

        def run() -> tuple[Value, Value]:
            exits, end = self._branching.region(FAILED, body)
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
            return action()
        except RewardCodeError as error:
            if error.line is None:
                raise self._located(type(error), str(error)) from None
            raise
        except RecursionError:
            raise self._located(
                BudgetExceeded, "the program nests calls or expressions too deeply"
            ) from None
        except MemoryError:
            raise self._located(BudgetExceeded, "the program needs too much memory") from None

    def _located(self, kind: type[RewardCodeError], message: str) -> RewardCodeError:
        line = getattr(self._node, "lineno", None)
        return kind(message, line=line, text=self.program.text_of(self._node))

    # Statements -------------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        self.machine.budget.step()
        self._node = node
        getattr(self, "_do_" + type(node).__name__)(node)

    def _guarded(self, node: ast.AST, action: Callable[[], Value]) -> Value:
        """Run an operation of the program; Python's exceptions become the program's."""
        try:
            return self.machine.resolving(action)
        except _PROGRAM_ERRORS as error:
            self._node = node
            message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
            self.machine.fail(_exception_name(error), _first_sentence(message))
        except RewardCodeError as error:
            if error.line is None:
                self._node = node
                raise self._located(type(error), str(error)) from None
            raise

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.eval(node.value)

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def _do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.asname is None:
                self._bind(alias.name.split(".")[0], Module(alias.name.split(".")[0]))
            else:
                self._bind(alias.asname, Module(alias.name))

    def _do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            value = functions.module_member(str(node.module), alias.name)
            self._bind(alias.asname or alias.name, value)

    def _do_FunctionDef(self, node: ast.FunctionDef) -> None:
        value: Value = self._function(node.name, node.args, node.body, bound_names(node))
        for decorator in reversed(node.decorator_list):
            value = self._call_value(decorator, self.eval(decorator), (value,), {})
        self._bind(node.name, value)

    def _function(
        self,
        name: str,
        arguments: ast.arguments,
        body: list[ast.stmt] | ast.expr,
        local_names: frozenset[str],
    ) -> Function:
        keyword_defaults = {
            argument.arg: self.eval(default)
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        }
        defaults = tuple(self.eval(default) for default in arguments.defaults)
        return Function(
            name, arguments, body, local_names, self._scope, defaults, keyword_defaults
        )

    def _do_ClassDef(self, node: ast.ClassDef) -> None:
        is_tuple = any(self.eval(base) == Kind("NamedTuple") for base in node.bases)
        frozen = True
        is_data = is_tuple
        for decorator in node.decorator_list:
            value = self.eval(decorator)
            if isinstance(value, Builtin) and value.name == "dataclass":
                is_data = True
                frozen = bool(value.call(self.machine, (), {}))
        fields: list[str] = []
        values: dict[str, Value] = {}
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                fields.append(statement.target.id)
                if statement.value is not None:
                    values[statement.target.id] = self.eval(statement.value)
            elif isinstance(statement, ast.Assign):
                value = self.eval(statement.value)
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        values[target.id] = value
        own = tuple(fields) if is_data else ()
        defaults = {name: value for name, value in values.items() if name in own}
        self._bind(node.name, RecordType(node.name, own, defaults, is_tuple, frozen, values))

    def _do_Return(self, node: ast.Return) -> None:
        value = None if node.value is None else self.eval(node.value)
        self._branching.exit("return", value)

    def _do_Break(self, node: ast.Break) -> None:
        self._branching.exit("break")

    def _do_Continue(self, node: ast.Continue) -> None:
        self._branching.exit("continue")

    def _do_Nonlocal(self, node: ast.Nonlocal) -> None:
        pass

    def _do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            assert isinstance(target, ast.Name)
            self._bind(target.id, UNDEFINED)

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.eval(node.value)
        for target in node.targets:
            self._assign(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, self.eval(node.value))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        operator = _BINARY[type(node.op)]
        target = node.target
        machine = self.machine
        if isinstance(target, ast.Name):
            old = self._lookup(target)
            new = self.eval(node.value)
            if isinstance(old, ListValue) and operator == "+":
                self._guarded(
                    node,
                    lambda: machine.write(old, machine.content(old) + machine.items(new)),
                )
            elif isinstance(old, Array) and machine.in_place:
                self._guarded(node, lambda: arrays.update(machine, old, operator, new))
            else:
                self._bind(
                    target.id, self._guarded(node, lambda: machine.binary(operator, old, new))
                )
        elif isinstance(target, ast.Subscript):
            container = self.eval(target.value)
            index = self.eval(target.slice)
            old = self._guarded(target, lambda: arrays.subscript(machine, container, index))
            new = self.eval(node.value)
            result = self._guarded(node, lambda: machine.binary(operator, old, new))
            self._guarded(node, lambda: arrays.assign(machine, container, index, result))
        elif isinstance(target, ast.Attribute):
            old = self.eval(target)
            new = self.eval(node.value)
            self._assign(target, self._guarded(node, lambda: machine.binary(operator, old, new)))

    def _assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value)
        elif isinstance(target, ast.Subscript):
            container = self.eval(target.value)
            index = self.eval(target.slice)
            self._guarded(target, lambda: arrays.assign(self.machine, container, index, value))
        elif isinstance(target, ast.Attribute):
            owner = self.eval(target.value)
            self._guarded(target, lambda: self._assign_field(owner, target.attr, value))

    def _assign_field(self, owner: Value, name: str, value: Value) -> None:
        owner = self.machine.decide(owner)
        if not isinstance(owner, Record) or owner.type.frozen or name not in owner.type.fields:
            raise AttributeError(f"the attribute {name} of {kind_of(owner)} cannot be assigned to")
        place = owner.type.fields.index(name)
        content = self.machine.content(owner)
        self.machine.write(owner, (*content[:place], value, *content[place + 1 :]))

    def _unpack(self, target: ast.Tuple | ast.List, value: Value) -> None:
        names = target.elts
        items = self._guarded(target, lambda: self.machine.items(value))
        star = next((i for i, name in enumerate(names) if isinstance(name, ast.Starred)), None)
        fits = len(items) == len(names) if star is None else len(items) >= len(names) - 1
        if not fits:
            self._guarded(target, lambda: _raise_unpacking(len(names), len(items)))
        if star is not None:
            after = len(names) - star - 1
            middle = self.machine.make_list(items[star : len(items) - after])
            items = (*items[:star], middle, *items[len(items) - after :])
        for name, item in zip(names, items, strict=True):
            self._assign(name.value if isinstance(name, ast.Starred) else name, item)

    def _bind(self, name: str, value: Value) -> None:
        cell = self._scope.variables.get(name)
        if cell is None:  # a nonlocal variable, or a new one of the module
            found = self._scope.find(name) if self._scope is not self._module else None
            if found is None:
                self._scope.variables[name] = self.machine.cell(value)
                return
            cell = found
        self.machine.write(cell, value)

    # Branches and loops -------------------------------------------------------------------------

    def _do_If(self, node: ast.If) -> None:
        self._branch(node.test, lambda: self._block(node.body), lambda: self._block(node.orelse))

    def _branch(
        self, test: ast.expr, then: Callable[[], Value], other: Callable[[], Value]
    ) -> Value:
        """Go one way or, on a traced condition, both."""
        return self._fork(test, self.eval(test), then, other)

    def _fork(
        self,
        node: ast.AST,
        condition: Value,
        then: Callable[[], Value],
        other: Callable[[], Value],
    ) -> Value:
        truth = self._guarded(node, lambda: self.machine.truth(condition))
        if is_traced(truth):
            return self._branching.fork(truth, then, other)
        return then() if truth else other()

    def _do_For(self, node: ast.For) -> None:
        iterable = self.eval(node.iter)

        def loop() -> None:
            for item in self._guarded(node.iter, lambda: self.machine.items(iterable)):
                self._iteration(node.body, lambda item=item: self._assign(node.target, item))
            self._block(node.orelse)

        self._loop(loop)

    def _loop(self, body: Callable[[], None]) -> None:
        self._branching.settle(*self._branching.region(_BREAK, body))

    def _iteration(
        self, body: list[ast.stmt], prepare: Callable[[], None] = lambda: None
    ) -> None:
        def run() -> None:
            self.machine.budget.step()
            prepare()
            self._block(body)

        self._branching.settle(*self._branching.region(_CONTINUE, run))

    def _do_While(self, node: ast.While) -> None:
        def loop() -> None:
            unrolled = 0
            while True:
                condition = self.eval(node.test)
                truth = self._guarded(node.test, lambda value=condition: self.machine.truth(value))
                if not is_traced(truth):
                    if not truth:
                        break
                elif unrolled >= UNROLLED_ITERATIONS:
                    rolled_loop(
                        self.machine,
                        lambda: self.machine.truth(self.eval(node.test)),
                        lambda: self._loop(lambda: self._iteration(node.body)),
                    )
                    break
                else:
                    unrolled += 1
                    self._leave_where_not(truth, node.orelse)
                self._iteration(node.body)
            self._block(node.orelse)

        self._loop(loop)

    def _leave_where_not(self, condition: Value, orelse: list[ast.stmt]) -> None:
        """End a loop, in its ordinary way, in the lanes where its condition does not hold."""

        def leave() -> None:
            self._block(orelse)
            self._branching.exit("break")

        self._branching.fork(condition, lambda: None, leave)

    def _do_With(self, node: ast.With) -> None:
        for item in node.items:
            if self.eval(item.context_expr) is not ABSENT:
                raise SyntaxNotAdmitted("of `with` only `with np.errstate(...)` is admitted")
        self._block(node.body)

    # Exceptions -------------------------------------------------------------------------------

    def _do_Raise(self, node: ast.Raise) -> None:
        if node.exc is None:
            if not self._handled:
                raise SyntaxNotAdmitted("a bare `raise` is admitted inside `except` only")
            error = self._handled[-1]
        else:
            value = self.eval(node.exc)
            error = ExceptionValue(value, "") if isinstance(value, ExceptionType) else value
        self._node = node
        if not isinstance(error, ExceptionValue):
            raise NameNotAdmitted(f"{kind_of(error)} cannot be raised; raise ValueError(...)")
        self.machine.fail(error.type.name, error.message, explicit=True)

    def _do_Assert(self, node: ast.Assert) -> None:
        def fail() -> None:
            message = "" if node.msg is None else str(self.eval(node.msg))
            self._node = node
            self.machine.fail("AssertionError", message, explicit=True)

        self._branch(node.test, lambda: None, fail)

    def _do_Try(self, node: ast.Try) -> None:
        caught = [self._caught(handler) for handler in node.handlers]
        kinds = frozenset(f"raise:{name}" for names in caught for name in names)
        exits, end = self._branching.region(kinds, lambda: self._block(node.body))

        def handle(position: int) -> None:
            """Go on from the exits from `position` on, in the order in which they happened."""
            if position == len(exits):
                if end is None:
                    return  # no lane is left: the exits cover all
                self._branching.apply(end.changes)
                self._block(node.orelse)
                return
            kind, outcome = exits[position]

            def recover() -> None:
                self._branching.apply(outcome.changes)
                name = kind.removeprefix("raise:")
                handler = next(
                    handler for handler, names in zip(node.handlers, caught, strict=True)
                    if name in names
                )
                self._handle(handler, outcome.value)

            last = position == len(exits) - 1 and end is None
            if outcome.condition is None or last:
                recover()
            else:
                self._branching.fork(outcome.condition, recover, lambda: handle(position + 1))

        if not exits and end is None:
            raise Unwind
        handle(0)
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
        subject = self.eval(node.subject)
        self._cases(node.cases, subject)

    def _cases(self, cases: list[ast.match_case], subject: Value) -> None:
        if not cases:
            return
        case, rest = cases[0], cases[1:]

        def guarded() -> None:
            if case.guard is None:
                self._block(case.body)
            else:
                self._branch(
                    case.guard, lambda: self._block(case.body), lambda: self._cases(rest, subject)
                )

        matches = self._guarded(case.pattern, lambda: self._matches(case.pattern, subject))
        self._fork(case.pattern, matches, guarded, lambda: self._cases(rest, subject))

    def _matches(self, pattern: ast.pattern, subject: Value) -> Value:
        machine = self.machine
        subject = machine.decide(subject)
        if isinstance(pattern, ast.MatchValue):
            return machine.truth(machine.binary("==", subject, self.eval(pattern.value)))
        if isinstance(pattern, ast.MatchSingleton):
            return machine.is_(subject, pattern.value)
        if isinstance(pattern, ast.MatchAs):
            if pattern.pattern is not None:
                matched = self._matches(pattern.pattern, subject)
            else:
                matched = True
            if pattern.name is not None:
                self._bind(pattern.name, subject)
            return matched
        if isinstance(pattern, ast.MatchOr):
            result: Value = False
            for part in pattern.patterns:
                matched = self._matches(part, subject)
                result = machine.merge(matched, True, result) if is_traced(matched) else (
                    True if matched else result
                )
            return result
        assert isinstance(pattern, ast.MatchSequence)
        if not isinstance(subject, tuple | ListValue):
            return False
        items = machine.items(subject)
        if len(items) != len(pattern.patterns):
            return False
        result = True
        for part, item in zip(pattern.patterns, items, strict=True):
            matched = self._matches(part, item)
            result = machine.merge(matched, result, False) if is_traced(matched) else (
                result if matched else False
            )
        return result

    # Expressions ------------------------------------------------------------------------------

    def eval(self, node: ast.expr) -> Value:
        """The value of an expression."""
        self.machine.budget.step()
        self._node = node
        value = getattr(self, "_value_of_" + type(node).__name__)(node)
        self._node = node
        return value

    def _value_of_Constant(self, node: ast.Constant) -> Value:
        return node.value

    def _value_of_Name(self, node: ast.Name) -> Value:
        return self._lookup(node)

    def _lookup(self, node: ast.Name) -> Value:
        cell = self._scope.find(node.id)
        if cell is None:
            value = functions.builtin(node.id)
            if value is not None:
                return value
        elif cell.content is not UNDEFINED:
            return cell.content
        self._guarded(node, lambda: _raise_undefined(node.id))

    def _value_of_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.eval(node.value)
        self._assign(node.target, value)
        return value

    def _value_of_BinOp(self, node: ast.BinOp) -> Value:
        # Long sums lean to the left: go down the spine without recursion.
        spine: list[ast.BinOp] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            spine.append(left)
            left = left.left
        value = self.eval(left)
        for part in reversed(spine):
            self.machine.budget.step()
            right = self.eval(part.right)
            operator = _BINARY[type(part.op)]
            value = self._guarded(
                part,
                lambda operator=operator, value=value, right=right: self.machine.binary(
                    operator, value, right
                ),
            )
        return value

    def _value_of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.eval(node.operand)
        if isinstance(node.op, ast.Not):
            return self._guarded(node, lambda: self.machine.not_(value))
        return self._guarded(node, lambda: self.machine.unary(_UNARY[type(node.op)], value))

    def _value_of_BoolOp(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)

        def from_(position: int) -> Value:
            value = self.eval(node.values[position])
            if position == len(node.values) - 1:
                return value

            def further() -> Value:
                return from_(position + 1)

            def decided() -> Value:
                return truth if is_traced(truth) and _is_flag(value) else value

            truth = self._guarded(node.values[position], lambda: self.machine.truth(value))
            if not is_traced(truth):
                return further() if bool(truth) == is_and else value
            # A value that is its own condition merges into a plain `and` or `or`.
            return self._branching.fork(
                truth, further if is_and else decided, decided if is_and else further
            )

        return from_(0)

    def _value_of_Compare(self, node: ast.Compare) -> Value:
        left = self.eval(node.left)
        if len(node.ops) == 1:
            right = self.eval(node.comparators[0])
            return self._guarded(node, lambda: self._compare(node.ops[0], left, right))
        result: Value = True
        for operator, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.eval(comparator)
            truth = self._guarded(
                node,
                lambda operator=operator, left=left, right=right: self.machine.truth(
                    self._compare(operator, left, right)
                ),
            )
            if is_traced(truth):
                result = self.machine.merge(truth, result, False)
            elif not truth:
                return False
            left = right
        return result

    def _compare(self, operator: ast.cmpop, left: Value, right: Value) -> Value:
        machine = self.machine
        if isinstance(operator, ast.Is):
            return machine.is_(left, right)
        if isinstance(operator, ast.IsNot):
            return not machine.is_(left, right)
        if isinstance(operator, ast.In):
            return machine.contains(left, right)
        if isinstance(operator, ast.NotIn):
            return machine.not_(machine.contains(left, right))
        return machine.binary(_COMPARE[type(operator)], left, right)

    def _value_of_IfExp(self, node: ast.IfExp) -> Value:
        return self._branch(
            node.test, lambda: self.eval(node.body), lambda: self.eval(node.orelse)
        )

    def _value_of_Tuple(self, node: ast.Tuple) -> Value:
        return tuple(self._elements(node.elts))

    def _value_of_List(self, node: ast.List) -> Value:
        return self.machine.make_list(self._elements(node.elts))

    def _value_of_Set(self, node: ast.Set) -> Value:
        items = self._elements(node.elts)
        return self._guarded(node, lambda: self.machine.make_set(map(self.machine.key, items)))

    def _elements(self, nodes: list[ast.expr]) -> list[Value]:
        values: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                value = self.eval(node.value)
                values.extend(
                    self._guarded(node, lambda value=value: self.machine.items(value))
                )
            else:
                values.append(self.eval(node))
        return values

    def _value_of_Dict(self, node: ast.Dict) -> Value:
        content: dict[Value, Value] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.eval(item)
            if key is None:
                if not isinstance(value, DictValue):
                    raise ShapeError(f"`**` needs a dict, not {kind_of(value)}")
                content |= self._guarded(item, lambda value=value: self.machine.content(value))
            else:
                name = self.eval(key)
                content[self._guarded(key, lambda name=name: self.machine.key(name))] = value
        return self.machine.make_dict(content)

    def _value_of_JoinedStr(self, node: ast.JoinedStr) -> Value:
        parts = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                value = self.eval(part.value)
                parts.append(functions.as_text(value))
            else:
                parts.append(str(self.eval(part)))
        text = "".join(parts)
        self.machine.budget.elements(len(text), "a string")
        return text

    def _value_of_Slice(self, node: ast.Slice) -> Value:
        bounds = []
        for part in (node.lower, node.upper, node.step):
            value = None if part is None else self.eval(part)
            if value is not None and not is_static_int(value) and not is_traced(value):
                self._guarded(
                    node, lambda: _raise_type("the bounds of a slice must be integers or None")
                )
            if is_traced(value):
                self._node = node
                raise self._located(
                    ShapeError,
                    "the bounds of this slice depend on the state, so its length is not known; "
                    "use np.where with a mask over the whole array",
                )
            bounds.append(None if value is None else int(value))
        return slice(*bounds)

    def _value_of_Subscript(self, node: ast.Subscript) -> Value:
        container = self.eval(node.value)
        if container is ABSENT or isinstance(container, Kind):
            return container  # a type with parameters
        index = self.eval(node.slice)
        return self._guarded(node, lambda: arrays.subscript(self.machine, container, index))

    def _value_of_Attribute(self, node: ast.Attribute) -> Value:
        owner = self.eval(node.value)
        return self._guarded(
            node, lambda: functions.attribute(self.machine, owner, node.attr)
        )

    def _value_of_Lambda(self, node: ast.Lambda) -> Value:
        return self._function("<lambda>", node.args, node.body, bound_names(node))

    # Comprehensions -----------------------------------------------------------------------------

    def _value_of_ListComp(self, node: ast.ListComp) -> Value:
        return self._collect(node, lambda: self.eval(node.elt))

    def _value_of_GeneratorExp(self, node: ast.GeneratorExp) -> Value:
        return self._collect(node, lambda: self.eval(node.elt))

    def _value_of_SetComp(self, node: ast.SetComp) -> Value:
        items = self._collect(node, lambda: self.eval(node.elt))
        return self._guarded(
            node, lambda: self.machine.make_set(map(self.machine.key, self.machine.items(items)))
        )

    def _value_of_DictComp(self, node: ast.DictComp) -> Value:
        pairs = self._collect(node, lambda: (self.eval(node.key), self.eval(node.value)))
        machine = self.machine
        return self._guarded(
            node, lambda: machine.make_dict({machine.key(k): v for k, v in machine.items(pairs)})
        )

    def _collect(
        self,
        node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp,
        element: Callable[[], Value],
    ) -> ListValue:
        result = self.machine.make_list(())
        outer, self._scope = self._scope, Scope(self._scope)
        for generator in node.generators:
            for name in bound_names(generator):
                self._scope.variables[name] = self.machine.cell()

        def append() -> None:
            value = element()
            self._guarded(
                node,
                lambda: self.machine.write(result, (*self.machine.content(result), value)),
            )
            self.machine.budget.step()

        def nest(position: int) -> None:
            if position == len(node.generators):
                append()
                return
            generator = node.generators[position]
            iterable = self.eval(generator.iter)
            for item in self._guarded(generator.iter, lambda: self.machine.items(iterable)):
                self._assign(generator.target, item)
                test(generator, 0, position)

        def test(generator: ast.comprehension, condition: int, position: int) -> None:
            if condition == len(generator.ifs):
                nest(position + 1)
                return
            self._branch(
                generator.ifs[condition],
                lambda: test(generator, condition + 1, position),
                lambda: None,
            )

        try:
            nest(0)
        finally:
            self._scope = outer
        return result

    # Calls ------------------------------------------------------------------------------------

    def _value_of_Call(self, node: ast.Call) -> Value:
        function = self.eval(node.func)
        arguments = tuple(self._elements(node.args))
        keywords: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.eval(keyword.value)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            else:
                self._guarded(
                    keyword.value,
                    lambda value=value: keywords.update(self.machine.content(value)),
                )
        return self._call_value(node, function, arguments, keywords)

    def _call_value(
        self,
        node: ast.AST,
        function: Value,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
    ) -> Value:
        return self._guarded(node, lambda: self.call(function, arguments, keywords))

    def call(
        self, function: Value, arguments: tuple[Value, ...], keywords: dict[str, Value]
    ) -> Value:
        """Call a function of the program, an admitted one, or a type."""
        function = self.machine.decide(function)
        if isinstance(function, Function):
            return self._call_function(function, arguments, keywords)
        if isinstance(function, Builtin):
            return function.call(self.machine, arguments, keywords)
        if isinstance(function, RecordType):
            return self._make_record(function, arguments, keywords)
        if isinstance(function, DType | Kind | ExceptionType):
            return functions.convert(self.machine, function, arguments, keywords)
        raise TypeError(f"{kind_of(function)} cannot be called")

    def _call_function(
        self, function: Function, arguments: tuple[Value, ...], keywords: dict[str, Value]
    ) -> Value:
        if self._depth >= MAX_CALL_DEPTH:
            raise BudgetExceeded(
                f"calls of `{function.name}` nest more than {MAX_CALL_DEPTH} deep; recursion needs "
                "a bound that does not depend on the state"
            )
        scope = Scope(function.scope)
        for name in function.local_names:
            scope.variables[name] = self.machine.cell()
        for name, value in self._bind_arguments(function, arguments, keywords).items():
            scope.variables[name].content = value
        outer, self._scope = self._scope, scope
        self._depth += 1
        try:
            if isinstance(function.body, ast.expr):
                return self.eval(function.body)
            body = function.body
            return self._branching.settle(
                *self._branching.region(_RETURN, lambda: self._block(body))
            )
        finally:
            self._scope = outer
            self._depth -= 1

    def _bind_arguments(
        self, function: Function, arguments: tuple[Value, ...], keywords: dict[str, Value]
    ) -> dict[str, Value]:
        """Python's binding of arguments to parameters."""
        spec = function.arguments
        positional = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
        only_positional = {argument.arg for argument in spec.posonlyargs}
        keyword_only = [argument.arg for argument in spec.kwonlyargs]
        bound = dict(zip(positional, arguments, strict=False))
        extra = arguments[len(positional) :]
        if spec.vararg is not None:
            bound[spec.vararg.arg] = extra
        elif extra:
            raise TypeError(
                f"{function.name}() takes {len(positional)} positional arguments but "
                f"{len(arguments)} were given"
            )
        others: dict[str, Value] = {}
        for name, value in keywords.items():
            if (name in positional and name not in only_positional) or name in keyword_only:
                if name in bound:
                    raise TypeError(f"{function.name}() got two values for argument {name!r}")
                bound[name] = value
            elif spec.kwarg is not None:
                others[name] = value
            else:
                raise TypeError(f"{function.name}() has no argument {name!r}")
        if spec.kwarg is not None:
            bound[spec.kwarg.arg] = self.machine.make_dict(others)
        if function.defaults:
            named = zip(positional[-len(function.defaults) :], function.defaults, strict=True)
            for name, default in named:
                bound.setdefault(name, default)
        for name, default in function.keyword_defaults.items():
            bound.setdefault(name, default)
        missing = [name for name in (*positional, *keyword_only) if name not in bound]
        if missing:
            raise TypeError(f"{function.name}() misses argument {missing[0]!r}")
        return bound

    def _make_record(
        self, type_: RecordType, arguments: tuple[Value, ...], keywords: dict[str, Value]
    ) -> Record:
        if len(arguments) > len(type_.fields):
            raise TypeError(f"{type_.name} has {len(type_.fields)} fields")
        values = dict(zip(type_.fields, arguments, strict=False))
        for name, value in keywords.items():
            if name not in type_.fields or name in values:
                raise TypeError(f"{type_.name} cannot be made with the argument {name!r}")
            values[name] = value
        for name in type_.fields:
            if name not in values:
                if name not in type_.defaults:
                    raise TypeError(f"{type_.name} misses the field {name!r}")
                default = type_.defaults[name]
                factory = isinstance(default, Builtin) and default.name == "default_factory"
                values[name] = default.call(self.machine, (), {}) if factory else default
        return self.machine.make_record(type_, tuple(values[name] for name in type_.fields))


def _is_flag(value: Value) -> bool:
    return is_traced(value) and value.dtype == bool


def _exception_name(error: Exception) -> str:
    """The most special admitted class that a Python exception belongs to."""
    for class_ in type(error).__mro__:
        if class_.__name__ in EXCEPTIONS:
            return class_.__name__
    return "Exception"


def _first_sentence(message: str) -> str:
    return message.strip().split("\n")[0].split(". ")[0].rstrip(".")


def _raise_undefined(name: str) -> None:
    raise NameError(f"the name `{name}` is not defined")


def _raise_type(message: str) -> None:
    raise TypeError(message)


def _raise_unpacking(names: int, items: int) -> None:
    raise ValueError(f"{items} values cannot be unpacked into {names} names")


_ = (Cell, Choice, Masked, MAX_LOOP_ITERATIONS, np)  # TEMPORARY
