"""Operators, comparisons and truth, as Python and NumPy mean them."""

import math
import operator
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final

import numpy as np

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.language.core import Core, known
from reward_codegen.language.graph import Node, Truth
from reward_codegen.language.values import (
    UNDEFINED,
    Array,
    Bound,
    Buffer,
    Choice,
    Class,
    DictCell,
    DictView,
    Instance,
    IteratorValue,
    ListCell,
    Num,
    ProgramError,
    Selection,
    SetCell,
    Value,
    is_known_number,
    kind_of,
)

PYTHON: Final[dict[str, Callable[..., Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "**": operator.pow, "@": operator.matmul,
    "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift,
    ">>": operator.rshift, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_PRIMITIVES: Final = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
    "&": "bitand", "|": "bitor", "^": "bitxor",
}  # fmt: skip
_LOGIC: Final = {"+": "or", "*": "and", "&": "and", "|": "or", "^": "xor"}
COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_BITWISE: Final = frozenset({"&", "|", "^", "<<", ">>"})
FLOAT, INTEGER, BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(bool)
DTYPE_OF_KIND: Final = {"f": FLOAT, "i": INTEGER, "b": BOOL}


@cache
def result_dtype(symbol: str, left: Any, right: Any) -> np.dtype | None:
    """The type of NumPy's result for operand types; None where it has none."""
    operands = [
        np.ones(1, kind) if isinstance(kind, np.dtype) else {"f": 1.0, "i": 1, "b": True}[kind]
        for kind in (left, right)
    ]
    try:
        result = PYTHON[symbol](*operands)
    except TypeError:
        return None
    return np.asarray(result).dtype


class Operators(Core):
    """Operators on values."""

    # Arrays ---------------------------------------------------------------------------------------

    def make_array(self, content: Any, dtype: np.dtype, fixed: bool = False) -> Array:
        """A new array of known entries or of a node's."""
        if isinstance(content, Node) and content.op == "const":
            content = content.data.astype(dtype)
        shape = content.shape
        self.budget.elements(math.prod(shape))
        self.budget.work(2 * math.prod(shape))
        index = np.arange(math.prod(shape)).reshape(shape)
        return Array(Buffer(content, self.birth(), self.in_module, dtype, fixed), index)

    def of_node(self, node: Node, dtype: np.dtype, fixed: bool = False) -> Value:
        """An array, or a scalar of NumPy, from a node."""
        if node.is_bool and dtype.kind != "b":
            node = self.graph.real(node)
        if node.shape != ():
            return self.make_array(node, dtype, fixed)
        if node.op == "const":
            return node.data.astype(dtype)[()]
        return Num(node, dtype.kind.replace("u", "i"), True)

    def of_known(self, value: Any, fixed: bool = False) -> Value:
        """What NumPy has returned: an array becomes one of ours."""
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "fiub":
                raise ShapeError(f"an array of {value.dtype} is not admitted; use numbers")
            return self.make_array(value, value.dtype, fixed)
        if isinstance(value, tuple):
            return tuple(self.of_known(part, fixed) for part in value)
        if isinstance(value, list):
            return self.make_list([self.of_known(part, fixed) for part in value])
        if isinstance(value, complex | np.complexfloating):
            raise ShapeError("a complex number is not admitted")
        return value

    def known_array(self, array: Array) -> np.ndarray | None:
        """The entries if they are known."""
        content = array.buffer.content
        return None if isinstance(content, Node) else content.reshape(-1)[array.index]

    def array(self, value: Value, what: str = "this") -> Value:
        """A value as NumPy takes it where an array may stand: an Array, a Selection or a number."""
        self.budget.step()
        value = self.look(value)
        if isinstance(value, Array | Num | Selection) or is_known_number(value):
            return value
        if isinstance(value, Choice):
            number = self.number(value)
            return number if number is not None else self._array_of_choice(value)
        if isinstance(value, ListCell | tuple | range | DictView):
            return self._array_of_items(value)
        if isinstance(value, IteratorValue | DictCell | SetCell):
            raise ShapeError(f"{kind_of(value)} is no array; make a list of it first")
        raise ProgramError(
            "TypeError", f"{what} must be an array or a number, not {kind_of(value)}"
        )

    def _array_of_choice(self, choice: Choice) -> Value:
        first, second = (self.array(part) for part in (choice.then, choice.other))
        if isinstance(first, Array) and isinstance(second, Array) and first.shape == second.shape:
            node = self.graph.select(choice.condition, self.node_of(first), self.node_of(second))
            dtype = np.promote_types(first.dtype, second.dtype)
            return self.make_array(node, dtype, first.buffer.fixed)
        raise ShapeError(
            "this is an array of one shape or of another, as the state says; use one shape"
        )

    def _array_of_items(self, value: Value) -> Value:
        entries = [(self.settle(p), item) for p, item in self.entries(value)]
        entries = [(p, item) for p, item in entries if p is not False]
        parts = [self.array(item) for _, item in entries]
        fixed = any(isinstance(part, Array) and part.buffer.fixed for part in parts)
        if all(is_known_number(part) for part in parts) and all(p is True for p, _ in entries):
            return self.of_known(known(np.array, parts))
        if any(isinstance(part, Selection) for part in parts):
            raise ShapeError("a selection by a mask cannot be part of an array")
        nodes, dtypes = [], []
        for part in parts:
            node, kind = self.operand(part)
            nodes.append(node)
            dtypes.append(kind if isinstance(kind, np.dtype) else DTYPE_OF_KIND[kind])
        if len({node.shape for node in nodes}) > 1:
            raise ProgramError("ValueError", "the parts of an array have different shapes")
        dtype = np.result_type(*dtypes)
        shape = nodes[0].shape
        if any(p is not True for p, _ in entries):
            if shape != ():
                raise ShapeError("the number of rows of this array depends on the state")
            present = [p if isinstance(p, Node) else self.graph.constant(p) for p, _ in entries]
            count = (len(nodes),)
            return Selection(
                self.graph.stack(nodes, count), self.graph.stack(present, count), dtype
            )
        if shape == ():
            node = self.graph.stack(nodes, (len(nodes),))
        else:
            joined = self.graph.join(nodes)
            node = self.graph.take(joined, np.arange(joined.size).reshape(len(nodes), *shape))
        if node.is_bool and dtype.kind != "b":
            node = self.graph.real(node)
        return self.make_array(node, dtype, fixed)

    def operand(self, value: Value) -> tuple[Node, Any]:
        """The node of an operand and its type: a dtype, or a kind where Python's numbers bend."""
        if isinstance(value, Array):
            return self.node_of(value), value.dtype
        number = self.plain_number(value)
        assert number is not None
        if isinstance(value, np.generic):
            return number.node, value.dtype
        return number.node, (number.kind if number.numpy is False else DTYPE_OF_KIND[number.kind])

    def entries(self, value: Value) -> Any:
        """(whether it is there, item) of what can be iterated over."""
        raise NotImplementedError

    # Binary operators -----------------------------------------------------------------------------

    def binary(self, symbol: str, left: Value, right: Value) -> Value:
        """An arithmetic, bitwise or comparison operator."""
        self.budget.step()
        left, right = self.look(left), self.look(right)
        first, second = self.plain_number(left), self.plain_number(right)
        if first is not None and second is not None:
            if isinstance(left, Num) or isinstance(right, Num):
                return self._numbers(symbol, first, second, right)
            return self._known_numbers(symbol, left, right)
        for place, value in enumerate((left, right)):
            if isinstance(value, Choice):
                return self._of_choice(symbol, left, right, place)
        if isinstance(left, Selection) or isinstance(right, Selection):
            return self._selections(symbol, left, right)
        if isinstance(left, Array) or isinstance(right, Array):
            if symbol in ("==", "!=") and any(
                v is None or isinstance(v, str) for v in (left, right)
            ):
                return symbol == "!="
            return self._arrays(symbol, left, right)
        return self._others(symbol, left, right)

    def _of_choice(self, symbol: str, left: Value, right: Value, place: int) -> Value:
        value = (left, right)[place]
        number = self.number(value)
        if number is None and self._all_arrays(value):
            number = self.array(value)
        if number is not None:
            return self.binary(symbol, *((number, right) if place == 0 else (left, number)))
        if place == 0:
            return self.distribute(value, lambda part: self.binary(symbol, part, right))
        return self.distribute(value, lambda part: self.binary(symbol, left, part))

    def _all_arrays(self, value: Value) -> bool:
        parts = [value]
        shapes = set()
        while parts:
            part = parts.pop()
            if isinstance(part, Choice):
                parts += [part.then, part.other]
            elif isinstance(part, Array):
                shapes.add(part.shape)
            else:
                return False
        return len(shapes) == 1

    def _known_numbers(self, symbol: str, left: Any, right: Any) -> Value:
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length(), right.bit_length()
            if symbol == "**" and right > 0:
                self.budget.integer_bits(bits[0] * right)
            elif symbol == "<<":
                self.budget.integer_bits(bits[0] + max(right, 0))
            elif symbol == "*":
                self.budget.integer_bits(bits[0] + bits[1])
        result = known(PYTHON[symbol], left, right)
        if isinstance(result, complex):
            raise ProgramError("TypeError", "a root of a negative number is complex")
        return result

    def _numbers(self, symbol: str, left: Num, right: Num, raw: Value) -> Value:
        """Two numbers of which one depends on the state."""
        graph = self.graph
        numpy = graph.or_(left.numpy, right.numpy)
        if symbol in COMPARISONS:
            if left.kind == right.kind == "b" and symbol in ("==", "!="):
                node = graph.apply("xor", left.node, right.node)
                return Num(node if symbol == "!=" else graph.apply("not", node), "b", numpy)
            return Num(graph.apply(_PRIMITIVES[symbol], left.node, right.node), "b", numpy)
        if left.kind == right.kind == "b":
            special = self._truths(symbol, left, right, numpy)
            if special is not None:
                return special
        if symbol in _BITWISE:
            return self._bits(symbol, left, right, numpy)
        if symbol == "@":
            raise ProgramError("TypeError", "`@` is not defined between numbers")
        kind = "f" if "f" in (left.kind, right.kind) or symbol == "/" else "i"
        if symbol in ("/", "//", "%"):
            return self._divided(symbol, left, right, kind, numpy)
        if symbol == "**":
            return self._power(left, right, kind, numpy, raw)
        return Num(graph.apply(_PRIMITIVES[symbol], left.node, right.node), kind, numpy)

    def _truths(self, symbol: str, left: Num, right: Num, numpy: Truth) -> Value | None:
        """Operators on two truths: NumPy's add to a truth, Python's count."""
        if symbol in ("&", "|", "^"):
            return Num(self.graph.apply(_LOGIC[symbol], left.node, right.node), "b", numpy)
        if numpy is False:
            return None
        numpy = self.settle(numpy)
        if isinstance(numpy, Node):

            def known_kind(which: bool) -> Value:
                first, second = (Num(part.node, "b", which) for part in (left, right))
                return self._numbers(symbol, first, second, None)

            return self.branch(numpy, lambda: known_kind(True), lambda: known_kind(False))
        if numpy is False:
            return None
        if symbol in ("+", "*"):
            return Num(self.graph.apply(_LOGIC[symbol], left.node, right.node), "b", True)
        if symbol == "-":
            raise ProgramError("TypeError", "NumPy does not subtract truths; use ^ or logical_xor")
        if symbol == "/":
            return None
        raise ShapeError(f"`{symbol}` of two truths of NumPy is not admitted; use int(...)")

    def _bits(self, symbol: str, left: Num, right: Num, numpy: Truth) -> Value:
        if "f" in (left.kind, right.kind):
            raise ProgramError("TypeError", f"`{symbol}` is not defined for floats")
        graph = self.graph
        if symbol in ("<<", ">>"):
            self.fail_where(
                self._scalar_truth("lt", right.node, 0.0), "ValueError", "negative shift count"
            )
            factor = graph.apply("exp2", right.node)
            operation = "mul" if symbol == "<<" else "floordiv"
            return Num(graph.apply(operation, left.node, factor), "i", numpy)
        return Num(graph.apply(_PRIMITIVES[symbol], left.node, right.node), "i", numpy)

    def _scalar_truth(self, op: str, node: Node, number: float) -> Truth:
        return self.graph.known(self.graph.apply(op, node, self.graph.constant(number)))

    def _divided(self, symbol: str, left: Num, right: Num, kind: str, numpy: Truth) -> Value:
        graph = self.graph
        zero = self._scalar_truth("eq", right.node, 0.0)
        python = graph.and_(graph.not_(numpy), zero)
        self.fail_where(python, "ZeroDivisionError", "division by zero")
        node = graph.apply(_PRIMITIVES[symbol], left.node, right.node)
        if symbol != "/" and kind == "i":  # integers of NumPy: 0 where the divisor is 0
            node = graph.select(self.settle(zero), graph.constant(0.0), node)
        return Num(node, kind, numpy)

    def _power(self, base: Num, exponent: Num, kind: str, numpy: Truth, raw: Value) -> Value:
        graph = self.graph
        python = graph.not_(numpy)
        negative = self._scalar_truth("lt", exponent.node, 0.0)
        if kind == "i" and numpy is not False:
            self.fail_where(
                graph.and_(numpy, negative), "ValueError",
                "integers to negative integer powers are not allowed",
            )  # fmt: skip
        if kind == "i" and negative is not False:
            kind = "f"
        node = graph.apply("pow", base.node, exponent.node)
        if python is not False:
            zero = self._scalar_truth("eq", base.node, 0.0)
            self.fail_where(
                graph.and_(python, graph.and_(zero, negative)), "ZeroDivisionError",
                "0.0 cannot be raised to a negative power",
            )  # fmt: skip
            below = self._scalar_truth("lt", base.node, 0.0)
            broken = graph.known(
                graph.apply("ne", graph.apply("floor", exponent.node), exponent.node)
            )
            self.fail_where(
                graph.and_(python, graph.and_(below, broken)), "TypeError",
                "a root of a negative number is complex",
            )  # fmt: skip
            if not is_known_number(raw) or abs(raw) > 8:
                finite = graph.known(graph.apply("isinf", node))
                for operand in (base.node, exponent.node):
                    whole = graph.known(graph.apply("isfinite", operand))
                    finite = graph.and_(finite, whole)
                self.fail_where(graph.and_(python, finite), "OverflowError", "result too large")
        return Num(node, kind, numpy)

    # Arrays and selections ------------------------------------------------------------------------

    def _arrays(self, symbol: str, left: Value, right: Value) -> Value:
        left, right = self.array(left), self.array(right)
        fixed = any(isinstance(v, Array) and v.buffer.fixed for v in (left, right))
        parts = [self.known_array(v) if isinstance(v, Array) else v for v in (left, right)]
        if symbol == "@":
            return self.call_named("matmul", (left, right))
        if not any(part is None or isinstance(part, Num) for part in parts):
            shape = known(np.broadcast_shapes, *(np.shape(part) for part in parts))  # type: ignore[arg-type]
            self.budget.elements(math.prod(shape))
            return self.of_known(known(PYTHON[symbol], *parts), fixed)
        (a, first), (b, second) = self.operand(left), self.operand(right)
        self.budget.elements(math.prod(known(np.broadcast_shapes, a.shape, b.shape)))
        return self.entrywise(symbol, a, first, b, second, fixed)

    def call_named(self, name: str, args: tuple[Value, ...]) -> Value:
        """A function of NumPy by its name."""
        raise NotImplementedError

    def entrywise(
        self, symbol: str, a: Node, first: Any, b: Node, second: Any, fixed: bool
    ) -> Value:
        """An operator entry by entry, with the types of NumPy."""
        graph = self.graph
        dtype = result_dtype(symbol, first, second)
        if dtype is None:
            raise ProgramError("TypeError", f"`{symbol}` is not defined for these types")
        if dtype.kind not in "fib":
            raise ShapeError(f"`{symbol}` gives {dtype} here, which is not admitted")
        if dtype.kind == "b" and symbol in _LOGIC:
            return self.of_node(graph.apply(_LOGIC[symbol], a, b), dtype, fixed)
        if symbol in ("<<", ">>"):
            node = graph.apply("mul" if symbol == "<<" else "floordiv", a, graph.apply("exp2", b))
            return self.of_node(node, dtype, fixed)
        node = graph.apply(_PRIMITIVES[symbol], a, b)
        if dtype.kind == "i" and symbol in ("//", "%"):
            zero = graph.apply("eq", b, graph.constant(0.0))
            node = graph.select(zero, graph.constant(0.0), node)
        if dtype.kind == "i" and symbol == "**":
            self.fail_where(
                self.any_of(graph.apply("lt", b, graph.constant(0.0))), "ValueError",
                "integers to negative integer powers are not allowed",
            )  # fmt: skip
        return self.of_node(node, dtype, fixed)

    def any_of(self, node: Node) -> Truth:
        """Whether any entry holds."""
        if node.shape == ():
            return self.graph.known(node)
        template = ((("node", 0),), ())
        return self.graph.known(self.graph.library("any", template, (node,), (), True))

    def _selections(self, symbol: str, left: Value, right: Value) -> Value:
        masks = [v.mask for v in (left, right) if isinstance(v, Selection)]
        if len(masks) == 2 and masks[0] is not masks[1]:
            raise ShapeError(
                "two selections by different masks cannot be combined entry by entry; "
                "use np.where on the whole arrays"
            )
        operands = []
        for value in (left, right):
            if isinstance(value, Selection):
                operands.append((value.node, value.dtype))
            elif self.plain_number(value) is not None:
                operands.append(self.operand(value))
            else:
                raise ShapeError(
                    "a selection by a mask that depends on the state combines with numbers only; "
                    "use np.where on the whole arrays"
                )
        (a, first), (b, second) = operands
        result = self.entrywise(symbol, a, first, b, second, False)
        assert isinstance(result, Array)
        return Selection(self.node_of(result), masks[0], result.dtype)

    # Other operands -------------------------------------------------------------------------------

    def _others(self, symbol: str, left: Value, right: Value) -> Value:
        if symbol in ("==", "!="):
            equal = self.equal(left, right)
            return self.as_value(equal if symbol == "==" else self.graph.not_(equal))
        if UNDEFINED in (left, right):
            raise ProgramError("NameError", "a name has no value here")
        if symbol in ("<", "<=", ">", ">="):
            return self._ordered(symbol, left, right)
        if symbol == "+" and type(left) is type(right) and isinstance(left, str | tuple):
            self.budget.elements(len(left) + len(right), "a string")
            return left + right
        if symbol == "+" and isinstance(left, ListCell) and isinstance(right, ListCell):
            return self.list_of(left.content + right.content)
        if symbol == "*":
            return self._repeated(left, right)
        if symbol == "%" and isinstance(left, str):
            return self.percent(left, right)
        sets = [self.members(v) for v in (left, right)]
        if symbol in "&|^-" and None not in sets:
            return self._sets(symbol, *sets)
        if symbol == "|" and isinstance(left, DictCell) and isinstance(right, DictCell):
            return self.make_dict({**left.content, **right.content})
        raise ProgramError(
            "TypeError",
            f"`{symbol}` is not defined between {kind_of(left)} and {kind_of(right)}",
        )

    def percent(self, template: str, values: Value) -> Value:
        """`template % values`."""
        raise NotImplementedError

    def _repeated(self, left: Value, right: Value) -> Value:
        if isinstance(left, int) and not isinstance(right, int):
            left, right = right, left
        if isinstance(left, str | tuple | ListCell) and isinstance(right, int | np.integer):
            content: Any = left.content if isinstance(left, ListCell) else left
            self.budget.elements(len(content) * max(int(right), 0), "a sequence")
            repeated = content * int(right)
            return self.list_of(repeated) if isinstance(left, ListCell) else repeated
        if isinstance(right, Num):
            raise ShapeError("how often this is repeated depends on the state")
        raise ProgramError(
            "TypeError", f"`*` is not defined between {kind_of(left)} and {kind_of(right)}"
        )

    def members(self, value: Value) -> dict[Any, Truth] | None:
        """The members of a set or of the keys of a dict, with whether they are there."""
        if isinstance(value, SetCell):
            return value.content
        if isinstance(value, DictView) and value.what == "keys":
            return {key: present for key, (present, _) in value.owner.content.items()}
        return None

    def _sets(self, symbol: str, first: Any, second: Any) -> Value:
        graph, result = self.graph, {}
        for key in dict.fromkeys((*first, *second)):
            a, b = first.get(key, False), second.get(key, False)
            match symbol:
                case "&":
                    result[key] = graph.and_(a, b)
                case "|":
                    result[key] = graph.or_(a, b)
                case "-":
                    result[key] = graph.and_(a, graph.not_(b))
                case "^":
                    result[key] = self._differ(a, b)
        return self.make_set({key: p for key, p in result.items() if p is not False})

    # Equality and order ---------------------------------------------------------------------------

    def equal(self, left: Value, right: Value) -> Truth:
        """Whether two values are equal, as `==` in a condition."""
        self.budget.step()
        left, right = self.look(left), self.look(right)
        if left is right and not isinstance(left, Num | float | np.floating | Array | Choice):
            return True
        if isinstance(left, Choice) or isinstance(right, Choice):
            return self.truth(self.binary("==", left, right))
        numbers = self.plain_number(left), self.plain_number(right)
        if None not in numbers or isinstance(left, Array) or isinstance(right, Array):
            return self.truth(self.binary("==", left, right))
        items = self._fields(left), self._fields(right)
        if items[0] is not None and items[1] is not None:
            return self._equal_items(left, right, *items)
        sets = self.members(left), self.members(right)
        if sets[0] is not None and sets[1] is not None:
            return self._all(
                self.graph.not_(self._differ(sets[0].get(k, False), sets[1].get(k, False)))
                for k in dict.fromkeys((*sets[0], *sets[1]))
            )
        if isinstance(left, DictCell) and isinstance(right, DictCell):
            return self._equal_dicts(left.content, right.content)
        if isinstance(left, str | range | slice) and isinstance(right, type(left)):
            return bool(left == right)
        if isinstance(left, Bound) and isinstance(right, Bound):
            return left.owner is right.owner and left.function is right.function
        try:
            return bool(left is right or (type(left) is type(right) and left == right))
        except TypeError:
            return False

    def _differ(self, a: Truth, b: Truth) -> Truth:
        graph = self.graph
        return graph.or_(graph.and_(a, graph.not_(b)), graph.and_(graph.not_(a), b))

    def _all(self, truths: Any) -> Truth:
        result: Truth = True
        for truth in truths:
            result = self.graph.and_(result, truth)
            if result is False:
                return False
        return result

    def _fields(self, value: Value) -> Sequence[tuple[Truth, Value]] | None:
        if isinstance(value, tuple):
            return [(True, item) for item in value]
        if isinstance(value, ListCell):
            return value.content
        if isinstance(value, Instance) and (value.type.equal or value.type.kind == "tuple"):
            return [(True, value.content[name]) for name in value.type.fields]
        return None

    def _equal_items(self, left: Value, right: Value, a: Any, b: Any) -> Truth:
        def family(value: Value) -> Any:
            if isinstance(value, Instance):
                return "tuple" if value.type.kind == "tuple" else value.type
            return "list" if isinstance(value, ListCell) else "tuple"

        if family(left) != family(right):
            return False
        if any(self.settle(p) is not True for p, _ in (*a, *b)):
            raise ShapeError("lists whose length depends on the state cannot be compared")
        if len(a) != len(b):
            return False
        return self._all(self.equal(x, y) for (_, x), (_, y) in zip(a, b, strict=True))

    def _equal_dicts(self, a: Any, b: Any) -> Truth:
        result: Truth = True
        for key in dict.fromkeys((*a, *b)):
            (p, x), (q, y) = a.get(key, (False, None)), b.get(key, (False, None))
            both = self.graph.and_(p, q)
            neither = self.graph.and_(self.graph.not_(p), self.graph.not_(q))
            if both is not False:
                both = self.graph.and_(both, self.equal(x, y))
            result = self.graph.and_(result, self.graph.or_(both, neither))
        return result

    def _ordered(self, symbol: str, left: Value, right: Value) -> Value:
        if isinstance(left, str) and isinstance(right, str):
            return bool(PYTHON[symbol](left, right))
        sets = self.members(left), self.members(right)
        if sets[0] is not None and sets[1] is not None:
            return self._subset(symbol, left, right, *sets)
        a, b = self._fields(left), self._fields(right)
        if a is None or b is None or type(left) is not type(right):
            raise ProgramError(
                "TypeError",
                f"`{symbol}` is not defined between {kind_of(left)} and {kind_of(right)}",
            )
        if any(self.settle(p) is not True for p, _ in (*a, *b)):
            raise ShapeError("lists whose length depends on the state cannot be compared")
        result: Truth = PYTHON[symbol](len(a), len(b))
        strict = symbol[0]
        for (_, x), (_, y) in reversed(list(zip(a, b, strict=False))):
            equal = self.equal(x, y)
            if equal is not True:
                ahead = self.truth(self.binary(strict, x, y))
                result = self.pick(equal, result, ahead)
        return self.as_value(result)

    def _subset(self, symbol: str, left: Value, right: Value, a: Any, b: Any) -> Value:
        small, large = (a, b) if symbol[0] == "<" else (b, a)
        graph = self.graph
        inside = self._all(
            graph.or_(graph.not_(present), large.get(key, False)) for key, present in small.items()
        )
        if len(symbol) == 1:
            inside = graph.and_(inside, graph.not_(self.equal(left, right)))
        return self.as_value(inside)

    # Truth ----------------------------------------------------------------------------------------

    def as_value(self, truth: Truth, numpy: Truth = False) -> Value:
        """A truth as a value of the program."""
        if isinstance(truth, Node):
            return Num(truth, "b", numpy)
        return np.bool_(truth) if numpy is True else truth

    def truth(self, value: Value) -> Truth:
        """Whether a value counts as true."""
        value = self.look(value)
        if isinstance(value, Num):
            return self.settle(self.graph.truth(value.node))
        if isinstance(value, Choice):
            result = self.distribute(value, lambda part: self.as_value(self.truth(part)))
            return self.truth(result)
        if isinstance(value, Array):
            if value.index.size != 1:
                raise ProgramError(
                    "ValueError",
                    f"the truth of an array of {value.index.size} entries is ambiguous; "
                    "use np.any or np.all",
                )
            return self.truth(
                self.of_node(self.graph.take(self.node_of(value), np.zeros((), int)), value.dtype)
            )
        if isinstance(value, ListCell):
            return self._any(present for present, _ in value.content)
        if isinstance(value, DictCell):
            return self._any(present for present, _ in value.content.values())
        if isinstance(value, SetCell):
            return self._any(value.content.values())
        if isinstance(value, DictView):
            return self.truth(value.owner)
        if isinstance(value, Instance):
            if value.type.find("__bool__") is not UNDEFINED:
                raise NameNotAdmitted("__bool__ of a class is not admitted")
            return value.type.kind != "tuple" or bool(value.type.fields)
        if isinstance(value, Selection):
            raise ShapeError("the truth of a selection by a mask is ambiguous; use its size")
        if value is UNDEFINED:
            raise ProgramError("NameError", "a name has no value here")
        if value is None or isinstance(value, str | tuple | range) or is_known_number(value):
            return bool(value)
        return True

    def _any(self, truths: Any) -> Truth:
        result: Truth = False
        for truth in truths:
            result = self.graph.or_(result, self.settle(truth))
            if result is True:
                return True
        return self.settle(result)

    def unary(self, symbol: str, value: Value) -> Value:
        """-x, +x, ~x."""
        value = self.look(value)
        if isinstance(value, Choice):
            number = self.number(value)
            if number is None and self._all_arrays(value):
                number = self.array(value)
            if number is None:
                return self.distribute(value, lambda part: self.unary(symbol, part))
            value = number
        if is_known_number(value):
            functions: dict[str, Any] = {
                "-": operator.neg, "+": operator.pos, "~": operator.invert,
            }  # fmt: skip
            return known(functions[symbol], value)
        if isinstance(value, Num):
            return self._unary_number(symbol, value)
        if isinstance(value, Array | Selection):
            node = self.node_of(value) if isinstance(value, Array) else value.node
            kind = value.dtype.kind
            if kind not in ("bi" if symbol == "~" else "if"):
                raise ProgramError("TypeError", f"`{symbol}` is not defined for {value.dtype}")
            if symbol == "-":
                node = self.graph.apply("neg", node)
            elif symbol == "~" and kind == "b":
                node = self.graph.apply("not", node)
            elif symbol == "~":
                node = self.graph.apply("sub", self.graph.constant(-1.0), node)
            if isinstance(value, Selection):
                return Selection(node, value.mask, value.dtype)
            return self.of_node(node, value.dtype, value.buffer.fixed)
        raise ProgramError("TypeError", f"`{symbol}` is not defined for {kind_of(value)}")

    def _unary_number(self, symbol: str, value: Num) -> Value:
        graph = self.graph
        if value.kind == "b" and value.numpy is not False:
            if symbol == "~" and value.numpy is True:
                return Num(graph.apply("not", value.node), "b", True)
            raise ProgramError("TypeError", f"`{symbol}` is not defined for truths of NumPy")
        kind = "i" if value.kind == "b" else value.kind
        if symbol == "~":
            if kind == "f":
                raise ProgramError("TypeError", "`~` is not defined for floats")
            node = graph.apply("sub", graph.constant(-1.0), value.node)
        else:
            node = graph.real(value.node)
            node = graph.apply("neg", node) if symbol == "-" else node
        return Num(node, kind, value.numpy)

    # Identity and membership ----------------------------------------------------------------------

    def is_(self, left: Value, right: Value) -> Truth:
        """`left is right`."""
        left, right = self.look(left), self.look(right)
        for place, value in enumerate((left, right)):
            if isinstance(value, Choice):
                other = (right, left)[place]
                return self.truth(self.distribute(value, partial(self._is_value, other)))
        if isinstance(right, Num):
            left, right = right, left
        if isinstance(left, Num):
            if isinstance(right, bool):
                if left.kind != "b":
                    return False
                same = left.node if right else self.graph.not_(left.node)
                return self.graph.and_(self.graph.not_(left.numpy), same)
            if right is None or (not is_known_number(right) and not isinstance(right, Num)):
                return False
            raise ShapeError("`is` between numbers is not admitted; use ==")
        if (
            isinstance(left, int | float)
            and not isinstance(left, bool)
            and type(left) is type(right)
        ):
            raise ShapeError("`is` between numbers is not admitted; use ==")
        if isinstance(left, str) and isinstance(right, str):
            return left == right
        return left is right

    def _is_value(self, left: Value, right: Value) -> Value:
        return self.as_value(self.is_(left, right))

    def contains(self, item: Value, container: Value) -> Truth:
        """`item in container`."""
        container, item = self.look(container), self.look(item)
        if isinstance(container, Choice):
            return self.truth(
                self.distribute(container, lambda v: self.as_value(self.contains(item, v)))
            )
        if isinstance(item, Choice) and isinstance(container, str | DictCell | SetCell | DictView):
            return self.truth(
                self.distribute(item, lambda v: self.as_value(self.contains(v, container)))
            )
        if isinstance(container, str):
            if not isinstance(item, str):
                raise ProgramError("TypeError", "`in` of a string needs a string")
            return item in container
        members = self.members(container)
        if isinstance(container, DictCell):
            members = {key: present for key, (present, _) in container.content.items()}
        if members is not None:
            if isinstance(item, Num):
                same = [(key, p) for key, p in members.items() if isinstance(key, int | float)]
                return self._any(self.graph.and_(p, self.equal(item, key)) for key, p in same)
            return self.settle(members.get(self.key(item), False))
        if isinstance(container, Array):
            equal = self.binary("==", container, item)
            return (
                self.any_of(self.node_of(equal)) if isinstance(equal, Array) else self.truth(equal)
            )
        return self._any(
            self.graph.and_(present, self.equal(item, entry))
            for present, entry in self.entries(container)
        )

    def key(self, value: Value) -> Any:
        """A value as the key of a dict or the member of a set."""
        self.budget.step()
        value = self.look(value)
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple):
            return tuple(self.key(item) for item in value)
        if isinstance(value, Num | Choice):
            raise ShapeError(
                "a key that depends on the state is not admitted; use if/elif, or index an array"
            )
        if isinstance(value, Instance) and value.type.kind == "enum":
            return value
        if isinstance(value, ListCell | DictCell | SetCell | Array | Instance):
            raise ProgramError("TypeError", f"unhashable type: {kind_of(value)}")
        if isinstance(value, Class):
            return value
        return value

    def integer(self, value: Value, what: str) -> int:
        """An integer that must be known: a size, a length, an axis."""
        value = self.look(value)
        if isinstance(value, int | np.integer):
            return int(value)
        if isinstance(value, Array) and value.shape == () and value.dtype.kind in "iu":
            content = self.known_array(value)
            if content is not None:
                return int(content)
        if isinstance(value, Num | Choice | Array):
            raise ShapeError(
                f"{what} depends on the state; it must be known before the program runs"
            )
        raise ProgramError("TypeError", f"{what} must be an integer, not {kind_of(value)}")
