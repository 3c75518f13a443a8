"""The admitted functions and types of Python itself, and of `math`."""

import ast
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from reward_codegen.errors import BudgetExceeded, NameNotAdmitted, ShapeError
from reward_codegen.language import classes, numpy_table, text
from reward_codegen.language.core import known
from reward_codegen.language.graph import Node, Truth
from reward_codegen.language.numpy_table import bind, needs
from reward_codegen.language.values import (
    NOTHING,
    Array,
    Bound,
    Builtin,
    Choice,
    Class,
    DictCell,
    ExceptionType,
    ExceptionValue,
    Function,
    Instance,
    IteratorValue,
    ListCell,
    Machine,
    Num,
    ProgramError,
    Selection,
    SetCell,
    Type,
    Value,
    is_known_number,
    kind_of,
)

Args = tuple[Value, ...]
Keywords = dict[str, Value]
Call = Callable[[Machine, Args, Keywords], Value]

EXCEPTIONS: Final[dict[str, tuple[str, ...]]] = {
    # each with the classes that it belongs to
    "BaseException": (),
    "Exception": ("BaseException",),
    **dict.fromkeys(
        ("ArithmeticError", "AssertionError", "AttributeError", "LookupError", "NameError",
         "RuntimeError", "StopIteration", "TypeError", "ValueError", "Warning"),
        ("Exception", "BaseException"),
    ),
    **dict.fromkeys(
        ("ZeroDivisionError", "OverflowError", "FloatingPointError"),
        ("ArithmeticError", "Exception", "BaseException"),
    ),
    **dict.fromkeys(("IndexError", "KeyError"), ("LookupError", "Exception", "BaseException")),
    "UnboundLocalError": ("NameError", "Exception", "BaseException"),
    "NotImplementedError": ("RuntimeError", "Exception", "BaseException"),
    "RecursionError": ("RuntimeError", "Exception", "BaseException"),
    "FrozenInstanceError": ("AttributeError", "Exception", "BaseException"),
    "UFuncTypeError": ("TypeError", "Exception", "BaseException"),
    "AxisError": ("ValueError", "IndexError", "LookupError", "Exception", "BaseException"),
    "LinAlgError": ("ValueError", "Exception", "BaseException"),
    "RuntimeWarning": ("Warning", "Exception", "BaseException"),
    "UserWarning": ("Warning", "Exception", "BaseException"),
}  # fmt: skip
_HIDDEN: Final = frozenset({"UFuncTypeError", "AxisError", "LinAlgError", "FrozenInstanceError"})
TAKE_CHOICES: Final = frozenset({
    "print", "isinstance", "list", "dict", "tuple", "append", "copy", "deepcopy", "no-op",
    "dataclass", "field", "partial", "insert", "setdefault", "get", "update", "extend", "jit",
    "at_method", "cond", "select",
})  # fmt: skip
_MOST_SORTED = 16  # items by a key that depends on the state


# Numbers ------------------------------------------------------------------------------------------


def _scalar(m: Machine, value: Value, what: str) -> Value:
    """A single number, of an array of one entry too."""
    value = m.look(value)
    if isinstance(value, Array) and value.index.size == 1:
        index = np.zeros((), int)
        return m.of_node(m.graph.take(m.node_of(value), index), value.dtype)
    if m.plain_number(value) is None:
        raise ProgramError("TypeError", f"{what} needs a number, not {kind_of(value)}")
    return value


def to_float(m: Machine, args: Args) -> Value:
    """float(x)."""
    if not args:
        return 0.0
    if isinstance(args[0], str):
        return known(float, args[0])
    value = _scalar(m, args[0], "float()")
    if isinstance(value, Num):
        return Num(m.graph.real(value.node), "f", False)
    return known(float, value)


def to_int(m: Machine, args: Args, operation: str = "trunc") -> Value:
    """int(x), math.floor(x), math.ceil(x) and round(x)."""
    if not args:
        return 0
    if isinstance(args[0], str):
        if len(args[0]) > 300:
            raise BudgetExceeded("an integer of so many digits is too large")
        return known(int, args[0])
    value = _scalar(m, args[0], "int()")
    if not isinstance(value, Num):
        function: Any = {"trunc": int, "floor": math.floor, "ceil": math.ceil, "rint": round}
        return known(function[operation], value)
    graph = m.graph
    if value.kind != "f":
        return Num(graph.real(value.node), "i", False)
    nan = graph.known(graph.apply("isnan", value.node))
    m.fail_where(nan, "ValueError", "cannot convert float NaN to integer")
    inf = graph.known(graph.apply("isinf", value.node))
    m.fail_where(inf, "OverflowError", "cannot convert float infinity to integer")
    return Num(graph.apply(operation, value.node), "i", False)


