"""The admitted attributes and methods of values."""

import math
from typing import Any, Final

import numpy as np

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.language import (
    classes,
    jax_table,
    modules,
    numpy_table,
    python_table,
    rotation,
    text,
)
from reward_codegen.language.core import known
from reward_codegen.language.graph import Truth
from reward_codegen.language.values import (
    NOTHING,
    UNDEFINED,
    Array,
    Builtin,
    Choice,
    Class,
    DictCell,
    DictView,
    ExceptionValue,
    Instance,
    ListCell,
    Machine,
    Module,
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

# Methods that are the function of the same name.
ARRAY_FUNCTIONS: Final = frozenset(
    "sum prod mean std var min max any all argmin argmax cumsum cumprod round clip dot repeat "
    "swapaxes take trace diagonal argsort ravel squeeze transpose".split()
)
ARRAY_METHODS: Final = frozenset("copy flatten reshape astype item tolist fill sort".split())
ARRAY_FACTS: Final = frozenset("shape size ndim T dtype at real flat".split())
LIST_METHODS: Final = frozenset(
    "append extend insert pop remove index count reverse sort copy clear".split()
)
DICT_METHODS: Final = frozenset("get items keys values update setdefault pop copy clear".split())
STRING_METHODS: Final = frozenset(
    "format join lower upper strip lstrip rstrip startswith endswith replace split title "
    "capitalize isdigit isalpha islower isupper isnumeric isspace swapcase index rsplit "
    "splitlines find count zfill removeprefix removesuffix partition".split()
)
TUPLE_METHODS: Final = frozenset({"index", "count"})
SET_METHODS: Final = frozenset(
    "add discard union intersection difference symmetric_difference issubset issuperset copy "
    "isdisjoint".split()
)
RECORD_METHODS: Final = frozenset({"_asdict", "_replace"})


def attribute(m: Machine, owner: Value, name: str) -> Value:
    """`owner.name`."""
    if isinstance(owner, Module):
        return modules.member(owner.name, name)
    if isinstance(owner, Instance | Class):
        found = classes.get(m, owner, name)
        if found is not UNDEFINED:
            return found
        if isinstance(owner, Instance) and owner.type.kind == "tuple":
            if name in TUPLE_METHODS:
                fields = tuple(owner.content[field] for field in owner.type.fields)
                return Builtin(name, lambda m, a, k: tuple_method(m, fields, name, a, k))
            if name in RECORD_METHODS:
                return Builtin(name, lambda m, a, k: _record_method(m, owner, name, a, k))
        raise ProgramError("AttributeError", f"{kind_of(owner)} has no attribute `{name}`")
    if isinstance(owner, Array | Num | Selection) or is_known_number(owner):
        return _of_array(m, owner, name)
    for type_, names, method in (
        (ListCell, LIST_METHODS, list_method), (DictCell, DICT_METHODS, dict_method),
        (str, STRING_METHODS, string_method), (tuple, TUPLE_METHODS, tuple_method),
        (SetCell, SET_METHODS, set_method),
    ):  # fmt: skip
        if isinstance(owner, type_) and name in names:
            return _bound(method, owner, name)
    if isinstance(owner, rotation.Rotation) and name in rotation.METHODS:
        return rotation.method(owner, name)
    if owner == Type("Rotation") and name in rotation.MAKERS:
        return rotation.make(name)
    if isinstance(owner, jax_table.At):
        return jax_table.at_method(owner, name)
    if isinstance(owner, Builtin) and name in ("reduce", "accumulate", "outer"):
        return numpy_table.ufunc_method(owner.name, name)
    if isinstance(owner, ExceptionValue) and name == "args":
        return owner.args
    if isinstance(owner, slice) and name in ("start", "stop", "step"):
        return getattr(owner, name)
    if isinstance(owner, modules.Logger) and name in modules.LOGGING:
        return Builtin("no-op", python_table.no_op("logging"))
    raise NameNotAdmitted(f"the attribute {name} of {kind_of(owner)} is unknown or not admitted")


def _bound(method: Any, owner: Value, name: str) -> Builtin:
    return Builtin(name, lambda m, args, keywords: method(m, owner, name, args, keywords))


def _of_array(m: Machine, owner: Value, name: str) -> Value:
    if isinstance(owner, int | float | bool) and not isinstance(owner, np.generic):
        if name == "bit_length" and isinstance(owner, int):
            return Builtin(name, lambda m, a, k: known(owner.bit_length, *a))
        if name == "is_integer":
            return Builtin(name, lambda m, a, k: known(owner.is_integer))  # type: ignore[union-attr]
        if name == "real":
            return owner
        if hasattr(owner, name):
            raise NameNotAdmitted(f"the attribute {name} of {kind_of(owner)} is not admitted")
        raise ProgramError(
            "AttributeError", f"{kind_of(owner)} of Python has no attribute `{name}`"
        )
    if isinstance(owner, Num) and name == "is_integer":
        whole = m.graph.apply("eq", m.graph.apply("floor", owner.node), owner.node)
        return Builtin(name, lambda m, a, k: m.as_value(m.graph.known(whole)))
    if isinstance(owner, Num) and owner.numpy is not True and m.settle(owner.numpy) is not True:
        python = m.graph.not_(owner.numpy)
        m.fail_where(python, "AttributeError", f"a number of Python has no attribute `{name}`")
    if name in ARRAY_FUNCTIONS:
        function = modules.member("numpy", name)
        return Builtin(name, lambda m, a, k: _as_function(m, function, name, owner, a, k))
    if name in ARRAY_METHODS and isinstance(owner, Selection) and name not in ("copy", "astype"):
        raise ShapeError("the number of entries selected by this mask depends on the state")
    if name in ARRAY_METHODS:
        return Builtin(name, lambda m, a, k: _array_method(m, owner, name, a, k))
    if name in ARRAY_FACTS:
        return _array_fact(m, owner, name)
    raise NameNotAdmitted(f"the attribute {name} of {kind_of(owner)} is unknown or not admitted")


def _as_function(
    m: Machine, function: Value, name: str, owner: Value, args: Args, keywords: Keywords
) -> Value:
    if name == "transpose" and args:
        axes = args[0] if len(args) == 1 else args
        return m.call(function, (owner, axes), keywords)
    return m.call(function, (owner, *args), keywords)


def _array_fact(m: Machine, owner: Value, name: str) -> Value:
    if isinstance(owner, Selection):
        if name == "size":
            return m.count([(p, None) for p, _ in m.settled(owner)])
        if name == "shape":
            return (m.count([(p, None) for p, _ in m.settled(owner)]),)
        if name == "ndim":
            return 1
        raise ShapeError("the number of entries selected by this mask depends on the state")
    shape = owner.shape if isinstance(owner, Array) else ()
    match name:
        case "shape":
            return shape
        case "size":
            return math.prod(shape)
        case "ndim":
            return len(shape)
        case "T":
            return (
                Array(owner.buffer, owner.index.T, owner.readonly)
                if isinstance(owner, Array)
                else owner
            )
        case "dtype":
            return Type(numpy_table.as_array(m, owner).dtype.name)
        case "at" if isinstance(owner, Array) and owner.buffer.fixed:
            return jax_table.At(owner, None)
        case "real":
            return owner
        case "flat" if isinstance(owner, Array):
            return python_table.iterator(m, m.entries(Array(owner.buffer, owner.index.reshape(-1))))
    raise NameNotAdmitted(f"the attribute {name} of {kind_of(owner)} is not admitted")


def _array_method(m: Machine, owner: Value, name: str, args: Args, keywords: Keywords) -> Value:
    def none(*allowed: str) -> dict[str, Value]:
        return numpy_table.bind(name, allowed, args, keywords)

    if name == "reshape":
        shape = keywords.get("shape", args[0] if len(args) == 1 else args)
        if set(keywords) - {"shape"}:
            raise NameNotAdmitted("reshape takes a shape only")
        return m.call(modules.member("numpy", "reshape"), (owner, shape), {})
    if name == "astype":
        bound = none("dtype", "copy")
        numpy_table.needs("astype", bound, "dtype")
        return numpy_table.cast(m, owner, numpy_table.number_type(m, bound["dtype"]))
    if isinstance(owner, Selection):
        return owner
    if not isinstance(owner, Array):
        none("index")
        if name in ("item", "copy") and not args:
            return _python(m, owner) if name == "item" else owner
        if name in ("tolist",):
            return _python(m, owner)
        owner = numpy_table.as_array(m, owner)
    match name:
        case "copy":
            none()
            return numpy_table.copied(m, owner)
        case "flatten":
            none()
            return numpy_table.copied(m, Array(owner.buffer, owner.index.reshape(-1)))
        case "item":
            index = none("index").get("index")
            if index is not None:
                flat = (
                    owner
                    if isinstance(index, tuple)
                    else Array(owner.buffer, owner.index.reshape(-1))
                )
                return _python(m, m.part(flat, index))
            if owner.index.size != 1:
                raise ProgramError("ValueError", "can only convert an array of size 1 to a scalar")
            return _python(m, m.part(Array(owner.buffer, owner.index.reshape(-1)), 0))
        case "tolist":
            none()
            return _to_list(m, owner)
        case "fill":
            m.assign_whole(owner, none("value")["value"])
        case "sort":
            if owner.buffer.fixed:
                return m.call(modules.member("numpy", "sort"), (owner,), {})
            m.assign_whole(owner, m.call(modules.member("numpy", "sort"), (owner, *args), keywords))
    return None


def _python(m: Machine, value: Value) -> Value:
    """A scalar of NumPy as Python's."""
    if isinstance(value, Num):
        return Num(value.node, value.kind, False)
    return value.item() if isinstance(value, np.generic) else value


def _to_list(m: Machine, array: Array) -> Value:
    if array.shape == ():
        return _python(m, m.part(array, ()))
    items = [m.part(array, k) for k in range(array.shape[0])]
    return m.make_list(
        [_to_list(m, item) if isinstance(item, Array) else _python(m, item) for item in items]
    )


# Lists and tuples ---------------------------------------------------------------------------------


def extend(m: Machine, owner: ListCell, value: Value) -> None:
    """list.extend, and `+=`."""
    entries = (*owner.content, *m.settled(value))
    m.budget.elements(len(entries), "a list")
    m.write(owner, entries)


def list_method(m: Machine, owner: ListCell, name: str, args: Args, keywords: Keywords) -> Value:
    if name == "sort":
        if args:
            raise ProgramError("TypeError", "sort() takes no positional arguments")
        m.write(owner, python_table.sorted_(m, (owner,), keywords).content)
        return None
    if name in TUPLE_METHODS:
        return tuple_method(m, owner, name, args, keywords)
    counts = {"append": 1, "extend": 1, "insert": 2, "remove": 1}
    if name == "pop":
        args = args or (-1,)
        counts["pop"] = 1
    python_table._exactly(name, args, keywords, counts.get(name, 0))
    entries = owner.content
    match name:
        case "append":
            m.budget.elements(len(entries) + 1, "a list")
            _append(m, owner, args[0])
        case "extend":
            extend(m, owner, args[0])
        case "copy":
            return m.list_of(entries)
        case "clear":
            m.write(owner, ())
        case "reverse":
            m.write(owner, entries[::-1])
        case "insert":
            place = m.integer(args[0], "a place in a list")
            listed = m.compact(list(entries))
            if any(p is not True for p, _ in listed) and place != 0:
                raise ShapeError("insert into a list whose length depends on the state")
            listed.insert(place, (True, args[1]))
            m.write(owner, tuple(listed))
        case "pop":
            return _pop(m, owner, args[0])
        case "remove":
            items = m.items(owner, "this list")
            hits = [m.equal(item, args[0]) for item in items]
            if any(not isinstance(hit, bool) for hit in hits):
                raise ShapeError("which item is removed depends on the state")
            if True not in hits:
                raise ProgramError("ValueError", "list.remove(x): x not in list")
            place = hits.index(True)
            m.write(owner, (*entries[:place], *entries[place + 1 :]))
    return None


def _append(m: Machine, owner: ListCell, value: Value) -> None:
    if owner.of_module and not m.in_module:
        m.write(owner, owner.content)
    since = [node for node in m.here.full if node not in owner.birth]
    present = m.mask(since)
    if m.journal is not None:
        m.journal.append((owner, None, owner.content))
    m.budget.work(1)
    owner.content = (*owner.content, (present, value))


def _pop(m: Machine, owner: ListCell, index: Value) -> Value:
    place = m.integer(index, "a place in a list")
    entries = m.settled(owner)
    value = m.nth(entries, place)
    if all(p is True for p, _ in entries):
        rest = list(entries)
        known(rest.pop, place)
    elif place == -1 and entries[-1][0] is True:
        rest = entries[:-1]
    elif place == 0 and entries[0][0] is True:
        rest = entries[1:]
    elif place in (0, -1):
        rest = []
        taken: Truth = False
        for present, item in entries if place == 0 else entries[::-1]:
            rest.append((m.graph.and_(present, taken), item))
            taken = m.graph.or_(taken, present)
        rest = rest if place == 0 else rest[::-1]
    else:
        raise ShapeError("pop from the middle of a list whose length depends on the state")
    m.write(owner, tuple(rest))
    return value


def tuple_method(m: Machine, owner: Value, name: str, args: Args, keywords: Keywords) -> Value:
    (wanted,) = python_table._exactly(name, args, keywords, 1)
    entries = m.settled(owner)
    hits = [m.settle(m.graph.and_(p, m.equal(item, wanted))) for p, item in entries]
    if name == "count":
        return m.count([(hit, None) for hit in hits if hit is not False])
    if any(p is not True for p, _ in entries):
        raise ShapeError("the place in a list whose length depends on the state")
    found: Truth = False
    result: Value = NOTHING
    for place in reversed(range(len(hits))):
        found = m.graph.or_(found, hits[place])
        result = place if result is NOTHING else m.merge(hits[place], place, result)
    missing = m.graph.not_(found)
    if missing is True:
        raise ProgramError("ValueError", "the item is not in the list")
    m.fail_where(missing, "ValueError", "the item is not in the list")
    return result


def _record_method(m: Machine, owner: Instance, name: str, args: Args, keywords: Keywords) -> Value:
    if args:
        raise ProgramError("TypeError", f"{name} takes keywords only")
    if name == "_asdict":
        return m.make_dict({key: (True, value) for key, value in owner.content.items()})
    return classes.instantiate(m, owner.type, (), {**owner.content, **keywords})


# Dicts, sets and strings --------------------------------------------------------------------------


def dict_method(m: Machine, owner: DictCell, name: str, args: Args, keywords: Keywords) -> Value:
    if name in ("keys", "values", "items"):
        python_table._exactly(name, args, keywords, 0)
        return DictView(owner, name)
    if name == "update":
        content = dict(owner.content)
        extra = python_table._dict(m, args, keywords)
        for key, (present, value) in extra.content.items():
            m.put_entry(content, key, present, value)
        m.write(owner, content)
        return None
    if name in ("copy", "clear"):
        python_table._exactly(name, args, keywords, 0)
        if name == "copy":
            return m.make_dict(dict(owner.content))
        m.write(owner, {})
        return None
    if keywords or not 1 <= len(args) <= 2:
        raise ProgramError("TypeError", f"{name} takes a key and a default")
    default = args[1] if len(args) == 2 else None
    number = m.number(args[0])
    if isinstance(number, Num) and not is_known_number(m.look(args[0])) and name == "get":
        return m.branch(
            m.contains(args[0], owner), lambda: m.getitem(owner, args[0]), lambda: default
        )
    if isinstance(m.look(args[0]), Choice):
        return m.distribute(
            m.look(args[0]), lambda part: dict_method(m, owner, name, (part, *args[1:]), {})
        )
    key = m.key(args[0])
    present, value = owner.content.get(key, (False, NOTHING))
    present = m.settle(present)
    if name == "get":
        return m.merge(present, value, default)
    if name == "setdefault":
        if present is not True:
            merged = m.merge(present, value, default)
            m.write(owner, {**owner.content, key: (True, merged)})
            return m.look(merged)
        return value
    if len(args) < 2:
        if present is False:
            raise ProgramError("KeyError", f"the dict has no key {key!r}")
        m.fail_where(m.graph.not_(present), "KeyError", f"the dict has no key {key!r}")
    m.write(owner, {k: v for k, v in owner.content.items() if k != key})
    return m.merge(present, value, default)


def set_method(m: Machine, owner: SetCell, name: str, args: Args, keywords: Keywords) -> Value:
    if name == "copy":
        python_table._exactly(name, args, keywords, 0)
        return m.make_set(dict(owner.content))
    (value,) = python_table._exactly(name, args, keywords, 1)
    if name in ("add", "discard"):
        key = m.key(value)
        content = dict(owner.content)
        content.pop(key, None)
        if name == "add":
            content[key] = True
        m.write(owner, content)
        return None
    other = m.set_of(m.settled(value))
    if name == "isdisjoint":
        return m.as_value(m.graph.not_(m.truth(m.binary("&", owner, other))))
    symbol = {
        "union": "|", "intersection": "&", "difference": "-", "symmetric_difference": "^",
        "issubset": "<=", "issuperset": ">=",
    }[name]  # fmt: skip
    return m.binary(symbol, owner, other)


def string_method(m: Machine, owner: str, name: str, args: Args, keywords: Keywords) -> Value:
    if name == "format":
        return text.format_method(m, owner, args, keywords)
    if keywords:
        raise NameNotAdmitted(f"str.{name} takes no keywords here")
    if name == "join":
        items: list[Any] = m.items(args[0]) if len(args) == 1 else [None]
        if any(isinstance(m.look(item), text.StateText) for item in items):
            return text.StateText()
        if not all(isinstance(m.look(item), str) for item in items):
            raise ProgramError("TypeError", "join takes strings")
        m.budget.elements(sum(map(len, items)) + len(owner) * len(items), "a string")
        return owner.join(items)
    given: list[Any] = []
    for arg in args:
        if not isinstance(arg, str | int) and not (
            isinstance(arg, tuple) and all(isinstance(part, str) for part in arg)
        ):
            raise ProgramError("TypeError", f"str.{name} takes strings")
        given.append(arg)
    if name == "replace" and len(given) >= 2 and all(isinstance(g, str) for g in given[:2]):
        m.budget.elements((len(owner) + 1) * max(len(given[1]), 1), "a string")
    if name == "zfill" and given and isinstance(given[0], int):
        m.budget.elements(given[0], "a string")
    result = known(getattr(owner, name), *given)
    return m.make_list(result) if isinstance(result, list) else result


def known_attributes() -> frozenset[str]:
    """All attributes that a value of some kind has."""
    return (
        ARRAY_FUNCTIONS | ARRAY_METHODS | ARRAY_FACTS | LIST_METHODS | DICT_METHODS
        | STRING_METHODS | TUPLE_METHODS | SET_METHODS | RECORD_METHODS | modules.LOGGING
        | frozenset(rotation.METHODS) | frozenset(rotation.MAKERS) | jax_table.AT_METHODS
        | {"args", "is_integer", "bit_length", "start", "stop", "step", "reduce", "accumulate",
           "outer", "name",
           "value", "eps", "tiny", "smallest_normal", "resolution", "max", "min"}
    )  # fmt: skip
