"""The expressions of a program."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

from reward_codegen.errors import RewardCodeError, ShapeError, SyntaxNotAdmitted
from reward_codegen.language import text
from reward_codegen.language.graph import Truth
from reward_codegen.language.indexing import Indexing
from reward_codegen.language.parse import Program, bound_names
from reward_codegen.language.values import (
    UNDEFINED,
    Choice,
    Dead,
    DictCell,
    ExceptionValue,
    Frame,
    Function,
    IteratorValue,
    ProgramError,
    Value,
    kind_of,
)

BINARY: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**", ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<",
    ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_UNARY: dict[type[ast.AST], str] = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~"}


class Expressions(Indexing):
    """Evaluates expressions for the lanes that are here."""

    def __init__(self, program: Program, exceptions: dict[str, tuple[str, ...]]) -> None:
        super().__init__(exceptions)
        self.program = program
        self.module = Frame(bound_names(program.tree), None, False)
        self.frame = self.module

    def eval(self, node: ast.expr) -> Value:
        """The value of an expression.

        Raises:
            Dead: no lane is left.
            RewardCodeError: it is not admitted; the error names the line.
        """
        self.budget.step()
        if self.path is None:
            raise Dead
        try:
            try:
                return getattr(self, "_eval_" + type(node).__name__)(node)
            except ProgramError as error:
                type_ = self.exception_type(error.name)
                self.fail(ExceptionValue(type_, (error.message,)))
                raise Dead from None  # `fail` raises it already
        except RewardCodeError as error:
            if error.line is None:
                raise self.located(error, node) from None
            raise

    def located(self, error: RewardCodeError, node: ast.AST) -> RewardCodeError:
        """The same error with the line and the text of a node."""
        line = getattr(node, "lineno", None)
        if line is None:
            return error
        return type(error)(str(error), line=line, text=self.program.text_of(node))

    # Names and constants ------------------------------------------------------------------------

    def _eval_Constant(self, node: ast.Constant) -> Value:
        return node.value

    def _eval_Name(self, node: ast.Name) -> Value:
        frame = self._owner(node.id)
        if frame is None:
            return self.builtin(node.id)
        value = self.look(frame.variables.get(node.id, UNDEFINED))
        return self._defined(value, node.id)

    def _defined(self, value: Value, name: str) -> Value:
        if value is UNDEFINED:
            raise ProgramError("UnboundLocalError", f"the name {name} has no value here")
        if isinstance(value, Choice) and _may_be_undefined(value):
            return self.distribute(value, lambda part: self._checked(part, name))
        return value

    def _checked(self, value: Value, name: str) -> Value:
        if value is UNDEFINED:
            type_ = self.exception_type("UnboundLocalError")
            self.fail(ExceptionValue(type_, (f"the name {name} has no value here",)))
        return self._defined(self.look(value), name)

    def _owner(self, name: str) -> Frame | None:
        frame: Frame | None = self.frame
        while frame is not None and name not in frame.names:
            frame = frame.parent
        return frame

    def builtin(self, name: str) -> Value:
        """One of Python's own names."""
        raise NotImplementedError

    def bind(self, name: str, value: Value) -> None:
        """Assign to a variable, in the lanes that are here."""
        frame = self._owner(name)
        assert frame is not None
        if frame.of_module and frame is not self.frame and not self.in_module:
            raise SyntaxNotAdmitted(
                "a function may not change a variable of the module, because a reward must depend "
                "on its arguments only"
            )
        path = self.here
        if frame is self.frame and not frame.captured:
            conditions = path.local
        else:
            conditions = tuple(n for n in path.full if n not in frame.birth)
        old = frame.variables.get(name, UNDEFINED)
        if self.journal is not None:
            self.journal.append((frame, name, old))
        frame.variables[name] = self.merge_on(conditions, value, old)

    def _eval_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.eval(node.value)
        frame = self.frame
        while node.target.id in frame.names and frame.parent is not None and frame.comprehension:
            frame = frame.parent
        self.bind(node.target.id, value)
        return value

    # Operators ------------------------------------------------------------------------------------

    def _eval_BinOp(self, node: ast.BinOp) -> Value:
        # A long sum is deep on its left.
        chain = []
        part: ast.expr = node
        while isinstance(part, ast.BinOp):
            chain.append(part)
            part = part.left
        value = self.eval(part)
        for step in reversed(chain):
            right = self.eval(step.right)
            try:
                value = self._operated(step, value, right)
            except RewardCodeError as error:
                raise (self.located(error, step) if error.line is None else error) from None
        return value

    def _operated(self, node: ast.BinOp, left: Value, right: Value) -> Value:
        try:
            return self.binary(BINARY[type(node.op)], left, right)
        except ProgramError as error:
            self.fail(ExceptionValue(self.exception_type(error.name), (error.message,)))
            raise Dead from None

    def _eval_UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.eval(node.operand)
        if isinstance(node.op, ast.Not):
            return self.as_value(self.graph.not_(self.truth(value)))
        return self.unary(_UNARY[type(node.op)], value)

    def _eval_BoolOp(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)

        def evaluate(place: int) -> Value:
            value = self.eval(node.values[place])
            if place == len(node.values) - 1:
                return value
            truth = self.truth(value)
            if is_and:
                return self.branch(truth, lambda: evaluate(place + 1), lambda: self.look(value))
            return self.branch(truth, lambda: self.look(value), lambda: evaluate(place + 1))

        return evaluate(0)

    def _eval_Compare(self, node: ast.Compare) -> Value:
        def evaluate(place: int, left: Value) -> Value:
            right = self.eval(node.comparators[place])
            value = self.compare(node.ops[place], left, right)
            if place == len(node.ops) - 1:
                return value
            return self.branch(self.truth(value), lambda: evaluate(place + 1, right), lambda: value)

        return evaluate(0, self.eval(node.left))

    def compare(self, operator: ast.cmpop, left: Value, right: Value) -> Value:
        """One comparison."""
        if isinstance(operator, ast.Is):
            return self.as_value(self.is_(left, right))
        if isinstance(operator, ast.IsNot):
            return self.as_value(self.graph.not_(self.is_(left, right)))
        if isinstance(operator, ast.In):
            return self.as_value(self.contains(left, right))
        if isinstance(operator, ast.NotIn):
            return self.as_value(self.graph.not_(self.contains(left, right)))
        return self.binary(BINARY[type(operator)], left, right)

    def _eval_IfExp(self, node: ast.IfExp) -> Value:
        truth = self.truth(self.eval(node.test))
        return self.branch(truth, lambda: self.eval(node.body), lambda: self.eval(node.orelse))

    # Containers -----------------------------------------------------------------------------------

    def _starred(self, nodes: list[ast.expr]) -> list[tuple[Truth, Value]]:
        entries: list[tuple[Truth, Value]] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                entries += self.settled(self.eval(node.value))
            else:
                entries.append((True, self.eval(node)))
        return entries

    def _eval_Tuple(self, node: ast.Tuple) -> Value:
        entries = self._starred(node.elts)
        if any(present is not True for present, _ in entries):
            raise ShapeError("the length of this tuple depends on the state")
        return tuple(item for _, item in entries)

    def _eval_List(self, node: ast.List) -> Value:
        return self.list_of(tuple(self._starred(node.elts)))

    def _eval_Set(self, node: ast.Set) -> Value:
        return self.set_of(self._starred(node.elts))

    def set_of(self, entries: list[tuple[Truth, Value]]) -> Value:
        """A set of entries that may be absent."""
        content: dict[Any, Truth] = {}
        for present, item in entries:
            key = self.key(item)
            content[key] = self.graph.or_(content.get(key, False), present)
        return self.make_set(content)

    def _eval_Dict(self, node: ast.Dict) -> Value:
        content: dict[Any, tuple[Truth, Value]] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                other = self.look(self.eval(value))
                if not isinstance(other, DictCell):
                    raise ProgramError("TypeError", f"`**` needs a dict, not {kind_of(other)}")
                for name, entry in other.content.items():
                    self.put_entry(content, name, *entry)
            else:
                name = self.key(self.eval(key))
                content[name] = (True, self.eval(value))
        return self.make_dict(content)

    def put_entry(
        self, content: dict[Any, tuple[Truth, Value]], key: Any, present: Truth, value: Value
    ) -> None:
        """Put an entry that may be absent into the content of a dict."""
        old = content.get(key)
        if present is not True and old is not None:
            either = self.graph.or_(present, old[0])
            content[key] = (either, self.merge(present, value, old[1]))
        else:
            content[key] = (present, value)

    def _eval_ListComp(self, node: ast.ListComp) -> Value:
        return self.list_of(tuple(self._collected(node, lambda: self.eval(node.elt))))

    def _eval_SetComp(self, node: ast.SetComp) -> Value:
        return self.set_of(self._collected(node, lambda: self.eval(node.elt)))

    def _eval_GeneratorExp(self, node: ast.GeneratorExp) -> Value:
        # The first iterable is evaluated now, everything else when it is asked for.
        first, frame = self.eval(node.generators[0].iter), self.frame

        def later() -> Iterator[tuple[Truth, Value]]:
            asking = self.frame
            self.frame = frame
            try:
                entries = self._collected(node, lambda: self.eval(node.elt), first)
            finally:
                self.frame = asking
            yield from entries

        return IteratorValue(later(), self.here.full)

    def _eval_DictComp(self, node: ast.DictComp) -> Value:
        content: dict[Any, tuple[Truth, Value]] = {}
        pairs = self._collected(
            node, lambda: (self.key(self.eval(node.key)), self.eval(node.value))
        )
        for present, (key, value) in pairs:
            self.put_entry(content, key, present, value)
        return self.make_dict(content)

    def _collected(
        self, node: Any, element: Callable[[], Value], first: Value = UNDEFINED
    ) -> list[tuple[Truth, Value]]:
        entry = self.here
        found: list[tuple[Truth, Value]] = []

        def emit() -> None:
            value = element()
            found.append((self.mask(self.since(self.here.full, entry)), value))
            self.budget.elements(len(found), "a list")

        self.comprehend(node.generators, emit, first)
        return found

    def comprehend(
        self,
        generators: list[ast.comprehension],
        emit: Callable[[], None],
        first: Value = UNDEFINED,
    ) -> None:
        """Run the loops of a comprehension, `emit` inside; `first` is what the first one visits."""
        outer = self.frame
        names = frozenset[str]().union(*(bound_names(part) for part in generators))
        captured = any(isinstance(part, ast.Lambda) for gen in generators for part in ast.walk(gen))
        frame = Frame(names, outer, captured, birth=self.birth(), comprehension=True)
        entry = self.here

        def level(place: int) -> None:
            if place == len(generators):
                emit()
                return
            generator = generators[place]
            if place == 0:
                self.frame = outer
            try:
                known = place == 0 and first is not UNDEFINED
                iterable = first if known else self.eval(generator.iter)
            finally:
                self.frame = frame
            for present, item in self.entries(iterable):
                self.budget.step()

                def visit(item: Value = item) -> None:
                    self.assign(generator.target, item)
                    check(place, 0)

                self.branch(present, visit, lambda: None)

        def check(place: int, number: int) -> None:
            tests = generators[place].ifs
            if number == len(tests):
                level(place + 1)
                return
            truth = self.truth(self.eval(tests[number]))
            self.branch(truth, lambda: check(place, number + 1), lambda: None)

        # A comprehension's variables are new in each round: nothing is selected.
        self.path = type(entry)(entry.full, (), entry.facts)
        self.frame = frame
        try:
            level(0)
        finally:
            self.frame = outer
            if self.path is not None:
                gone = [node for node in self.here.full if node not in entry.full]
                local = entry.local + tuple(gone)
                self.path = type(entry)(self.here.full, local, self.here.facts)

    def short_circuit(self, node: ast.GeneratorExp, stops: Callable[[Value], Truth]) -> Any:
        """Run a generator expression until an item stops it, in each lane for itself.

        Returns the exits of the lanes that an item has stopped, with the item.
        """
        entry, start = self.here, len(self.exits)

        def emit() -> None:
            value = self.eval(node.elt)
            truth = stops(value)
            self.branch(truth, lambda: self.leave("stop", value), lambda: None)

        try:
            self.comprehend(node.generators, emit)
            alive = True
        except Dead:
            alive = False
        found = self.take_exits(start, "stop")
        if not alive and not found:
            raise Dead
        self.path = self.after(entry, self.exits[start:])
        pairs = [(self.mask(self.since(exit_.full, entry)), exit_.value) for exit_ in found]
        return pairs, alive

    def assign(self, target: ast.expr, value: Value) -> None:
        raise NotImplementedError

    # Parts, functions and strings -----------------------------------------------------------------

    def _eval_Subscript(self, node: ast.Subscript) -> Value:
        return self.look(self.getitem(self.eval(node.value), self.eval(node.slice)))

    def _eval_Slice(self, node: ast.Slice) -> Value:
        bounds = (node.lower, node.upper, node.step)
        return slice(*(None if part is None else self.eval(part) for part in bounds))

    def _eval_Attribute(self, node: ast.Attribute) -> Value:
        return self.look(self.attribute(self.eval(node.value), node.attr))

    def attribute(self, owner: Value, name: str) -> Value:
        raise NotImplementedError

    def _eval_Lambda(self, node: ast.Lambda) -> Value:
        return self.function("a lambda", node.args, node.body, node)

    def function(
        self, name: str, arguments: ast.arguments, body: Any, node: ast.AST, kind: str = ""
    ) -> Function:
        """A function of the program, with the defaults of this moment."""
        inner = body if isinstance(body, list) else [body]
        captures = any(
            isinstance(part, ast.Lambda | ast.FunctionDef)
            for top in inner
            for part in ast.walk(top)
        )
        missing = object()
        keyword_defaults = tuple(
            missing if default is None else self.eval(default) for default in arguments.kw_defaults
        )
        frame = self.frame
        while frame.is_class and frame.parent is not None:
            frame = frame.parent
        return Function(
            name, arguments, body, frame,
            tuple(self.eval(default) for default in arguments.defaults),
            tuple(UNDEFINED if v is missing else v for v in keyword_defaults),
            bound_names(node), captures, kind,
        )  # fmt: skip

    def _eval_JoinedStr(self, node: ast.JoinedStr) -> Value:
        parts = [self.eval(part) for part in node.values]
        return text.joined(self, parts)

    def _eval_FormattedValue(self, node: ast.FormattedValue) -> Value:
        value = self.eval(node.value)
        spec = "" if node.format_spec is None else self.eval(node.format_spec)
        conversion = chr(node.conversion) if node.conversion >= 0 else ""
        return text.formatted(self, value, spec, conversion)

    def _eval_Starred(self, node: ast.Starred) -> Value:
        raise SyntaxNotAdmitted("a starred expression cannot stand here")

    def _eval_Call(self, node: ast.Call) -> Value:
        raise NotImplementedError


def _may_be_undefined(value: Value) -> bool:
    if isinstance(value, Choice):
        return _may_be_undefined(value.then) or _may_be_undefined(value.other)
    return value is UNDEFINED
