"""The lanes: who is here, who has left and where to, and how values of different lanes combine.

A statement is evaluated once, for the lanes that are here. Lanes leave a path by return, break,
continue or an exception, each noted as an `Exit`; what is assigned is selected by the lanes that
are here. Where it is known who is here, nothing is selected.
"""

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from reward_codegen.budget import Budget
from reward_codegen.errors import (
    NameNotAdmitted,
    ShapeError,
    SyntaxNotAdmitted,
    VerificationError,
    shorten,
)
from reward_codegen.language.graph import Graph, Node, Truth
from reward_codegen.language.paths import Path, consistent, learn, settle, value_of
from reward_codegen.language.primitives import quiet
from reward_codegen.language.values import (
    NOTHING,
    UNDEFINED,
    Array,
    Buffer,
    Cell,
    Choice,
    Dead,
    DictCell,
    ExceptionType,
    ExceptionValue,
    Instance,
    ListCell,
    Num,
    ProgramError,
    SetCell,
    Value,
)

_DEEP = 24  # choices within choices that are looked into


class Exit:
    """Lanes that have left: how, under which conditions, with which value."""

    def __init__(self, kind: str, full: tuple[Node, ...], value: Value, scope: Any = None) -> None:
        self.kind = kind
        self.full = full
        self.value = value
        self.scope = scope


