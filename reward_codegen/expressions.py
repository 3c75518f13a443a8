"""Evaluates expressions: names, operators, displays, comprehensions and calls."""

import ast
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from reward_codegen import arrays, attributes, conversions, python_functions
from reward_codegen.backend import NumPyBackend
from reward_codegen.budget import MAX_CALL_DEPTH
from reward_codegen.errors import BudgetExceeded, RewardCodeError, ShapeError
from reward_codegen.machine import Machine
from reward_codegen.syntax import Program, bound_names
from reward_codegen.tables import EXCEPTIONS
from reward_codegen.values import (
    ABSENT,
    UNDEFINED,
    Builtin,
    Choice,
    DictValue,
    DType,
    ExceptionType,
    Function,
    Kind,
    ListValue,
    Record,
    RecordType,
    Scope,
    Value,
    is_static_int,
    is_traced,
    kind_of,
)

BINARY = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**", ast.MatMult: "@", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
_COMPARE = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_UNARY = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "invert"}
_RETURN = frozenset({"return"})

# Python's own exceptions, as the operations of the machine and of the libraries raise them.
_PROGRAM_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)


class Expressions:
    """The expressions of one evaluation. Statements are the `Evaluator`'s, which builds on this."""

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
        self._node: ast.AST = program.tree  # where messages point to

    def eval(self, node: ast.expr) -> Value:
        """The value of an expression."""
        self.machine.budget.step()
        self._node = node
        value = getattr(self, "_value_of_" + type(node).__name__)(node)
        self._node = node
        return value

    def _block(self, statements: list[ast.stmt]) -> None:
        raise NotImplementedError

    def _guarded(self, node: ast.AST, operation: Callable[..., Value], *arguments: Value) -> Value:
        """Run an operation of the program; Python's exceptions become the program's."""
        try:
            return self.machine.resolving(lambda: operation(*arguments))
        except _PROGRAM_ERRORS as error:
            self._node = node
            message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
            self._fail(_exception_name(error), _first_sentence(message))
        except RewardCodeError as error:
            if error.line is None:
                self._node = node
                raise self._located(error) from None
            raise

    def _fail(self, name: str, message: str, *, explicit: bool = False) -> None:
        """A program exception at the present place."""
        try:
            self.machine.fail(name, message, explicit=explicit)
        except RewardCodeError as error:
            raise self._located(error) from None

    def _located(self, error: RewardCodeError) -> RewardCodeError:
        """The same error with the line and text that are being evaluated."""
        line = getattr(self._node, "lineno", None)
        return type(error)(str(error), line=line, text=self.program.text_of(self._node))

    # Names and constants ------------------------------------------------------------------------

    def _value_of_Constant(self, node: ast.Constant) -> Value:
        return node.value

    def _value_of_Name(self, node: ast.Name) -> Value:
        cell = self._scope.find(node.id)
        if cell is None:
            value = python_functions.builtin(node.id)
            if value is not None:
                return value
        elif cell.content is not UNDEFINED:
            return cell.content
        return self._guarded(node, _raise, NameError(f"the name {node.id} is not defined"))

    def _bind(self, name: str, value: Value) -> None:
        """Assign to a variable of the present scope, or to the one that is nonlocal here."""
        cell = self._scope.variables.get(name)
        if cell is None and self._scope is not self._module:
            cell = self._scope.find(name)
        if cell is None:
            self._scope.variables[name] = self.machine.new_cell(value)
        else:
            self.machine.write(cell, value)

    def _assign(self, target: ast.expr, value: Value) -> None:
        """Assign to a name, an entry, a field, or several of them."""
        if isinstance(target, ast.Name):
            self._bind(target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value)
        elif isinstance(target, ast.Subscript):
            container, index = self.eval(target.value), self.eval(target.slice)
            self._guarded(target, arrays.assign, self.machine, container, index, value)
        elif isinstance(target, ast.Attribute):
            owner = self.eval(target.value)
            self._guarded(target, attributes.assign, self.machine, owner, target.attr, value)

    def _unpack(self, target: ast.Tuple | ast.List, value: Value) -> None:
        items = self._guarded(target, self.machine.items, value)
        self._for_each_kind(items, partial(self._unpack_items, target))

    def _for_each_kind(self, value: Value, body: Callable[[Value], Value]) -> Value:
        """Run `body` on a value; where it is a choice, in a fork on each of its values."""
        if not isinstance(value, Choice):
            return body(value)
        return self._branching.fork(
            value.condition,
            lambda: self._for_each_kind(value.then, body),
            lambda: self._for_each_kind(value.other, body),
        )

    def _unpack_items(self, target: ast.Tuple | ast.List, items: tuple[Value, ...]) -> None:
        names = target.elts
        star = next((i for i, name in enumerate(names) if isinstance(name, ast.Starred)), None)
        fits = len(items) == len(names) if star is None else len(items) >= len(names) - 1
        if not fits:
            message = f"{len(items)} values cannot be unpacked into {len(names)} names"
            self._guarded(target, _raise, ValueError(message))
        if star is not None:
            after = len(items) - (len(names) - star - 1)
            items = (*items[:star], self.machine.make_list(items[star:after]), *items[after:])
        for name, item in zip(names, items, strict=True):
            self._assign(name.value if isinstance(name, ast.Starred) else name, item)

    def _value_of_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self.eval(node.value)
        self._assign(node.target, value)
        return value

    # Operators ----------------------------------------------------------------------------------

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
            value = self._guarded(part, self.machine.binary, BINARY[type(part.op)], value, right)
        return value

    def _value_of_UnaryOp(self, node: ast.UnaryOp) -> Value:
        value = self.eval(node.operand)
        if isinstance(node.op, ast.Not):
            return self._guarded(node, self.machine.not_, value)
        return self._guarded(node, self.machine.unary, _UNARY[type(node.op)], value)

    def _value_of_BoolOp(self, node: ast.BoolOp) -> Value:
        is_and = isinstance(node.op, ast.And)

        def from_(position: int) -> Value:
            value = self.eval(node.values[position])
            if position == len(node.values) - 1:
                return value
            truth = self._guarded(node.values[position], self.machine.truth, value)

            def decided() -> Value:
                return value

            def undecided() -> Value:
                return from_(position + 1)

            if not is_traced(truth):
                return undecided() if bool(truth) == is_and else value
            # Where the value is its own condition, this merges into a plain `and` or `or`.
            then, other = (undecided, decided) if is_and else (decided, undecided)
            return self._branching.fork(truth, then, other)

        return from_(0)

    def _value_of_Compare(self, node: ast.Compare) -> Value:
        left = self.eval(node.left)
        if len(node.ops) == 1:
            right = self.eval(node.comparators[0])
            return self._guarded(node, self._compare, node.ops[0], left, right)
        result: Value = True
        for operator, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.eval(comparator)
            compared = self._guarded(node, self._compare, operator, left, right)
            truth = self._guarded(node, self.machine.truth, compared)
            if is_traced(truth):
                result = self.machine.merge(truth, result, False)
            elif not truth:
                return False
            left = right
        return result

    def _compare(self, operator: ast.cmpop, left: Value, right: Value) -> Value:
        machine = self.machine
        match operator:
            case ast.Is():
                return machine.is_(left, right)
            case ast.IsNot():
                return not machine.is_(left, right)
            case ast.In():
                return machine.contains(left, right)
            case ast.NotIn():
                return machine.not_(machine.contains(left, right))
        return machine.binary(_COMPARE[type(operator)], left, right)

    def _value_of_IfExp(self, node: ast.IfExp) -> Value:
        return self._branch(node.test, lambda: self.eval(node.body), lambda: self.eval(node.orelse))

    def _branch(
        self, test: ast.expr, then: Callable[[], Value], other: Callable[[], Value]
    ) -> Value:
        """Go one way or, on a traced condition, both."""
        return self._decide(test, self.eval(test), then, other)

    def _decide(
        self,
        node: ast.AST,
        condition: Value,
        then: Callable[[], Value],
        other: Callable[[], Value],
    ) -> Value:
        truth = self._guarded(node, self.machine.truth, condition)
        if is_traced(truth):
            return self._branching.fork(truth, then, other)
        return then() if truth else other()

    # Displays -----------------------------------------------------------------------------------

    def _value_of_Tuple(self, node: ast.Tuple) -> Value:
        return tuple(self._elements(node.elts))

    def _value_of_List(self, node: ast.List) -> Value:
        return self.machine.make_list(self._elements(node.elts))

    def _value_of_Set(self, node: ast.Set) -> Value:
        items = self._elements(node.elts)
        return self._guarded(node, self.machine.make_set, items)

    def _elements(self, nodes: list[ast.expr]) -> list[Value]:
        values: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                items = self._guarded(node, self.machine.items, self.eval(node.value))
                if isinstance(items, Choice):
                    raise self._located(
                        ShapeError("how many values these are depends on the state")
                    )
                values.extend(items)
            else:
                values.append(self.eval(node))
        return values

    def _value_of_Dict(self, node: ast.Dict) -> Value:
        content: dict[Value, Value] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            if key is None:
                content |= self._mapping(item)
            else:
                name = self._guarded(key, self.machine.key, self.eval(key))
                content[name] = self.eval(item)
        return self.machine.make_dict(content)

    def _mapping(self, node: ast.expr) -> dict[Value, Value]:
        """The content of a dict that `**` unpacks."""
        value = self._guarded(node, self.machine.decide, self.eval(node))
        if not isinstance(value, DictValue):
            self._guarded(node, _raise, TypeError(f"`**` needs a dict, not {kind_of(value)}"))
        return self._guarded(node, self.machine.content, value)

    def _value_of_JoinedStr(self, node: ast.JoinedStr) -> Value:
        text = "".join(self._text_of_part(part) for part in node.values)
        self.machine.budget.elements(len(text), "a string")
        return text

    def _text_of_part(self, part: ast.expr) -> str:
        if not isinstance(part, ast.FormattedValue):
            return conversions.as_text(self.eval(part))
        value = self.eval(part.value)
        if part.format_spec is None:
            quoted = part.conversion == ord("r") and isinstance(value, str)
            return repr(value) if quoted else conversions.as_text(value)
        spec = conversions.as_text(self.eval(part.format_spec))
        return self._guarded(part, conversions.formatted, value, spec)

    # Entries and attributes -----------------------------------------------------------------------

    def _value_of_Subscript(self, node: ast.Subscript) -> Value:
        container = self.eval(node.value)
        if container is ABSENT or isinstance(container, Kind):
            return container  # a type with parameters
        index = self.eval(node.slice)
        return self._guarded(node, arrays.subscript, self.machine, container, index)

    def _value_of_Slice(self, node: ast.Slice) -> Value:
        parts = (node.lower, node.upper, node.step)
        bounds = [None if part is None else self.eval(part) for part in parts]
        return self._guarded(node, self._slice, *bounds)

    def _slice(self, *bounds: Value) -> slice:
        for bound in bounds:
            if is_traced(bound):
                raise ShapeError(
                    "the bounds of this slice depend on the state, so its length is not known; "
                    "use np.where with a mask over the whole array"
                )
            if bound is not None and not is_static_int(bound):
                raise TypeError(f"the bound of a slice must be an integer, not {kind_of(bound)}")
        return slice(*(None if bound is None else int(bound) for bound in bounds))

    def _value_of_Attribute(self, node: ast.Attribute) -> Value:
        owner = self.eval(node.value)
        return self._guarded(node, attributes.attribute, self.machine, owner, node.attr)

    # Comprehensions -------------------------------------------------------------------------------

    def _value_of_ListComp(self, node: ast.ListComp) -> Value:
        return self._collect(node, node.generators, lambda: self.eval(node.elt))

    def _value_of_GeneratorExp(self, node: ast.GeneratorExp) -> Value:
        return self._collect(node, node.generators, lambda: self.eval(node.elt))

    def _value_of_SetComp(self, node: ast.SetComp) -> Value:
        items = self._collect(node, node.generators, lambda: self.eval(node.elt))
        return self._guarded(node, lambda: self.machine.make_set(self.machine.items(items)))

    def _value_of_DictComp(self, node: ast.DictComp) -> Value:
        machine = self.machine

        def pair() -> Value:
            key = self._guarded(node.key, machine.key, self.eval(node.key))
            return (key, self.eval(node.value))

        pairs = self._collect(node, node.generators, pair)
        return self._guarded(node, lambda: machine.make_dict(dict(machine.items(pairs))))

    def _collect(
        self, node: ast.expr, generators: list[ast.comprehension], element: Callable[[], Value]
    ) -> ListValue:
        """The list of the elements; on traced conditions, of a length that differs by lane."""
        result = self.machine.make_list(())

        def nest(position: int) -> None:
            if position == len(generators):
                self._guarded(node, self.machine.append, result, element())
                return
            generator = generators[position]
            iterable = self.eval(generator.iter)
            entries = self._guarded(generator.iter, self.machine.entries, iterable)
            self._for_each_kind(entries, partial(visit, position))

        def visit(position: int, entries: tuple[tuple[Value, Value], ...]) -> None:
            for there, item in entries:
                self.machine.budget.step()
                self._assign(generators[position].target, item)
                if there is None:
                    test(position, 0)
                else:
                    self._branching.fork(there, partial(test, position, 0), lambda: None)

        def test(position: int, condition: int) -> None:
            conditions = generators[position].ifs
            if condition == len(conditions):
                nest(position + 1)
            else:
                further = partial(test, position, condition + 1)
                self._branch(conditions[condition], further, lambda: None)

        outer, self._scope = self._scope, Scope(self._scope)
        for generator in generators:
            for name in bound_names(generator):
                self._scope.variables[name] = self.machine.new_cell()
        try:
            nest(0)
        finally:
            self._scope = outer
        return result

    # Functions and calls --------------------------------------------------------------------------

    def _value_of_Lambda(self, node: ast.Lambda) -> Value:
        return self._function("<lambda>", node.args, node.body, bound_names(node))

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
        return Function(name, arguments, body, local_names, self._scope, defaults, keyword_defaults)

    def _value_of_Call(self, node: ast.Call) -> Value:
        function = self.eval(node.func)
        arguments = tuple(self._elements(node.args))
        keywords: dict[str, Value] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                keywords |= self._mapping(keyword.value)
            else:
                keywords[keyword.arg] = self.eval(keyword.value)
        return self._guarded(node, self.call, function, arguments, keywords)

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
            return conversions.convert(self.machine, function, arguments, keywords)
        raise TypeError(f"{kind_of(function)} cannot be called")

    def _call_function(
        self, function: Function, arguments: tuple[Value, ...], keywords: dict[str, Value]
    ) -> Value:
        if self._depth >= MAX_CALL_DEPTH:
            raise BudgetExceeded(
                f"calls of {function.name} nest more than {MAX_CALL_DEPTH} deep; recursion needs "
                "a bound that does not depend on the state"
            )
        scope = Scope(function.scope)
        bound = _bind_parameters(self.machine, function, arguments, keywords)
        for name in function.local_names:
            scope.variables[name] = self.machine.new_cell(bound.get(name, UNDEFINED))
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
                values[name] = self.call(default, (), {}) if factory else default
        return self.machine.make_record(type_, tuple(values[name] for name in type_.fields))


