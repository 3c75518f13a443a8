"""Python's own functions."""

from functools import reduce

import numpy as np

from reward_codegen.arguments import Arguments, Call, Keywords, bind_arguments, number_kind
from reward_codegen.array_functions import of_masked, rounded
from reward_codegen.conversions import to_int
from reward_codegen.errors import ShapeError
from reward_codegen.machine import Machine
from reward_codegen.tables import EXCEPTIONS
from reward_codegen.values import (
    Array,
    Builtin,
    DictValue,
    DType,
    ExceptionType,
    Function,
    Kind,
    ListValue,
    Masked,
    Record,
    RecordType,
    SetValue,
    Value,
    is_number,
    is_traced,
)


def builtin(name: str) -> Value | None:
    """One of Python's own names, None if it is unknown or not admitted."""
    return _BUILTINS.get(name)


def builtin_names() -> frozenset[str]:
    """Python's own names that are admitted."""
    return frozenset(_BUILTINS)


def _abs(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return machine.unary("abs", *arguments)


def _len(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    (value,) = map(machine.decide, arguments)
    if isinstance(value, Masked):
        return machine.backend.apply("sum", value.mask)
    if isinstance(value, Array):
        return value.shape[0]
    if isinstance(value, ListValue):
        entries = machine.entries(value)
        surely = sum(there is None for there, _ in entries)
        return reduce(
            lambda count, there: machine.binary("+", count, there),
            [there for there, _ in entries if there is not None],
            surely,
        )
    if isinstance(value, DictValue | SetValue):
        return len(machine.content(value))
    if isinstance(value, range | str | tuple):
        return len(value)
    return len(machine.items(value))


def _extreme(operator: str) -> Call:
    def call(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
        key = keywords.get("key")

        def measure(value: Value) -> Value:
            return value if key is None else machine.invoke(key, (value,), {})

        if len(arguments) > 1:
            entries = tuple((None, argument) for argument in arguments)
        else:
            entries = machine.entries(arguments[0])
        found: Value = False
        best: Value = None
        for there, value in entries:
            better: Value = True
            if best is not None:
                better = machine.truth(machine.binary(operator, measure(value), measure(best)))
                better = machine.any_of([better, machine.not_(found)])
            better = machine.all_of([True if there is None else there, better])
            if best is None:
                best = value
            elif is_traced(better):
                best = machine.merge(better, value, best)
            elif better:
                best = value
            found = machine.any_of([found, True if there is None else there])
        if "default" in keywords:
            return (
                machine.merge(found, best, keywords["default"])
                if is_traced(found)
                else (best if found else keywords["default"])
            )
        machine.fail_where(
            machine.not_(found), "ValueError", "the smallest or largest of nothing does not exist"
        )
        return best

    return call


def _next(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    """The first item of a generator expression; `names` admits no other argument."""
    generator, *default = arguments
    entries = machine.entries(generator)
    if not default:
        found = machine.any_of(True if there is None else there for there, _ in entries)
        message = "next() finds no item; give it a default, as in next(items, 0.0)"
        machine.fail_where(machine.not_(found), "StopIteration", message)
    result = default[0] if default else entries[-1][1]
    for there, item in reversed(entries):
        result = item if there is None else machine.merge(there, item, result)
    return result


def sum_(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    start = arguments[1] if len(arguments) > 1 else keywords.get("start", 0)
    value = machine.decide(arguments[0])
    if isinstance(value, Masked):
        return machine.binary("+", start, of_masked(machine, "sum", (value,), {}))
    total = start
    from_nothing = not is_traced(start) and is_number(start) and start == 0
    for there, item in machine.entries(value):
        # Nothing is added to the first: 0 + x is x.
        first = total is start and from_nothing and is_traced(item) and item.dtype != bool
        added = item if first else machine.binary("+", total, item)
        total = added if there is None else machine.merge(there, added, total)
    return total


def product(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    items = machine.items(arguments[0])
    return reduce(lambda a, b: machine.binary("*", a, b), items, keywords.get("start", 1))


def _any(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return machine.any_of(
        machine.truth(item) if there is None else machine.all_of([there, machine.truth(item)])
        for there, item in machine.entries(arguments[0])
    )


def _all(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return machine.all_of(
        machine.truth(item)
        if there is None
        else machine.any_of([machine.negate(there), machine.truth(item)])
        for there, item in machine.entries(arguments[0])
    )


def _range(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    value = range(*(machine.integer(a, "the length of this range") for a in arguments))
    machine.budget.elements(len(value), "a range")
    return value


def _enumerate(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "iterable", "start")
    start = machine.integer(bound.get("start", 0), "the start")
    return tuple((start + i, item) for i, item in enumerate(machine.items(bound["iterable"])))


def _zip(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return tuple(zip(*(machine.items(a) for a in arguments), strict=bool(keywords.get("strict"))))


def _map(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, *iterables = arguments
    rows = zip(*(machine.items(iterable) for iterable in iterables), strict=False)
    return tuple(machine.invoke(function, row, {}) for row in rows)


def _filter(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    function, iterable = arguments
    kept = []
    for item in machine.items(iterable):
        truth = machine.truth(item if function is None else machine.invoke(function, (item,), {}))
        if is_traced(truth):
            raise ShapeError(
                "which items remain depends on the state, so their number is not known; "
                "use a sum with np.where"
            )
        if truth:
            kept.append(item)
    return tuple(kept)


def sorted_(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    items = machine.items(arguments[0])
    key = keywords.get("key")
    reverse = bool(keywords.get("reverse", False))
    keys = [item if key is None else machine.invoke(key, (item,), {}) for item in items]
    if any(is_traced(k) for k in keys):
        if key is not None or not items:
            raise ShapeError("sorting by a key that depends on the state is not admitted")
        content = machine.backend.apply("sort", machine.array(machine.make_list(items)))
        ordered = machine.items(machine.wrap(content))
        return machine.make_list(reversed(ordered) if reverse else ordered)
    order = sorted(range(len(items)), key=lambda i: keys[i], reverse=reverse)
    return machine.make_list(items[i] for i in order)


def _round(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    bound = bind_arguments(arguments, keywords, "number", "ndigits")
    number = machine.array(bound["number"])
    digits = bound.get("ndigits")
    if digits is None:
        whole = machine.backend.apply("round", number)
        return to_int(machine, whole) if np.ndim(whole) == 0 else machine.wrap(whole)
    return rounded(machine, (bound["number"], digits), {})


def _pow(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    if len(arguments) != 2:
        raise TypeError("pow takes two numbers here")
    return machine.binary("**", *arguments)


def _divmod(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return (machine.binary("//", *arguments), machine.binary("%", *arguments))


def _reversed(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return tuple(reversed(machine.items(arguments[0])))


def _isinstance(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    value = machine.decide(arguments[0])
    types = arguments[1] if isinstance(arguments[1], tuple) else (arguments[1],)
    return any(is_instance(value, type_) for type_ in types)


def is_instance(value: Value, type_: Value) -> bool:
    """Whether a value is one of a type."""
    if isinstance(type_, RecordType):
        return isinstance(value, Record) and value.type is type_
    if isinstance(type_, DType):
        if isinstance(value, bool | np.bool_) or (is_traced(value) and value.dtype == bool):
            return type_.kind == "b" or (type_.kind == "i" and isinstance(value, bool))
        if not is_number(value):
            return False
        kind = number_kind(value)
        return kind == type_.kind
    if isinstance(type_, Kind):
        match type_.name:
            case "ndarray":
                return isinstance(value, Array)
            case "list":
                return isinstance(value, ListValue)
            case "dict":
                return isinstance(value, DictValue)
            case "tuple":
                return isinstance(value, tuple)
            case "str":
                return isinstance(value, str)
            case "number" | "floating" | "generic" | "integer":
                return is_number(value) and not isinstance(value, bool | int | float)
    return False


def _print(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    note = "print does nothing in a reward"
    if note not in machine.notes:
        machine.notes.append(note)
    return None


def _callable(machine: Machine, arguments: Arguments, keywords: Keywords) -> Value:
    return isinstance(arguments[0], Function | Builtin | RecordType | DType)


_FLOAT = DType("float64", "f", python=True)


_INT = DType("int64", "i", python=True)


_BOOL = DType("bool", "b", 8, python=True)


_BUILTINS: dict[str, Value] = {
    **{name: ExceptionType(name) for name in EXCEPTIONS if name != "LinAlgError"},
    **{name: Kind(name) for name in ("list", "tuple", "dict", "set", "str", "object", "type")},
    **{
        name: Builtin(name, call)
        for name, call in {
            "abs": _abs,
            "all": _all,
            "any": _any,
            "callable": _callable,
            "divmod": _divmod,
            "enumerate": _enumerate,
            "filter": _filter,
            "isinstance": _isinstance,
            "len": _len,
            "map": _map,
            "max": _extreme(">"),
            "min": _extreme("<"),
            "next": _next,
            "pow": _pow,
            "print": _print,
            "range": _range,
            "reversed": _reversed,
            "round": _round,
            "sorted": sorted_,
            "sum": sum_,
            "zip": _zip,
        }.items()
    },
    "float": _FLOAT,
    "int": _INT,
    "bool": _BOOL,
    "frozenset": Kind("set"),
    "Ellipsis": Ellipsis,
    "__name__": "reward",
}