class TryScope:
    """A `try`: the names of the exceptions that it catches."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def catches(self, type_: ExceptionType) -> bool:
        return type_.name in self.names or not self.names.isdisjoint(type_.bases)


class Core:
    """Lanes, cells, merging and failing.

    Attributes:
        failed: in which lanes the program has failed for good.
        speculative: above 0 where what fails may be on a path that no lane takes.
    """

    def __init__(self, exceptions: dict[str, tuple[str, ...]]) -> None:
        self.budget = Budget()
        self.graph = Graph(self.budget)
        self.path: Path | None = Path((), (), {})
        self.exits: list[Exit] = []
        self.failed: Truth = False
        self.failures: list[tuple[Truth, str]] = []
        self.scopes: list[TryScope] = []
        self.speculative = 0
        self.in_module = True
        self.strict_kinds = False  # whether an integer here and a float there are refused
        self.journal: list[tuple[Any, Any, Any]] | None = None
        self.notes: list[str] = []
        self.at: ast.AST | None = None
        self._exceptions = exceptions

    # Who is here --------------------------------------------------------------------------------

    @property
    def here(self) -> Path:
        assert self.path is not None
        return self.path

    def mask(self, conditions: Iterable[Node]) -> Truth:
        """Whether all conditions hold."""
        result: Truth = True
        for condition in conditions:
            result = self.graph.and_(result, condition)
        return result

    def settle(self, truth: Truth) -> Truth:
        """A truth, as far as the present path decides it."""
        return settle(self.graph, self.graph.known(truth), self.here.facts)

    def branch(
        self, condition: Truth, then: Callable[[], Value], other: Callable[[], Value]
    ) -> Value:
        """`then()` in the lanes where the condition holds, `other()` elsewhere.

        Raises:
            Dead: no lane is left.
        """
        condition = self.settle(condition)
        if not isinstance(condition, Node):
            return then() if condition else other()
        entry, start = self.here, len(self.exits)
        negated = self.graph.not_(condition)
        assert isinstance(negated, Node)
        first, alive_then = self._arm(entry.assume(condition), then)
        middle = len(self.exits)
        second, alive_other = self._arm(entry.assume(negated), other)
        if not alive_then and not alive_other:
            self.path = None
            raise Dead
        if alive_then and alive_other:
            self.path = self.after(entry, self.exits[start:])
        else:
            left = self.exits[start:middle] if alive_other else self.exits[middle:]
            partly = self.exits[middle:] if alive_other else self.exits[start:middle]
            stays = entry.assume(
                negated if alive_other else condition,
                full=bool(left),
                local=any(exit_.kind != "return" for exit_ in left),
            )
            self.path = self.after(stays, partly)
        return self.merge(condition, first, second)

    def _arm(self, path: Path, action: Callable[[], Value]) -> tuple[Value, bool]:
        """Run an action on a path: its value, and whether lanes are left."""
        self.path = path
        try:
            try:
                return action(), True
            except ProgramError as error:  # here, where these lanes are alone
                self.fail(ExceptionValue(self.exception_type(error.name), (error.message,)))
        except Dead:
            pass
        self.path = None
        return NOTHING, False

    def after(self, entry: Path, exits: Sequence[Exit]) -> Path:
        """The path of those that have not left."""
        path = entry
        for returned in (True, False):
            gone: Truth = False
            for exit_ in exits:
                if (exit_.kind == "return") is returned:
                    gone = self.graph.or_(gone, self.mask(self.since(exit_.full, path)))
            stays = settle(self.graph, self.graph.not_(gone), path.facts)
            if isinstance(stays, Node):
                path = path.assume(stays, local=not returned)
        return path

    @staticmethod
    def since(full: Iterable[Node], entry: Path) -> tuple[Node, ...]:
        """The conditions of an exit that the entry does not have."""
        return tuple(node for node in full if entry.facts.get(node) is not True)

    def leave(self, kind: str, value: Value = None) -> None:
        """All lanes that are here leave.

        Raises:
            Dead: always.
        """
        self.exits.append(Exit(kind, self.here.full, value))
        self.path = None
        raise Dead

    def take_exits(self, start: int, kind: str) -> list[Exit]:
        """The exits of a kind since `start`, which have arrived."""
        found = [exit_ for exit_ in self.exits[start:] if exit_.kind == kind]
        self.exits[start:] = [exit_ for exit_ in self.exits[start:] if exit_.kind != kind]
        return found

    # Failing --------------------------------------------------------------------------------------

    def fail(self, error: ExceptionValue, where: Truth = True, *, explicit: bool = False) -> None:
        """Lanes that are here raise an exception.

        Raises:
            Dead: all lanes do.
            RewardCodeError: the program does so whatever the state is.
        """
        where = self.settle(where)
        if where is False:
            return
        scope = next((s for s in reversed(self.scopes) if s.catches(error.type)), None)
        path = self.here
        if scope is None:
            if where is True and (not path.full or not (explicit or self.speculative)):
                self._refuse(error, explicit)
            here = self.graph.and_(self.mask(path.full), where)
            self.failed = self.graph.or_(self.failed, here)
            self.failures.append((here, _told(error)))
        else:
            full = path.full if where is True else (*path.full, where)
            self.exits.append(Exit("raise", full, error, scope))
        if where is True:
            self.path = None
            raise Dead
        stays = self.graph.not_(where)
        assert isinstance(stays, Node)
        self.path = path.assume(stays, full=scope is not None, local=scope is not None)

    def fail_where(self, where: Truth, name: str, message: str) -> None:
        """A named exception in some lanes."""
        if where is not False:
            self.fail(ExceptionValue(self.exception_type(name), (message,)), where)

    def exception_type(self, name: str) -> ExceptionType:
        return ExceptionType(name, self._exceptions.get(name, ("Exception", "BaseException")))

    @staticmethod
    def _refuse(error: ExceptionValue, explicit: bool) -> None:
        message, name = _message(error), error.type.name
        if explicit:
            raise VerificationError(f"the program always raises {name}: {message or 'no message'}")
        if name in ("NameError", "UnboundLocalError", "AttributeError", "KeyError"):
            raise NameNotAdmitted(message)
        raise ShapeError(f"{message} ({name})")

    # Choosing between values ----------------------------------------------------------------------

    def look(self, value: Value) -> Value:
        """A value, as far as the present path decides which it is."""
        while isinstance(value, Choice):
            holds = self.settle(value.condition)
            if isinstance(holds, Node):
                break
            value = value.then if holds else value.other
        if isinstance(value, Choice) and self.path is not None:
            value = self._possible(value, self.here.facts, _DEEP)
        if isinstance(value, Num) and value.node.op == "select" and self.path is not None:
            node = value.node
            while node.op == "select" and node.args[0].shape == node.shape == ():
                holds = settle(self.graph, node.args[0], self.here.facts, 4)
                if isinstance(holds, Node):
                    break
                node = node.args[1] if holds else node.args[2]
            if node is not value.node:
                return Num(node, value.kind, value.numpy)
        return value

    def _possible(self, value: Value, facts: dict[Node, bool], depth: int) -> Value:
        """A value without those that the facts exclude."""
        if not isinstance(value, Choice) or depth == 0:
            return value
        self.budget.step()
        parts = []
        for holds, part in ((True, value.then), (False, value.other)):
            inner = dict(facts)
            learn(inner, value.condition, holds)
            excluded = value_of(value.condition, facts) is (not holds) or not consistent(inner)
            parts.append(NOTHING if excluded else self._possible(part, inner, depth - 1))
        then, other = parts
        if then is value.then and other is value.other:
            return value
        if then is NOTHING or other is NOTHING:
            return other if then is NOTHING else then
        return self.merge(value.condition, then, other)

    def distribute(self, choice: Choice, action: Callable[[Value], Value]) -> Value:
        """An action on each of the values that a choice is between, where it is that one."""
        self.budget.step()
        self.speculative += 1
        try:
            return self.branch(
                choice.condition, lambda: action(choice.then), lambda: action(choice.other)
            )
        finally:
            self.speculative -= 1

    def pick(self, condition: Truth, then: Truth, other: Truth) -> Truth:
        """A choice of truths."""
        if not isinstance(condition, Node):
            return then if condition else other
        if then is other:
            return then
        nodes = [
            part if isinstance(part, Node) else self.graph.constant(part) for part in (then, other)
        ]
        return self.graph.known(self.graph.select(condition, *nodes))

    def merge(self, condition: Truth, then: Value, other: Value) -> Value:
        """`then` where the condition holds, `other` elsewhere."""
        if not isinstance(condition, Node):
            return then if condition else other
        if then is other or other is NOTHING:
            return then
        if then is NOTHING:
            return other
        then, other = self._given(condition, True, then), self._given(condition, False, other)
        if then is other:
            return then
        if isinstance(then, tuple) and type(then) is type(other) and len(then) == len(other):
            pairs = zip(then, other, strict=True)
            self.budget.step(len(then))
            return tuple(self.merge(condition, a, b) for a, b in pairs)
        first, second = self.plain_number(then), self.plain_number(other)
        if first is not None and second is not None:
            if same_known(then, other):
                return then
            merged = self._merge_numbers(condition, first, second)
            if merged is not None:
                return merged
        elif isinstance(then, str | range) and type(then) is type(other) and then == other:
            return then
        return Choice(condition, then, other)

    def _given(self, condition: Node, holds: bool, value: Value) -> Value:
        """A value where a condition is known."""
        if not isinstance(value, Choice | Num) or (
            isinstance(value, Num) and value.node.op != "select"
        ):
            return value
        facts: dict[Node, bool] = {}
        learn(facts, condition, holds)
        while isinstance(value, Choice):
            which = settle(self.graph, value.condition, facts)
            if isinstance(which, Node):
                break
            value = value.then if which else value.other
        if isinstance(value, Num):
            node = value.node
            while node.op == "select" and node.args[0] in facts:
                node = node.args[1] if facts[node.args[0]] else node.args[2]
            if node is not value.node:
                return Num(node, value.kind, value.numpy)
        return value

    def merge_on(self, conditions: Sequence[Node], then: Value, other: Value) -> Value:
        """`then` where all conditions hold: one choice within the other, as one would write it."""
        if not conditions:
            return then
        first, *rest = conditions
        inner = self.merge_on(rest, then, self._given(first, True, other))
        return self.merge(first, inner, other)

    def _merge_numbers(self, condition: Node, first: Num, second: Num) -> Num | None:
        numpy = self.pick(condition, first.numpy, second.numpy)
        kinds = {first.kind, second.kind}
        if len(kinds) == 1:
            kind = first.kind
        elif "b" in kinds and any(n.numpy is not False for n in (first, second) if n.kind == "b"):
            return None  # a truth of NumPy does not count as a number: the sum of two is a truth
        elif self.strict_kinds:
            raise ShapeError("an integer in some states and a float in others; write 0.0 for 0")
        else:
            kind = "f" if "f" in kinds else "i"
        return Num(self.graph.select(condition, first.node, second.node), kind, numpy)

    def plain_number(self, value: Value) -> Num | None:
        """A number, known or not, as a `Num`."""
        if isinstance(value, Num):
            return value
        if isinstance(value, bool | np.bool_):
            return Num(self.graph.constant(bool(value)), "b", isinstance(value, np.bool_))
        if isinstance(value, int | np.integer):
            return Num(self.graph.constant(int(value)), "i", isinstance(value, np.integer))
        if isinstance(value, float | np.floating):
            return Num(self.graph.constant(float(value)), "f", isinstance(value, np.floating))
        return None

    def number(self, value: Value) -> Num | None:
        """The same, of arrays without dimensions and of choices between numbers too."""
        value = self.look(value)
        if isinstance(value, Array) and value.shape == ():
            return Num(self.node_of(value), value.dtype.kind.replace("u", "i"), True)
        if isinstance(value, Choice):
            first, second = self.number(value.then), self.number(value.other)
            if first is None or second is None:
                return None
            return self._merge_numbers(value.condition, first, second)
        return self.plain_number(value)

    def value_of(self, value: Value) -> Num | None:
        """The same as a plain value, of choices between numbers of different kinds too."""
        value = self.look(value)
        if isinstance(value, Choice):
            first, second = self.value_of(value.then), self.value_of(value.other)
            if first is None or second is None:
                return None
            nodes = self.graph.real(first.node), self.graph.real(second.node)
            numpy = self.pick(value.condition, first.numpy, second.numpy)
            return Num(self.graph.select(value.condition, *nodes), "f", numpy)
        return self.number(value)

    def node_of(self, array: Array) -> Node:
        """The present entries of an array."""
        content = array.buffer.content
        node = content if isinstance(content, Node) else self.graph.constant(content)
        return self.graph.take(node, array.index)

    # Cells ----------------------------------------------------------------------------------------

    def birth(self) -> frozenset[Node]:
        return frozenset(self.here.full)

    def make_list(self, items: Iterable[Value]) -> ListCell:
        return self.list_of(tuple((True, item) for item in items))

    def list_of(self, entries: tuple[tuple[Truth, Value], ...]) -> ListCell:
        self.budget.elements(len(entries), "a list")
        self.budget.work(len(entries))
        return ListCell(entries, self.birth(), self.in_module)

    def make_dict(self, content: dict[Any, tuple[Truth, Value]]) -> DictCell:
        self.budget.elements(len(content), "a dict")
        self.budget.work(len(content))
        return DictCell(content, self.birth(), self.in_module)

    def make_set(self, content: dict[Any, Truth]) -> SetCell:
        self.budget.elements(len(content), "a set")
        return SetCell(content, self.birth(), self.in_module)

    def write(self, cell: Cell, content: Any) -> None:
        """Change the content of a cell, in the lanes that are here."""
        if cell.of_module and not self.in_module:
            raise SyntaxNotAdmitted(
                "a function may not change a module-level value, because a reward must depend on "
                "its arguments only; make a copy, or return the new value"
            )
        if isinstance(content, tuple | dict):
            self.budget.work(len(content))
        path = self.here
        since = [node for node in path.full if node not in cell.birth]
        condition = self.mask(since)
        if condition is not True:
            content = self._merge_content(condition, cell, content)
        if self.journal is not None:
            self.journal.append((cell, None, cell.content))
        cell.content = content

    def _merge_content(self, condition: Truth, cell: Cell, new: Any) -> Any:
        old = cell.content
        if isinstance(cell, Buffer):
            nodes = [c if isinstance(c, Node) else self.graph.constant(c) for c in (new, old)]
            return self.graph.select(condition, *nodes)
        if isinstance(cell, Instance):
            names = dict.fromkeys((*old, *new))
            return {
                name: self.merge(condition, new.get(name, UNDEFINED), old.get(name, UNDEFINED))
                for name in names
            }
        if isinstance(cell, SetCell):
            return {
                key: self.pick(condition, new.get(key, False), old.get(key, False))
                for key in dict.fromkeys((*old, *new))
            }
        if isinstance(cell, DictCell):
            absent = (False, NOTHING)
            merged = {}
            for key in dict.fromkeys((*old, *new)):
                (p, a), (q, b) = new.get(key, absent), old.get(key, absent)
                merged[key] = (self.pick(condition, p, q), self.merge(condition, a, b))
            return merged
        return self._merge_lists(condition, new, old)

    def _merge_lists(self, condition: Truth, new: Any, old: Any) -> Any:
        if len(new) == len(old) and all(a[0] is b[0] for a, b in zip(new, old, strict=True)):
            pairs = zip(new, old, strict=True)
            return tuple((p, self.merge(condition, a, b)) for (p, a), (_, b) in pairs)
        same = 0
        while same < min(len(new), len(old)) and new[same] is old[same]:
            same += 1
        graph = self.graph
        entries = [
            *new[:same],
            *((graph.and_(condition, p), item) for p, item in new[same:]),
            *((graph.and_(graph.not_(condition), p), item) for p, item in old[same:]),
        ]
        self.budget.elements(len(entries), "a list")
        self.budget.step(20 * (len(entries) - same))
        return tuple(entries)


def _message(error: ExceptionValue) -> str:
    text = error.args[0] if error.args and isinstance(error.args[0], str) else ""
    return shorten(text, 200)


def _told(error: ExceptionValue) -> str:
    return f"{error.type.name}: {_message(error)}"


def same_known(then: Value, other: Value) -> bool:
    """Whether two numbers are known and the same."""
    if isinstance(then, Num) or isinstance(other, Num) or type(then) is not type(other):
        return False
    return repr(then) == repr(other)


def known(action: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Python's own result for known values; its exceptions are the program's."""
    try:
        with quiet():
            return action(*args, **keywords)
    except (MemoryError, RecursionError):
        raise
    except np.exceptions.AxisError as error:
        raise ProgramError("AxisError", str(error)) from None
    except Exception as error:
        message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if isinstance(error, IndexError):
            message = re.sub(
                r"out of bounds (.*) with size (\d+)", r"out of range \1 of \2 entries", message
            )
        raise ProgramError(type(error).__name__, message) from None