def _bind_parameters(
    machine: Machine,
    function: Function,
    arguments: tuple[Value, ...],
    keywords: dict[str, Value],
) -> dict[str, Value]:
    """Python's binding of arguments to parameters."""
    spec = function.arguments
    positional = [argument.arg for argument in (*spec.posonlyargs, *spec.args)]
    by_keyword = {argument.arg for argument in (*spec.args, *spec.kwonlyargs)}
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
        if name in by_keyword:
            if name in bound:
                raise TypeError(f"{function.name}() got two values for argument {name!r}")
            bound[name] = value
        elif spec.kwarg is not None:
            others[name] = value
        else:
            raise TypeError(f"{function.name}() has no argument {name!r}")
    if spec.kwarg is not None:
        bound[spec.kwarg.arg] = machine.make_dict(others)
    with_defaults = positional[len(positional) - len(function.defaults) :]
    defaults = dict(zip(with_defaults, function.defaults, strict=True)) | function.keyword_defaults
    bound = defaults | bound
    missing = [
        name
        for name in (*positional, *(argument.arg for argument in spec.kwonlyargs))
        if name not in bound
    ]
    if missing:
        raise TypeError(f"{function.name}() misses argument {missing[0]!r}")
    return bound


def _raise(error: Exception) -> NoReturn:
    raise error


def _exception_name(error: Exception) -> str:
    """The most special admitted class that a Python exception belongs to."""
    names = (class_.__name__ for class_ in type(error).__mro__)
    return next((name for name in names if name in EXCEPTIONS), "Exception")


def _first_sentence(message: str) -> str:
    return message.strip().split("\n")[0].split(". ")[0].rstrip(".")
