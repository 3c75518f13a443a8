"""The statements of a program, and calls."""

import ast
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from reward_codegen.budget import MAX_CALL_DEPTH
from reward_codegen.errors import (
    BudgetExceeded,
    NameNotAdmitted,
    RewardCodeError,
    ShapeError,
    SyntaxNotAdmitted,
)
from reward_codegen.language import (
    classes,
    jax_table,
    loops,
    methods,
    modules,
    numpy_table,
    python_table,
    rotation,
    text,
)
from reward_codegen.language.core import TryScope
from reward_codegen.language.expressions import BINARY, Expressions
from reward_codegen.language.graph import Truth
from reward_codegen.language.parse import Program
from reward_codegen.language.paths import Path
from reward_codegen.language.primitives import quiet
from reward_codegen.language.rotation import Rotation
from reward_codegen.language.values import (
    CONTEXT,
    NOTHING,
    UNDEFINED,
    Array,
    Bound,
    Builtin,
    Choice,
    Class,
    Dead,
    DictCell,
    ExceptionType,
    ExceptionValue,
    Frame,
    Function,
    Instance,
    ListCell,
    Module,
    Num,
    ProgramError,
    SetCell,
    Type,
    Value,
    kind_of,
)


class Interpreter(Expressions):
    """One evaluation of a program: its module, then a call of one of its functions."""

    def __init__(self, program: Program, sizes: dict[str, int]) -> None:
        super().__init__(program, python_table.EXCEPTIONS)
        self._sizes = sizes
        self._depth = 0
        self._handled: list[ExceptionValue] = []
        self.loop_level = 0
        self.while_depth = 0
        self.endless: list[tuple[int, Truth]] = []
        self.terms: Value = None
        self.seen: dict[tuple[int, str], None] = {}
        self.rounds: dict[int, tuple[ast.AST, int]] = {}

    def run(self, name: str, parameters: tuple[str, ...]) -> Value:
        """The value of a function of the program on the arguments of these names.

        Raises:
            RewardCodeError: something in it is not admitted.
        """
        return self._guarded(lambda: self._run(name, parameters))

    def _run(self, name: str, parameters: tuple[str, ...]) -> Value:
        self.block(self.program.tree.body)
        self.in_module = False
        arrays = tuple(
            self.make_array(
                self.graph.input(parameter, self._sizes[parameter]),
                np.dtype(float),
                self.program.uses_jax,
            )
            for parameter in parameters
        )
        function = self.module.variables.get(name, UNDEFINED)
        return self.call(function, arrays, {})

    def _guarded(self, action: Callable[[], Value]) -> Value:
        """Run an action; whatever goes wrong is a `RewardCodeError`."""
        try:
            with quiet():
                return action()
        except Dead:
            return NOTHING
        except ProgramError as error:
            raise ShapeError(f"{error.message} ({error.name})") from None
        except RewardCodeError:
            raise
        except RecursionError:
            raise BudgetExceeded("the program nests calls or expressions too deeply") from None
        except MemoryError:
            raise BudgetExceeded("the program needs too much memory") from None
        except Exception as error:  # a shortcoming of ours, which must not end a training run
            message = f"this is not understood ({type(error).__name__}); write it more simply"
            failure = RewardCodeError(message)
            raise (self.located(failure, self.at) if self.at else failure) from error

    def note(self, node: ast.AST, what: str) -> None:
        """Remember something about a line, for a person."""
        self.seen[getattr(node, "lineno", 0), what] = None

    # Simple statements ------------------------------------------------------------------------

    def block(self, statements: list[ast.stmt]) -> None:
        """Run statements one after the other.

        Raises:
            Dead: no lane is left.
        """
        for statement in statements:
            self.budget.step()
            self.at = statement
            try:
                try:
                    getattr(self, "_do_" + type(statement).__name__)(statement)
                except ProgramError as error:
                    type_ = self.exception_type(error.name)
                    self.fail(ExceptionValue(type_, (error.message,)))
            except RewardCodeError as error:
                if error.line is None:
                    raise self.located(error, statement) from None
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
            modules.check(alias.name)
            top = alias.name.split(".")[0]
            self.bind(alias.asname or top, Module(alias.name if alias.asname else top))

    def _do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.bind(alias.asname or alias.name, modules.member(str(node.module), alias.name))

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.eval(node.value)
        for target in node.targets:
            self.assign(target, value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.eval(node.value))

    def assign(self, target: ast.expr, value: Value) -> None:
        """Assign a value to a target."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value)
        elif isinstance(target, ast.Subscript):
            owner, index = self.eval(target.value), self.eval(target.slice)
            self._note_update(target, owner)
            self.setitem(owner, index, value)
        elif isinstance(target, ast.Attribute):
            classes.set_attribute(self, self.eval(target.value), target.attr, value)

    def _note_update(self, node: ast.AST, owner: Value) -> None:
        if isinstance(owner, Array):
            self.note(node, "an array is changed in place: a functional update")

    def _unpack(self, targets: list[ast.expr], value: Value) -> None:
        value = self.look(value)
        if isinstance(value, Choice):
            self.distribute(value, lambda part: self._unpack(targets, part))
            return
        entries = self.settled(value)
        star = next((k for k, t in enumerate(targets) if isinstance(t, ast.Starred)), None)
        if any(present is not True for present, _ in entries):
            if star is not None:
                raise ShapeError("a list whose length depends on the state is unpacked with a star")
            total = self.count(entries)
            wrong = self.graph.not_(self.truth(self.binary("==", total, len(targets))))
            self.fail_where(wrong, "ValueError", "another number of values is unpacked")
            entries = self.compact(entries)[: len(targets)]
        items = [item for _, item in entries]
        if star is None:
            if len(items) != len(targets):
                raise ProgramError(
                    "ValueError",
                    f"{len(items)} values cannot be unpacked into {len(targets)} names",
                )
            for target, item in zip(targets, items, strict=True):
                self.assign(target, item)
            return
        after = len(targets) - star - 1
        if len(items) < star + after:
            raise ProgramError("ValueError", f"{len(items)} values are too few to unpack")
        end = len(items) - after
        for target, item in zip(targets[:star], items[:star], strict=True):
            self.assign(target, item)
        self.assign(targets[star], self.make_list(items[star:end]))
        for target, item in zip(targets[star + 1 :], items[end:], strict=True):
            self.assign(target, item)

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        symbol, target = BINARY[type(node.op)], node.target
        if isinstance(target, ast.Name):
            old = self.eval(ast.copy_location(ast.Name(target.id, ast.Load()), target))
            self._augment(node, old, symbol, lambda new: self.bind(target.id, new))
        elif isinstance(target, ast.Subscript):
            owner, index = self.eval(target.value), self.eval(target.slice)
            self._note_update(node, owner)
            old = self.look(self.getitem(owner, index))
            self._augment(node, old, symbol, lambda new: self.setitem(owner, index, new))
        else:
            owner = self.eval(target.value)
            old = self.look(self.attribute(owner, target.attr))
            self._augment(
                node, old, symbol, lambda new: classes.set_attribute(self, owner, target.attr, new)
            )

    def _augment(
        self, node: ast.AugAssign, old: Value, symbol: str, store: Callable[[Value], None]
    ) -> None:
        """`old op= value`: in place where the object has it, then stored again."""
        value = self.eval(node.value)

        def augment(old: Value) -> Value:
            old = self.look(old)
            if isinstance(old, Choice) and self.number(old) is None:
                return self.distribute(old, augment)
            if isinstance(old, ListCell) and symbol == "+":
                methods.extend(self, old, value)
                return old
            if isinstance(old, ListCell | DictCell | SetCell):
                if isinstance(old, ListCell):
                    raise ShapeError("of the operators on lists in place, += is admitted")
                new = self.binary(symbol, old, value)
                self.write(old, new.content)
                return old
            if isinstance(old, Array) and old.shape != () and not old.buffer.fixed:
                self._note_update(node, old)
                self.update(old, symbol, value)
                return old
            return self.binary(symbol, old, value)

        store(augment(old))

    def _do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.eval(ast.copy_location(ast.Name(target.id, ast.Load()), target))
                self.bind(target.id, UNDEFINED)
            elif isinstance(target, ast.Subscript):
                self.delitem(self.eval(target.value), self.eval(target.slice))
            else:
                raise SyntaxNotAdmitted("`del` is admitted for variables and items only")

    def _do_With(self, node: ast.With) -> None:
        for item in node.items:
            if self.eval(item.context_expr) is not CONTEXT or item.optional_vars is not None:
                raise SyntaxNotAdmitted("of `with` only `with np.errstate(...):` is admitted")
        self.block(node.body)

    # Definitions and calls ----------------------------------------------------------------------

    def _do_FunctionDef(self, node: ast.FunctionDef) -> None:
        value: Value = self.function(node.name, node.args, node.body, node)
        for decorator in reversed(node.decorator_list):
            value = self.call(self.eval(decorator), (value,), {})
        self.bind(node.name, value)

    def _do_ClassDef(self, node: ast.ClassDef) -> None:
        self.bind(node.name, classes.define(self, node))

    def builtin(self, name: str) -> Value:
        return python_table.builtin(name)

    def attribute(self, owner: Value, name: str) -> Value:
        owner = self.look(owner)
        if isinstance(owner, Choice):
            number = self.number(owner)
            if number is None and self._all_arrays(owner):
                number = self.array(owner)
            if number is None:
                return self.distribute(owner, lambda part: self.attribute(part, name))
            owner = number
        return methods.attribute(self, owner, name)

    def getitem(self, container: Value, index: Value) -> Value:
        container, index = self.look(container), self._plain_enum(self.look(index))
        if isinstance(container, jax_table.At):
            return jax_table.At(container.array, index)
        if isinstance(container, Instance) and container.type.name in ("s_", "r_", "c_"):
            if container.type.name == "s_":
                return index
            return numpy_table.indexer(container.type.name, None)(self, (index,), {})
        if isinstance(container, Type):
            return container  # List[float] and its like
        if isinstance(container, Class) and container.kind == "enum":
            return self.attribute(container, str(index))
        return super().getitem(container, index)

    def _others(self, symbol: str, left: Value, right: Value) -> Value:
        if symbol == "*" and isinstance(left, Rotation) and isinstance(right, Rotation):
            return rotation.compose(self, left, right)
        if text.StateText in (type(left), type(right)):
            if symbol in "+%" and all(
                isinstance(v, str | text.StateText) for v in (left, right)[: 2 - (symbol == "%")]
            ):
                return text.StateText()
            text.refuse()
        pair = [self._plain_enum(value) for value in (left, right)]
        if pair != [left, right] and symbol not in ("is", "in"):
            return self.binary(symbol, *pair)
        return super()._others(symbol, left, right)

    def truth(self, value: Value) -> Truth:
        if isinstance(value, text.StateText):
            text.refuse()
        return super().truth(value)

    def equal(self, left: Value, right: Value) -> Truth:
        if text.StateText in (type(left), type(right)):
            text.refuse()
        return super().equal(left, right)

    def key(self, value: Value) -> Any:
        if isinstance(value, text.StateText):
            text.refuse()
        return super().key(value)

    def contains(self, item: Value, container: Value) -> Truth:
        if text.StateText in (type(item), type(container)):
            text.refuse()
        return super().contains(item, container)

    def entries(self, value: Value) -> Any:
        if isinstance(value, text.StateText):
            text.refuse()
        return super().entries(value)

    @staticmethod
    def _plain_enum(value: Value) -> Value:
        """The number of a member of an IntEnum."""
        if isinstance(value, Instance) and value.type.kind == "enum" and value.type.equal:
            return value.content["value"]
        return value

    def record(self, name: str, content: dict[str, Value]) -> Instance:
        """A few named values."""
        return Instance(Class(name, frozen=True), content, self.birth(), self.in_module)

    def percent(self, template: str, values: Value) -> Value:
        return text.percent(self, template, values)

    def call_named(self, name: str, args: tuple[Value, ...]) -> Value:
        return self.call(modules.member("numpy", name), args, {})

    def _eval_Call(self, node: ast.Call) -> Value:
        function = self.eval(node.func)
        if (
            isinstance(function, Builtin)
            and node.args
            and isinstance(node.args[0], ast.GeneratorExp)
        ):
            lazy = python_table.LAZY.get(function.name)
            if lazy is not None and not node.keywords:
                rest = [self.eval(arg) for arg in node.args[1:]]
                return self.look(lazy(self, node.args[0], *rest))
        args = [item for _, item in self._sure(self._starred(node.args))]
        keywords: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.eval(keyword.value)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
                continue
            value = self.look(value)
            if not isinstance(value, DictCell):
                raise ProgramError("TypeError", f"`**` needs a dict, not {kind_of(value)}")
            for name, (_, item) in self._sure_items(value):
                keywords[name] = item
        return self.look(self.call(function, tuple(args), keywords))

    def _sure(self, entries: list[Any]) -> list[Any]:
        if any(present is not True for present, _ in entries):
            raise ShapeError("the number of arguments depends on the state")
        return entries

    def _sure_items(self, value: DictCell) -> Any:
        if any(self.settle(present) is not True for present, _ in value.content.values()):
            raise ShapeError("which arguments are given depends on the state")
        return value.content.items()

    def call(self, function: Value, args: tuple[Value, ...], keywords: dict[str, Value]) -> Value:
        """Call a function or a type."""
        function = self.look(function)
        self.budget.step()
        if isinstance(function, Choice):
            return self.distribute(function, lambda part: self.call(part, args, keywords))
        if isinstance(function, Function):
            return self._call_function(function, args, keywords)
        if isinstance(function, Bound):
            return self.call(function.function, (function.owner, *args), keywords)
        if isinstance(function, Builtin | Type):
            return self._call_builtin(function, args, keywords)
        if isinstance(function, Class):
            return classes.instantiate(self, function, args, keywords)
        if isinstance(function, ExceptionType):
            return ExceptionValue(function, args)
        if isinstance(function, Instance) and function.type.find("__call__") is not UNDEFINED:
            return self.call(function.type.find("__call__"), (function, *args), keywords)
        raise ProgramError("TypeError", f"{kind_of(function)} cannot be called")

    def _call_builtin(
        self, function: Builtin | Type, args: tuple[Value, ...], keywords: dict[str, Value]
    ) -> Value:
        args = tuple(self.look(arg) for arg in args)
        given = (*args, *keywords.values())
        if function.name not in text.TAKE_TEXT and any(
            isinstance(value, text.StateText) for value in given
        ):
            text.refuse()
        if not (isinstance(function, Builtin) and function.name in python_table.TAKE_CHOICES):
            for place, arg in enumerate(args):
                if isinstance(arg, Choice):
                    number = self.number(arg)
                    if number is None and self._all_arrays(arg):
                        number = self.array(arg)

                    def with_part(part: Value, place: int = place) -> Value:
                        changed = (*args[:place], part, *args[place + 1 :])
                        return self._call_builtin(function, changed, keywords)

                    return self.distribute(arg, with_part) if number is None else with_part(number)
        keywords = {name: self.look(value) for name, value in keywords.items()}
        out = keywords.get("out")
        if isinstance(out, Choice) and isinstance(function, Builtin):
            return self.distribute(
                out, lambda part: self._call_builtin(function, args, {**keywords, "out": part})
            )
        if isinstance(function, Type):
            return python_table.construct(self, function, args, keywords)
        return function.call(self, args, keywords)

    def _call_function(
        self, function: Function, args: tuple[Value, ...], keywords: dict[str, Value]
    ) -> Value:
        self._depth += 1
        if self._depth > MAX_CALL_DEPTH:
            raise BudgetExceeded(
                f"calls nest more than {MAX_CALL_DEPTH} deep; recursion needs a known, small depth"
            )
        entry, start, outer = self.here, len(self.exits), self.frame
        frame = Frame(function.names, function.frame, function.captures, birth=self.birth())
        frame.of_module = self.in_module
        frame.variables = bind_arguments(self, function, args, keywords)
        self.frame = frame
        self.path = Path(entry.full, (), entry.facts)
        try:
            if isinstance(function.body, ast.expr):
                self.leave("return", self.eval(function.body))
            assert isinstance(function.body, list)
            self.block(function.body)
            self.leave("return", None)
        except Dead:
            pass
        finally:
            self.frame = outer
            self._depth -= 1
        returned = self.take_exits(start, "return")
        if not returned:
            self.path = None
            raise Dead
        self.path = self.after(entry, self.exits[start:])
        result: Value = NOTHING
        pairs = []
        path = Path(entry.full, (), entry.facts)
        for exit_ in returned:
            condition = self.mask(self.since(exit_.full, path))
            pairs.append((condition, exit_.value))
            rest = self.graph.not_(condition)
            if isinstance(rest, bool):
                break
            path = path.assume(rest)
        for condition, value in reversed(pairs):
            result = value if result is NOTHING else self.merge(condition, value, result)
        return result

    def _do_Return(self, node: ast.Return) -> None:
        self.leave("return", None if node.value is None else self.eval(node.value))

    # Branches and loops -------------------------------------------------------------------------

    def _do_If(self, node: ast.If) -> None:
        truth = self.truth(self.eval(node.test))
        if not isinstance(truth, bool):
            guard = _guards_finite(node)
            self.note(
                node,
                "a guard: returns at once where values are not finite"
                if guard
                else "if: depends on the values: both sides are computed and one is selected",
            )
        self.branch(truth, lambda: self.block(node.body), lambda: self.block(node.orelse))

    def _eval_IfExp(self, node: ast.IfExp) -> Value:
        truth = self.truth(self.eval(node.test))
        if not isinstance(truth, bool):
            self.note(
                node, "conditional expression: depends on the values: "
                "both sides are computed and one is selected",
            )  # fmt: skip
        return self.branch(truth, lambda: self.eval(node.body), lambda: self.eval(node.orelse))

    def _do_Break(self, _: ast.Break) -> None:
        self.leave("break")

    def _do_Continue(self, _: ast.Continue) -> None:
        self.leave("continue")

    def arm(self, action: Callable[[], Any]) -> bool:
        """Run an action on the present path; whether lanes are left."""
        return self._arm(self.here, action)[1]

    def iteration(self, body: Callable[[], None]) -> bool:
        """One round of a loop: lanes that continue come back. Whether lanes are left."""
        entry, start = self.here, len(self.exits)
        alive = self.arm(body)
        alive = bool(self.take_exits(start, "continue")) or alive
        self.path = self.after(entry, self.exits[start:]) if alive else None
        return alive

    def _do_For(self, node: ast.For) -> None:
        entry, start = self.here, len(self.exits)
        iterable = self.eval(node.iter)
        alive, count = True, 0
        for present, item in self.entries(iterable):
            count += 1
            self.budget.step()

            def body(present: Truth = present, item: Value = item) -> None:
                def visit() -> None:
                    self.assign(node.target, item)
                    self.block(node.body)

                self.branch(present, visit, lambda: None)

            alive = self.iteration(body)
            if not alive:
                break
        self.count_rounds(node, count)
        if any(exit_.kind in ("break", "return", "raise") for exit_ in self.exits[start:]):
            self.stopped(iterable)
        self.end_loop(entry, start, alive, lambda: self.block(node.orelse))

    def count_rounds(self, node: ast.AST, count: int) -> None:
        """Remember how many rounds a loop has had."""
        self.rounds[id(node)] = (node, self.rounds.get(id(node), (node, 0))[1] + count)

    def end_loop(self, entry: Path, start: int, alive: bool, orelse: Callable[[], None]) -> None:
        """The `else` of a loop, and the lanes that have left it by break."""
        if alive:
            alive = self.arm(orelse)
        broken = [exit_ for exit_ in self.exits[start:] if exit_.kind == "break"]
        self.take_exits(start, "break")
        if not alive and not broken:
            self.path = None
            raise Dead
        self.path = self.after(entry, self.exits[start:])

    def _do_While(self, node: ast.While) -> None:
        loops.while_loop(
            self,
            lambda: self.truth(self.eval(node.test)),
            lambda: self.block(node.body),
            lambda: self.block(node.orelse),
            node,
        )

    # Exceptions -----------------------------------------------------------------------------------

    def _do_Raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            error = self.eval(node.exc)
            if isinstance(error, ExceptionType | Class):
                error = self.call(error, (), {})
        elif self._handled:
            error = self._handled[-1]
        else:
            raise SyntaxNotAdmitted("a bare `raise` is admitted inside `except` only")
        if not isinstance(error, ExceptionValue):
            raise NameNotAdmitted(f"{kind_of(error)} cannot be raised; raise ValueError(...)")
        caught = any(scope.catches(error.type) for scope in self.scopes)
        guard = "a guard on values: where it fails the state counts as not recovered, "
        self.note(node, "raise: caught by a try" if caught else f"raise: {guard}its reward as -100")
        self.fail(error, explicit=True)

    def _do_Assert(self, node: ast.Assert) -> None:
        truth = self.truth(self.eval(node.test))
        guard = "a guard on values: where it fails the state counts as not recovered, "
        known = isinstance(truth, bool)
        self.note(
            node, f"assert: {'checked while compiling, holds' if known else guard}"
            f"{'' if known else 'its reward as -100'}",
        )  # fmt: skip
        if truth is True:
            return

        def fail() -> None:
            message = () if node.msg is None else (self.eval(node.msg),)
            self.fail(ExceptionValue(self.exception_type("AssertionError"), message), explicit=True)

        self.branch(truth, lambda: None, fail)

    def _do_Try(self, node: ast.Try) -> None:
        self.note(node, "try: exceptions are taken where the states concerned would raise them")
        entry, start = self.here, len(self.exits)
        alive = self._handlers(node) if node.handlers else self.arm(lambda: self.block(node.body))
        if node.finalbody:
            before = len(self.exits)
            self.path = entry
            if not self.arm(lambda: self.block(node.finalbody)) or len(self.exits) != before:
                raise SyntaxNotAdmitted(
                    "`finally` with return, break, continue or raise is not admitted"
                )
        if not alive:
            self.path = None
            raise Dead
        self.path = self.after(entry, self.exits[start:])

    def _handlers(self, node: ast.Try) -> bool:
        entry, start = self.here, len(self.exits)
        kinds = [self._caught(handler) for handler in node.handlers]
        scope = TryScope(frozenset().union(*kinds))
        self.scopes.append(scope)
        try:
            alive = self.arm(lambda: self.block(node.body))
        finally:
            self.scopes.pop()
        mine = [e for e in self.exits[start:] if e.kind == "raise" and e.scope is scope]
        self.exits[start:] = [e for e in self.exits[start:] if e not in mine]
        if alive:
            alive = self.arm(lambda: self.block(node.orelse))
        for handler, names in zip(node.handlers, kinds, strict=True):
            taken = [e for e in mine if TryScope(names).catches(e.value.type)]
            mine = [e for e in mine if e not in taken]
            if not taken:
                continue
            condition: Truth = False
            error: Value = NOTHING
            for exit_ in taken:
                own = self.mask(self.since(exit_.full, entry))
                condition = self.graph.or_(condition, own)
                error = exit_.value if error is NOTHING else self.merge(own, exit_.value, error)
            self.path = entry if isinstance(condition, bool) else entry.assume(condition)
            alive = self.arm(partial(self._handle, handler, error)) or alive
        return alive

    def _handle(self, handler: ast.ExceptHandler, error: Value) -> None:
        if handler.name is not None:
            self.bind(handler.name, error)
        first = error
        while isinstance(first, Choice):
            first = first.then
        self._handled.append(first)
        try:
            self.block(handler.body)
            if handler.name is not None:
                self.bind(handler.name, UNDEFINED)
        finally:
            self._handled.pop()

    def _caught(self, handler: ast.ExceptHandler) -> frozenset[str]:
        if handler.type is None:
            return frozenset({"BaseException"})
        value = self.eval(handler.type)
        types = value if isinstance(value, tuple) else (value,)
        names = []
        for type_ in types:
            if not isinstance(type_, ExceptionType):
                raise NameNotAdmitted(f"{kind_of(type_)} cannot be caught; name an exception")
            names.append(type_.name)
        return frozenset(names)

    # match ----------------------------------------------------------------------------------------

    def _do_Match(self, node: ast.Match) -> None:
        subject = self.eval(node.subject)

        def case(place: int) -> None:
            if place == len(node.cases):
                return
            part = node.cases[place]
            truth = self.matches(part.pattern, subject)

            def guarded() -> None:
                if part.guard is None:
                    self.block(part.body)
                    return
                self.branch(
                    self.truth(self.eval(part.guard)),
                    lambda: self.block(part.body),
                    lambda: case(place + 1),
                )

            self.branch(truth, guarded, lambda: case(place + 1))

        case(0)

    def matches(self, pattern: ast.pattern, subject: Value) -> Truth:
        """Whether a pattern fits; its names are bound in any case."""
        subject = self.look(subject)
        match pattern:
            case ast.MatchValue():
                return self.equal(subject, self.eval(pattern.value))
            case ast.MatchSingleton():
                return self.is_(subject, pattern.value)
            case ast.MatchAs():
                fits = True if pattern.pattern is None else self.matches(pattern.pattern, subject)
                if pattern.name is not None and fits is not False:
                    self.bind(pattern.name, subject)
                return fits
            case ast.MatchOr():
                result: Truth = False
                for part in pattern.patterns:
                    result = self.graph.or_(result, self.matches(part, subject))
                return result
            case ast.MatchSequence():
                if isinstance(subject, tuple | ListCell):
                    return self._match_items(pattern.patterns, self.items(subject))
            case ast.MatchMapping():
                if isinstance(subject, DictCell):
                    return self._match_dict(pattern, subject)
            case ast.MatchClass():
                return self._match_class(pattern, subject)
        return False

    def _match_all(self, pairs: list[tuple[ast.pattern, Value]]) -> Truth:
        result: Truth = True
        for pattern, item in pairs:
            if result is not False:
                result = self.graph.and_(result, self.matches(pattern, item))
        return result

    def _match_items(self, patterns: list[ast.pattern], items: list[Value]) -> Truth:
        star = next((k for k, p in enumerate(patterns) if isinstance(p, ast.MatchStar)), None)
        if star is not None and len(items) >= len(patterns) - 1:
            end = len(items) - (len(patterns) - star - 1)
            name = getattr(patterns[star], "name", None)
            if name is not None:
                self.bind(name, self.make_list(items[star:end]))
            patterns = patterns[:star] + patterns[star + 1 :]
            items = items[:star] + items[end:]
        if len(items) != len(patterns):
            return False
        return self._match_all(list(zip(patterns, items, strict=True)))

    def _match_dict(self, pattern: ast.MatchMapping, subject: DictCell) -> Truth:
        keys = [self.key(self.eval(key)) for key in pattern.keys]
        content = dict(subject.content)
        if any(key not in content for key in keys):
            return False
        result: Truth = True
        for key, part in zip(keys, pattern.patterns, strict=True):
            present, value = content.pop(key)
            result = self.graph.and_(result, present)
            result = self.graph.and_(result, self.matches(part, value))
        if pattern.rest is not None:
            self.bind(pattern.rest, self.make_dict(content))
        return result

    def _match_class(self, pattern: ast.MatchClass, subject: Value) -> Truth:
        type_ = self.eval(pattern.cls)
        fits = python_table.is_instance(self, subject, type_)
        if not isinstance(type_, Class) or fits is not True:
            if pattern.patterns and fits is not False:
                return self.graph.and_(fits, self.matches(pattern.patterns[0], subject))
            return fits
        names = (*type_.fields[: len(pattern.patterns)], *pattern.kwd_attrs)
        patterns = (*pattern.patterns, *pattern.kwd_patterns)
        pairs = zip(patterns, names, strict=True)
        return self._match_all([(p, self.attribute(subject, name)) for p, name in pairs])


def bind_arguments(
    m: Interpreter, function: Function, args: tuple[Value, ...], keywords: dict[str, Value]
) -> dict[str, Value]:
    """The parameters of a function by name."""
    spec = function.arguments
    positional = [*spec.posonlyargs, *spec.args]
    values: dict[str, Value] = {}
    if len(args) > len(positional) and spec.vararg is None:
        raise ProgramError(
            "TypeError", f"{function.name} takes {len(positional)} arguments, not {len(args)}"
        )
    for parameter, value in zip(positional, args, strict=False):
        values[parameter.arg] = value
    if spec.vararg is not None:
        values[spec.vararg.arg] = args[len(positional) :]
    by_name = {p.arg for p in (*spec.args, *spec.kwonlyargs)}
    rest: dict[Any, tuple[Truth, Value]] = {}
    for name, value in keywords.items():
        if name in by_name and name not in values:
            values[name] = value
        elif spec.kwarg is not None and name not in by_name:
            rest[name] = (True, value)
        else:
            raise ProgramError("TypeError", f"{function.name} has an unexpected argument {name!r}")
    if spec.kwarg is not None:
        values[spec.kwarg.arg] = m.make_dict(rest)
    last = positional[len(positional) - len(function.defaults) :]
    for parameter, value in zip(last, function.defaults, strict=True):
        values.setdefault(parameter.arg, value)
    for parameter, value in zip(spec.kwonlyargs, function.keyword_defaults, strict=True):
        if value is not UNDEFINED:
            values.setdefault(parameter.arg, value)
    for parameter in (*positional, *spec.kwonlyargs):
        if parameter.arg not in values:
            raise ProgramError("TypeError", f"{function.name} misses argument {parameter.arg!r}")
    return values


def _guards_finite(node: ast.If) -> bool:
    """Whether an `if` returns at once where something is not finite."""
    return isinstance(node.body[-1], ast.Return) and any(
        isinstance(part, ast.Attribute) and part.attr in ("isfinite", "isnan", "isinf")
        for part in ast.walk(node.test)
    )


def returned_number(m: Interpreter, name: str, value: Value) -> Num | None:
    """The number that one of the two functions has returned, None if it is no number."""
    value = m.look(value)
    if isinstance(value, Choice):
        try:
            value = m.value_of(value) or m.array(value)
        except (RewardCodeError, ProgramError):
            return None
    if isinstance(value, Array) and value.index.size == 1:
        value = m.of_node(m.graph.take(m.node_of(value), np.zeros((), int)), value.dtype)
    return m.plain_number(value)