def _abs(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("abs", args, keywords, 1)
    if isinstance(value, Num):
        graph = m.graph
        if value.kind == "b":
            if value.numpy is not False:
                return value
            return Num(graph.real(value.node), "i", False)
        return Num(graph.apply("abs", value.node), value.kind, value.numpy)
    if is_known_number(value):
        return known(abs, value)
    if isinstance(value, Array | Selection):
        return numpy_table.ufunc("abs")(m, (value,), {})
    raise ProgramError("TypeError", f"bad operand type for abs(): {kind_of(value)}")


def _round(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("round", ["number", "ndigits"], args, keywords)
    needs("round", bound, "number")
    value = bound["number"]
    digits = bound.get("ndigits")
    if isinstance(value, Array):
        return numpy_table.around(m, (value, digits or 0), {})
    if digits is None:
        return to_int(m, (value,), "rint")
    places = m.integer(digits, "the number of digits")
    if not isinstance(value, Num):
        return known(round, value, places)
    result = numpy_table.around(m, (value, places), {})
    number = m.plain_number(result)
    assert number is not None
    return Num(number.node, "i" if value.kind == "b" else value.kind, value.numpy)


def _pow(m: Machine, args: Args, keywords: Keywords) -> Value:
    base, exponent = _exactly("pow", args, keywords, 2)
    return m.binary("**", base, exponent)


def _divmod(m: Machine, args: Args, keywords: Keywords) -> Value:
    left, right = _exactly("divmod", args, keywords, 2)
    return m.binary("//", left, right), m.binary("%", left, right)


def _exactly(name: str, args: Args, keywords: Keywords, count: int) -> Args:
    if keywords:
        raise NameNotAdmitted(f"{name} takes no keywords here, as {next(iter(keywords))}")
    if len(args) != count:
        raise ProgramError("TypeError", f"{name} takes {count} arguments, not {len(args)}")
    return args


# Iterables ----------------------------------------------------------------------------------------


def _len(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("len", args, keywords, 1)
    if isinstance(value, Array):
        if value.shape == ():
            raise ProgramError("TypeError", "len() of unsized object")
        return value.shape[0]
    if isinstance(value, str | tuple | range):
        return len(value)
    if isinstance(value, IteratorValue) or m.plain_number(value) is not None or value is None:
        raise ProgramError("TypeError", f"{kind_of(value)} has no len()")
    if isinstance(value, Class) and value.kind == "enum":
        return len(classes.members(value))
    return m.count(m.settled(value))


def sum_(m: Machine, args: Args, keywords: Keywords) -> Value:
    """sum(items, start)."""
    bound = bind("sum", ["iterable", "start"], args, keywords)
    needs("sum", bound, "iterable")
    value, total = bound["iterable"], bound.get("start", 0)
    row = isinstance(value, Array) and len(value.shape) == 1 and value.shape[0] > 3
    if row and m.known_array(value) is None:
        return m.binary("+", total, numpy_table.library("sum")(m, (value,), {}))
    if isinstance(value, Selection):
        part = numpy_table.library("sum")(m, (value,), {})
        number = m.plain_number(part)
        assert number is not None
        return m.binary("+", total, Num(number.node, number.kind, m.any_of(value.mask)))
    first = isinstance(total, int) and total == 0
    for present, item in m.entries(value):
        here = m.settle(present)
        if here is False:
            continue
        plain = first and isinstance(item, Num) and item.kind != "b" and here is True
        added = (
            item if plain else m.branch(here, partial(m.binary, "+", total, item), lambda: NOTHING)
        )
        total = added if here is True else m.merge(here, added, total)
        first = False
    return total


def extreme(symbol: str) -> Call:
    """max and min."""

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        name = "max" if symbol == ">" else "min"
        for key in keywords:
            if key not in ("key", "default"):
                raise NameNotAdmitted(f"the keyword {key} of {name} is not admitted")
        function = keywords.get("key")
        if not args:
            raise ProgramError("TypeError", f"{name} expected at least 1 argument, got 0")
        if len(args) == 1:
            value = args[0]
            if (isinstance(value, Array) and len(value.shape) == 1 and value.shape[0] > 128
                    and function is None):  # fmt: skip
                return numpy_table.library(name)(m, (value,), {})
            entries = m.settled(value)
        else:
            entries = [(True, arg) for arg in args]
        best: Value = NOTHING
        measure: Value = NOTHING
        found: Truth = False
        for present, item in entries:
            size = item if function is None else m.call(function, (item,), {})
            if best is NOTHING:
                best, measure, found = item, size, present
                continue
            if found is True:
                better = m.truth(m.binary(symbol, size, measure))
            else:

                def compare(size: Value = size, measure: Value = measure) -> Value:
                    return m.as_value(m.truth(m.binary(symbol, size, measure)))

                better = m.truth(m.branch(found, compare, lambda: True))
            better = m.settle(m.graph.and_(present, better))
            best = m.merge(better, item, best)
            measure = m.merge(better, size, measure)
            found = m.settle(m.graph.or_(found, present))
        if "default" in keywords:
            return (
                keywords["default"]
                if best is NOTHING
                else m.merge(found, best, keywords["default"])
            )
        m.fail_where(m.graph.not_(found), "ValueError", f"{name}() of nothing does not exist")
        return best

    return call


def _any(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("any", args, keywords, 1)
    result: Truth = False
    for present, item in m.entries(value):
        here = m.settle(present)
        if here is not False:
            result = m.graph.or_(result, m.graph.and_(here, m.truth(item)))
        if result is True:
            break
    return m.as_value(result)


def _all(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("all", args, keywords, 1)
    result: Truth = True
    for present, item in m.entries(value):
        here = m.settle(present)
        if here is not False:
            holds = m.graph.or_(m.graph.not_(here), m.truth(item))
            result = m.graph.and_(result, holds)
        if result is False:
            break
    return m.as_value(result)


def _lazy_any(m: Machine, node: ast.GeneratorExp) -> Value:
    stops, _ = m.short_circuit(node, m.truth)
    return _found(m, stops)


def _lazy_all(m: Machine, node: ast.GeneratorExp) -> Value:
    stops, _ = m.short_circuit(node, lambda item: m.graph.not_(m.truth(item)))
    found = m.truth(_found(m, stops))
    return m.as_value(m.graph.not_(found))


def _found(m: Machine, stops: list[tuple[Truth, Value]]) -> Value:
    found: Truth = False
    for condition, _ in stops:
        found = m.graph.or_(found, condition)
    return m.as_value(m.settle(found))


def _lazy_next(m: Machine, node: ast.GeneratorExp, *default: Value) -> Value:
    stops, _ = m.short_circuit(node, lambda item: True)
    return _first(m, stops, default)


def _first(m: Machine, entries: list[tuple[Truth, Value]], default: Args) -> Value:
    found: Truth = False
    for condition, _ in entries:
        found = m.graph.or_(found, condition)
    if not default:
        m.fail_where(m.graph.not_(found), "StopIteration", "next() finds no item")
    result: Value = default[0] if default else NOTHING
    for condition, item in reversed(entries):
        result = item if result is NOTHING else m.merge(condition, item, result)
    return result


LAZY: Final[dict[str, Callable[..., Value]]] = {
    "any": _lazy_any, "all": _lazy_all, "next": _lazy_next,
}  # fmt: skip


def _next(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or not 1 <= len(args) <= 2:
        raise ProgramError("TypeError", "next takes an iterator and a default")
    iterator = args[0]
    if not isinstance(iterator, IteratorValue):
        raise ProgramError("TypeError", f"{kind_of(iterator)} is not an iterator")
    for present, item in m.entries(iterator):
        if m.settle(present) is not True:
            raise ShapeError(
                "which item comes next depends on the state; use next((... for ...), x)"
            )
        return item
    if len(args) == 2:
        return args[1]
    raise ProgramError("StopIteration", "next() finds no item")


def iterator(m: Machine, entries: Any) -> IteratorValue:
    """What can be iterated over once."""
    return IteratorValue(iter(entries), m.here.full)


def _iter(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("iter", args, keywords, 1)
    return value if isinstance(value, IteratorValue) else iterator(m, m.entries(value))


def _range(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or not 1 <= len(args) <= 3:
        raise ProgramError("TypeError", "range takes 1 to 3 integers")
    value = known(range, *(m.integer(a, "the length of this range") for a in args))
    m.budget.elements(known(len, value), "a range")
    return value


def _enumerate(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("enumerate", ["iterable", "start"], args, keywords)
    needs("enumerate", bound, "iterable")
    start = m.integer(bound.get("start", 0), "the start")
    entries = m.settled(bound["iterable"])
    found = []
    for place, (present, item) in enumerate(entries):
        number = m.count([(p, None) for p, _ in entries[:place]])
        found.append((present, (m.binary("+", number, start), item)))
    return iterator(m, found)


def _zip(m: Machine, args: Args, keywords: Keywords) -> Value:
    strict = keywords.pop("strict", False) if set(keywords) <= {"strict"} else None
    if strict is None:
        raise NameNotAdmitted("of the keywords of zip, strict is admitted")
    columns = [m.compact(m.settled(arg)) for arg in args]
    if strict is True:
        if any(p is not True for column in columns for p, _ in column):
            raise ShapeError("zip(strict=True) of lists whose length depends on the state")
        if len({len(column) for column in columns}) > 1:
            raise ProgramError("ValueError", "zip() arguments have different lengths")
    found = []
    for row in zip(*columns, strict=False):
        present: Truth = True
        for there, _ in row:
            present = m.graph.and_(present, there)
        found.append((present, tuple(item for _, item in row)))
    return iterator(m, found)


def _map(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or len(args) < 2:
        raise ProgramError("TypeError", "map takes a function and iterables")
    function, *iterables = args
    if len(iterables) == 1:
        rows = [(p, (item,)) for p, item in m.settled(iterables[0])]
    else:
        rows = list(m.entries(_zip(m, tuple(iterables), {})))
    found = []
    for present, row in rows:
        value = m.branch(present, partial(m.call, function, row, {}), lambda: NOTHING)
        found.append((present, value))
    return iterator(m, found)


def _filter(m: Machine, args: Args, keywords: Keywords) -> Value:
    function, iterable = _exactly("filter", args, keywords, 2)
    found = []
    for present, item in m.settled(iterable):

        def test(item: Value = item) -> Value:
            kept = item if function is None else m.call(function, (item,), {})
            return m.as_value(m.truth(kept))

        truth = m.truth(m.branch(present, test, lambda: False))
        here = m.settle(m.graph.and_(present, truth))
        if here is not False:
            found.append((here, item))
    return iterator(m, found)


def _reversed(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("reversed", args, keywords, 1)
    if isinstance(value, IteratorValue | SetCell):
        raise ProgramError("TypeError", f"{kind_of(value)} is not reversible")
    return iterator(m, m.settled(value)[::-1])


def sorted_(m: Machine, args: Args, keywords: Keywords) -> ListCell:
    """sorted(items, key=, reverse=)."""
    bound = bind("sorted", ["iterable", "key", "reverse"], args[:1], keywords)
    needs("sorted", bound, "iterable")
    if len(args) > 1:
        raise ProgramError("TypeError", "sorted expected 1 argument")
    function = m.look(bound.get("key"))
    reverse = m.truth(bound.get("reverse", False))
    if not isinstance(reverse, bool):
        raise ShapeError("the order of sorting depends on the state")
    entries = m.settled(bound["iterable"])
    items = [item for _, item in entries]
    keys = items if function is None else [m.call(function, (item,), {}) for item in items]
    sure = all(present is True for present, _ in entries)
    plain: Any = None
    if sure:
        try:
            plain = [text.plain(m, key) for key in keys]
        except KeyError:
            plain = None
    if plain is not None and not any(isinstance(k, np.ndarray) for k in plain):
        order = known(sorted, range(len(items)), key=lambda i: plain[i], reverse=reverse)
        return m.make_list([items[i] for i in order])
    numbers = [m.plain_number(m.look(item)) for item in items]
    if function is None and all(number is not None for number in numbers):
        return _sorted_numbers(m, entries, numbers, reverse)
    if not sure or len(items) > _MOST_SORTED:
        raise ShapeError(
            f"sorting by a key that depends on the state is admitted for up to {_MOST_SORTED} items"
        )
    # Neighbours change places until none is out of order: equal ones never do.
    rows = list(zip(keys, items, strict=True))
    symbol = ">" if reverse else "<"
    for end in range(len(rows) - 1, 0, -1):
        for k in range(end):
            swap = m.truth(m.binary(symbol, rows[k + 1][0], rows[k][0]))
            first, second = rows[k], rows[k + 1]
            rows[k] = tuple(m.merge(swap, b, a) for a, b in zip(first, second, strict=True))
            rows[k + 1] = tuple(m.merge(swap, a, b) for a, b in zip(first, second, strict=True))
    return m.make_list([item for _, item in rows])


def _sorted_numbers(m: Machine, entries: Any, numbers: Any, reverse: bool) -> ListCell:
    graph = m.graph
    kinds = {number.kind for number in numbers}
    numpys = {number.numpy if isinstance(number.numpy, bool) else None for number in numbers}
    if len(kinds) > 1 or None in numpys:
        kinds.discard("b")
    numpy = numpys.pop() if len(numpys) == 1 else True
    far = graph.constant(-math.inf if reverse else math.inf)
    nodes = [
        graph.real(n.node) if p is True else graph.select(p, graph.real(n.node), far)
        for (p, _), n in zip(entries, numbers, strict=True)
    ]
    stacked = graph.stack(nodes, (len(nodes),))
    node = graph.library("sort", ((("node", 0),), ()), (stacked,), stacked.shape, False)
    places = range(len(nodes))[::-1] if reverse else range(len(nodes))
    kind = "f" if "f" in kinds else "i"
    items = [Num(graph.take(node, np.asarray(k)), kind, bool(numpy)) for k in places]
    if all(present is True for present, _ in entries):
        return m.make_list(items)
    total = m.plain_number(m.count(entries))
    assert total is not None
    found = []
    for place, item in enumerate(items):
        there = graph.known(graph.apply("gt", total.node, graph.constant(float(place))))
        found.append((m.settle(there), item))
    return m.list_of(tuple(found))


# Types --------------------------------------------------------------------------------------------


def is_instance(m: Machine, value: Value, type_: Value) -> Truth:
    """Whether a value is one of a type."""
    value = m.look(value)
    if isinstance(value, Choice):
        found = m.distribute(value, lambda part: m.as_value(is_instance(m, part, type_)))
        return m.truth(found)
    if isinstance(type_, tuple):
        result: Truth = False
        for part in type_:
            result = m.graph.or_(result, is_instance(m, value, part))
        return result
    if isinstance(type_, Class):
        return isinstance(value, Instance) and _descends(value.type, type_)
    if isinstance(type_, ExceptionType):
        return isinstance(value, ExceptionValue) and type_.name in (
            value.type.name,
            *value.type.bases,
        )
    if not isinstance(type_, Type):
        raise ProgramError("TypeError", "isinstance() arg 2 must be a type or a tuple of types")
    number = m.plain_number(value)
    if number is not None:
        return _number_is(m, number, value, type_.name)
    return {
        "ndarray": isinstance(value, Array), "list": isinstance(value, ListCell),
        "dict": isinstance(value, DictCell), "set": isinstance(value, SetCell),
        "tuple": isinstance(value, tuple) or (
            isinstance(value, Instance) and value.type.kind == "tuple"),
        "str": isinstance(value, str), "object": True, "NoneType": value is None,
    }.get(type_.name, False)  # fmt: skip


def _descends(class_: Class, wanted: Class) -> bool:
    return class_ is wanted or any(_descends(base, wanted) for base in class_.bases)


def _number_is(m: Machine, number: Num, value: Value, name: str) -> Truth:
    numpy, python = number.numpy, m.graph.not_(number.numpy)
    kind = number.kind
    if isinstance(value, np.generic) and name in ("float64", "float32", "int64", "int32", "double"):
        return value.dtype == np.dtype(name)
    return {
        "float": kind == "f",
        "int": python if kind in "ib" else False,
        "bool": python if kind == "b" else False,
        "float64": numpy if kind == "f" else False, "floating": numpy if kind == "f" else False,
        "int64": numpy if kind == "i" else False, "integer": numpy if kind == "i" else False,
        "bool_": numpy if kind == "b" else False, "generic": numpy,
        "number": numpy if kind in "fi" else False, "object": True,
        "Number": True, "Real": True,
    }.get(name, False)  # fmt: skip


def construct(m: Machine, type_: Type, args: Args, keywords: Keywords) -> Value:
    """Call a type."""
    name = type_.name
    if name in ("float", "int", "bool") and keywords:
        raise NameNotAdmitted(f"{name} takes no keywords here")
    if name == "int" and len(args) == 2 and isinstance(args[0], str) and len(args[0]) < 300:
        return known(int, args[0], m.integer(args[1], "the base"))
    if len(args) > 1 and name != "dict":
        raise ShapeError(f"{name} takes one argument here")
    match name:
        case "float":
            return to_float(m, args)
        case "int":
            return to_int(m, args)
        case "bool":
            return m.as_value(m.truth(args[0])) if args else False
        case "str":
            return text.formatted(m, args[0], "", "s") if args else ""
        case "dict":
            return _dict(m, args, keywords)
        case "list" | "tuple" | "set":
            return _collection(m, name, args, keywords)
        case "object":
            return Instance(Class("object"), {}, m.birth(), m.in_module)
    if name in numpy_table._DTYPES and args and not keywords:
        if isinstance(args[0], str):
            return known(getattr(np, name), known(float, args[0]))
        return _numpy_scalar(m, numpy_table.cast(m, args[0], numpy_table.number_type(m, type_)))
    raise NameNotAdmitted(f"calling {name} is not admitted; use np.array")


def _numpy_scalar(m: Machine, value: Value) -> Value:
    if isinstance(value, Array) and value.shape == ():
        return m.of_node(m.node_of(value), value.dtype)
    return value


def _collection(m: Machine, name: str, args: Args, keywords: Keywords) -> Value:
    if keywords:
        raise NameNotAdmitted(f"{name} takes no keywords")
    if args and isinstance(args[0], Class) and args[0].kind == "enum":
        entries: Any = [(True, member) for member in classes.members(args[0])]
    else:
        entries = m.settled(args[0]) if args else []
    if name == "list":
        return m.list_of(tuple(entries))
    if name == "set":
        return m.set_of(entries)
    if any(present is not True for present, _ in entries):
        raise ShapeError("the length of this tuple depends on the state; use a list")
    return tuple(item for _, item in entries)


def _dict(m: Machine, args: Args, keywords: Keywords) -> Value:
    content: dict[Any, tuple[Truth, Value]] = {}
    if args:
        source = m.look(args[0])
        if isinstance(source, DictCell):
            content.update(source.content)
        else:
            for present, pair in m.settled(source):
                parts = m.items(pair)
                if len(parts) != 2:
                    raise ProgramError("ValueError", "a dict is made from pairs")
                m.put_entry(content, m.key(parts[0]), present, parts[1])
    for key, value in keywords.items():
        content[key] = (True, value)
    return m.make_dict(content)


def _isinstance(m: Machine, args: Args, keywords: Keywords) -> Value:
    value, type_ = _exactly("isinstance", args, keywords, 2)
    return m.as_value(is_instance(m, value, type_))


def _callable(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("callable", args, keywords, 1)
    return isinstance(value, Function | Builtin | Class | Type | Bound | ExceptionType)


def no_op(what: str) -> Call:
    """A function that only tells somebody something."""

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        note = f"{what} does nothing in a reward"
        if note not in m.notes:
            m.notes.append(note)
        return None

    return call


def _of_known(name: str) -> Call:
    """A function of known numbers and strings: Python's own."""
    function: Any = {"ord": ord, "chr": chr, "bin": bin, "hex": hex, "repr": repr}[name]

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        (value,) = _exactly(name, args, keywords, 1)
        try:
            plain = text.plain(m, value)
        except KeyError:
            if name == "repr":
                return text.StateText()
            raise ShapeError(f"{name} of a value that depends on the state") from None
        return known(function, plain)

    return call


def _slice(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or not 1 <= len(args) <= 3:
        raise ProgramError("TypeError", "slice takes 1 to 3 arguments")
    return slice(*args)


# math ---------------------------------------------------------------------------------------------

_DOMAINS: Final[dict[str, tuple[float, float, bool]]] = {
    "sqrt": (0.0, math.inf, False), "log": (0.0, math.inf, True), "log2": (0.0, math.inf, True),
    "log10": (0.0, math.inf, True), "log1p": (-1.0, math.inf, True),
    "asin": (-1.0, 1.0, False), "acos": (-1.0, 1.0, False), "acosh": (1.0, math.inf, False),
    "atanh": (-1.0, 1.0, True),
}  # fmt: skip
_MATH_UNARY: Final = {
    **{name: name for name in "sqrt cbrt exp exp2 expm1 log2 log10 log1p".split()},
    **{name: name for name in "sin cos tan sinh cosh tanh".split()},
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "fabs": "abs", "erf": "erf",
}  # fmt: skip
_OVERFLOWS: Final = frozenset({"exp", "exp2", "expm1", "sinh", "cosh"})
_MATH_BINARY: Final = {"atan2": "arctan2", "copysign": "copysign", "fmod": "fmod",
                       "remainder": "remainder"}  # fmt: skip


def _math_unary(name: str) -> Call:
    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        (value,) = _exactly(f"math.{name}", args, keywords, 1)
        return _math_value(m, name, value)

    return call


def _math_value(m: Machine, name: str, value: Value) -> Value:
    value = _scalar(m, value, f"math.{name}")
    if not isinstance(value, Num):
        return known(getattr(math, name), value)
    graph = m.graph
    node = graph.real(value.node)
    _in_domain(m, name, node)
    if name in ("sin", "cos", "tan"):
        inf = graph.known(graph.apply("isinf", node))
        m.fail_where(inf, "ValueError", "math domain error")
    result = graph.apply(_MATH_UNARY.get(name, name), node)
    if name in _OVERFLOWS:
        over = graph.and_(
            graph.known(graph.apply("isinf", result)), graph.known(graph.apply("isfinite", node))
        )
        m.fail_where(over, "OverflowError", "math range error")
    return Num(result, "f", False)


def _in_domain(m: Machine, name: str, node: Node) -> None:
    if name in _DOMAINS:
        low, high, excluded = _DOMAINS[name]
        graph = m.graph
        outside = graph.apply("le" if excluded else "lt", node, graph.constant(low))
        if high != math.inf:
            above = graph.apply("ge" if excluded else "gt", node, graph.constant(high))
            outside = graph.apply("or", outside, above)
        m.fail_where(graph.known(outside), "ValueError", "math domain error")


def _math_binary(name: str) -> Call:
    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        values = [
            _scalar(m, v, f"math.{name}") for v in _exactly(f"math.{name}", args, keywords, 2)
        ]
        if not any(isinstance(value, Num) for value in values):
            return known(getattr(math, name), *values)
        graph = m.graph
        x, y = (graph.real(m.plain_number(value).node) for value in values)
        if name in ("fmod", "remainder"):
            zero = graph.known(graph.apply("eq", y, graph.constant(0.0)))
            inf = graph.known(graph.apply("isinf", x))
            m.fail_where(graph.or_(zero, inf), "ValueError", "math domain error")
        return Num(graph.apply(_MATH_BINARY[name], x, y), "f", False)

    return call


def _math_log(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords or not 1 <= len(args) <= 2:
        raise ProgramError("TypeError", "log expected 1 or 2 arguments")
    values = [_math_value(m, "log", arg) for arg in args]
    return values[0] if len(values) == 1 else m.binary("/", *values)


def _math_whole(name: str) -> Call:
    operation = {"floor": "floor", "ceil": "ceil", "trunc": "trunc"}[name]

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        (value,) = _exactly(f"math.{name}", args, keywords, 1)
        if isinstance(value, str):
            raise ProgramError("TypeError", "must be real number, not str")
        return to_int(m, (value,), operation)

    return call


def _math_test(name: str) -> Call:
    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        (value,) = _exactly(f"math.{name}", args, keywords, 1)
        value = _scalar(m, value, f"math.{name}")
        if not isinstance(value, Num):
            return known(getattr(math, name), value)
        return m.as_value(m.graph.known(m.graph.apply(name, value.node)))

    return call


def _math_pow(m: Machine, args: Args, keywords: Keywords) -> Value:
    base, exponent = (to_float(m, (v,)) for v in _exactly("math.pow", args, keywords, 2))
    if not isinstance(base, Num) and not isinstance(exponent, Num):
        return known(math.pow, base, exponent)
    error = ProgramError("ValueError", "math domain error")
    a, b = m.plain_number(base), m.plain_number(exponent)
    assert a is not None and b is not None
    graph = m.graph
    zero = graph.and_(
        graph.known(graph.apply("eq", a.node, graph.constant(0.0))),
        graph.known(graph.apply("lt", b.node, graph.constant(0.0))),
    )
    broken = graph.known(graph.apply("ne", graph.apply("floor", b.node), b.node))
    below = graph.known(graph.apply("lt", a.node, graph.constant(0.0)))
    m.fail_where(graph.or_(zero, graph.and_(below, broken)), error.name, error.message)
    return m.binary("**", base, exponent)


def _math_degrees(factor: float, name: str) -> Call:
    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        (value,) = _exactly(f"math.{name}", args, keywords, 1)
        value = to_float(m, (value,))
        if not isinstance(value, Num):
            return known(getattr(math, name), value)
        return m.binary("*", value, factor)

    return call


def _math_hypot(m: Machine, args: Args, keywords: Keywords) -> Value:
    if keywords:
        raise NameNotAdmitted("math.hypot takes no keywords")
    return _norm(m, [_scalar(m, arg, "math.hypot") for arg in args])


def _norm(m: Machine, values: list[Value]) -> Value:
    if not any(isinstance(value, Num) for value in values):
        return known(math.hypot, *values)
    total: Value = NOTHING
    for value in values:
        number = m.plain_number(value)
        assert number is not None
        square = m.graph.apply("square", number.node)
        total = square if total is NOTHING else m.graph.apply("add", total, square)
    return Num(m.graph.apply("sqrt", total), "f", False)


def _math_dist(m: Machine, args: Args, keywords: Keywords) -> Value:
    p, q = (m.items(value) for value in _exactly("math.dist", args, keywords, 2))
    if len(p) != len(q):
        raise ProgramError("ValueError", "both points must have the same number of dimensions")
    return _norm(
        m, [m.binary("-", to_float(m, (a,)), to_float(m, (b,))) for a, b in zip(p, q, strict=True)]
    )


def _math_isclose(m: Machine, args: Args, keywords: Keywords) -> Value:
    bound = bind("math.isclose", ["a", "b", "rel_tol", "abs_tol"], args, keywords)
    needs("math.isclose", bound, "a", "b")
    if len(args) > 2:
        raise ProgramError("TypeError", "isclose() takes 2 positional arguments")
    values = [to_float(m, (bound.get(k, d),)) for k, d in
              (("a", 0.0), ("b", 0.0), ("rel_tol", 1e-9), ("abs_tol", 0.0))]  # fmt: skip
    a, b, rel, abs_ = values
    if not any(isinstance(value, Num) for value in values):
        return known(math.isclose, a, b, rel_tol=rel, abs_tol=abs_)
    nodes = [m.plain_number(value).node for value in values]
    graph = m.graph
    gap = graph.apply("abs", graph.apply("sub", nodes[0], nodes[1]))
    size = graph.apply("max", graph.apply("abs", nodes[0]), graph.apply("abs", nodes[1]))
    limit = graph.apply("max", graph.apply("mul", nodes[2], size), nodes[3])
    near = graph.apply("and", graph.apply("le", gap, limit), graph.apply("isfinite", gap))
    return m.as_value(graph.known(graph.apply("or", near, graph.apply("eq", nodes[0], nodes[1]))))


def _math_known(name: str) -> Call:
    """Functions of known integers."""

    def call(m: Machine, args: Args, keywords: Keywords) -> Value:
        if keywords:
            raise NameNotAdmitted(f"math.{name} takes no keywords")
        values = [m.integer(arg, f"the argument of math.{name}") for arg in args]
        if any(abs(value) > 150 for value in values) and name in ("factorial", "comb", "perm"):
            m.budget.integer_bits(100_000)
        return known(getattr(math, name), *values)

    return call


def _math_sum(m: Machine, args: Args, keywords: Keywords) -> Value:
    (value,) = _exactly("math.fsum", args, keywords, 1)
    return to_float(m, (sum_(m, (value, 0.0), {}),))


def prod(m: Machine, args: Args, keywords: Keywords) -> Value:
    """math.prod."""
    bound = bind("math.prod", ["iterable", "start"], args, keywords)
    total = bound.get("start", 1)
    for item in m.items(bound["iterable"]):
        total = m.binary("*", total, item)
    return total


MATH: Final[dict[str, Value]] = {
    "pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan, "tau": math.tau,
    **{name: Builtin(f"math.{name}", call) for name, call in {
        **{name: _math_unary(name) for name in _MATH_UNARY},
        **{name: _math_binary(name) for name in _MATH_BINARY},
        **{name: _math_whole(name) for name in ("floor", "ceil", "trunc")},
        **{name: _math_test(name) for name in ("isnan", "isinf", "isfinite")},
        **{name: _math_known(name) for name in
           ("factorial", "comb", "perm", "gcd", "lcm", "isqrt")},
        "log": _math_log, "pow": _math_pow, "hypot": _math_hypot, "dist": _math_dist,
        "isclose": _math_isclose, "fsum": _math_sum, "prod": prod,
        "radians": _math_degrees(math.pi / 180, "radians"),
        "degrees": _math_degrees(180 / math.pi, "degrees"),
    }.items()},
}  # fmt: skip

# Names --------------------------------------------------------------------------------------------

_FUNCTIONS: Final[dict[str, Call]] = {
    "abs": _abs, "all": _all, "any": _any, "callable": _callable, "divmod": _divmod,
    "enumerate": _enumerate, "filter": _filter, "isinstance": _isinstance, "iter": _iter,
    "len": _len, "map": _map, "max": extreme(">"), "min": extreme("<"), "next": _next,
    "pow": _pow, "print": no_op("print"), "range": _range, "reversed": _reversed,
    **{name: _of_known(name) for name in ("ord", "chr", "bin", "hex", "repr")},
    "round": _round, "slice": _slice, "sorted": sorted_, "sum": sum_, "zip": _zip,
}  # fmt: skip
BUILTINS: Final[dict[str, Value]] = {
    **{name: ExceptionType(name, bases) for name, bases in EXCEPTIONS.items()
       if name not in _HIDDEN},
    **{name: Type(name) for name in
       ("float", "int", "bool", "str", "list", "tuple", "dict", "set", "object")},
    **{name: Builtin(name, call) for name, call in _FUNCTIONS.items()},
    "frozenset": Type("set"), "Ellipsis": Ellipsis, "__name__": "reward",
}  # fmt: skip


def builtin(name: str) -> Value:
    """One of Python's own names.

    Raises:
        NameNotAdmitted: it is unknown or not admitted.
    """
    if name in BUILTINS:
        return BUILTINS[name]
    raise NameNotAdmitted(f"the name {name} is not defined; define or import it")
