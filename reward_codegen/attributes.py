"""The attributes and methods of values."""

import math
from functools import reduce

import numpy as np

from reward_codegen import arrays, modules
from reward_codegen.arguments import Arguments, Keywords, cast, number_kind, number_type, setting
from reward_codegen.array_functions import call_library
from reward_codegen.conversions import as_text, scalar
from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.machine import Machine
from reward_codegen.python_functions import sorted_
from reward_codegen.tables import ARRAY_ARGUMENTS, words
from reward_codegen.ufuncs import UFUNC_METHODS, ufunc_method
from reward_codegen.values import (
    ABSENT,
    Array,
    Builtin,
    DictValue,
    DType,
    ExceptionValue,
    ListValue,
    Masked,
    Module,
    Record,
    RecordType,
    SetValue,
    Value,
    is_number,
    is_traced,
    kind_of,
)

# Methods that are the function of the same name, and others.
_ARRAY_METHODS = frozenset(
    (
        *words("sum prod mean std var min max any all argmin argmax ptp cumsum cumprod round"),
        *words("clip dot repeat swapaxes take trace diagonal argsort"),
    )
)
_ARRAY_OTHERS = frozenset(
    words("copy flatten ravel reshape squeeze transpose astype item tolist fill sort conj")
)
_ARRAY_PROPERTIES = frozenset(words("shape size ndim T dtype at real flat"))
_LIST_METHODS = frozenset(words("append extend insert pop index count reverse sort copy clear"))
_DICT_METHODS = frozenset(words("get items keys values update setdefault pop copy"))
_STRING_METHODS = frozenset(
    words("format join lower upper strip startswith endswith replace split title")
)
_TUPLE_METHODS = frozenset({"index", "count"})
_SET_METHODS = frozenset({"add", "union", "intersection"})


def known_attributes() -> frozenset[str]:
    """All attributes that a value of some kind has."""
    return (
        _ARRAY_METHODS | _ARRAY_OTHERS | _ARRAY_PROPERTIES | _LIST_METHODS | _DICT_METHODS
        | _STRING_METHODS | _TUPLE_METHODS | _SET_METHODS | arrays.AT_METHODS
        | {"eps", "tiny", "args", "is_integer"} | UFUNC_METHODS
    )  # fmt: skip


def attribute(machine: Machine, owner: Value, name: str) -> Value:
    """`owner.name`."""
    owner = machine.decide(owner)
    if isinstance(owner, Module):
        return modules.module_member(owner.name, name)
    if name.startswith("_"):
        raise NameNotAdmitted("an attribute that begins with an underscore is not admitted")
    if isinstance(owner, Array) or is_number(owner) or isinstance(owner, Masked):
        return _of_array(machine, owner, name)
    if isinstance(owner, Record):
        if name in owner.type.fields:
            return machine.content(owner)[owner.type.fields.index(name)]
        if name in owner.type.constants:
            return owner.type.constants[name]
    if isinstance(owner, RecordType) and name in owner.constants:
        return owner.constants[name]
    if isinstance(owner, ListValue) and name in _LIST_METHODS:
        return Builtin(name, lambda m, a, k: _list_method(m, owner, name, a, k))
    if isinstance(owner, DictValue) and name in _DICT_METHODS:
        return Builtin(name, lambda m, a, k: _dict_method(m, owner, name, a, k))
    if isinstance(owner, str) and name in _STRING_METHODS:
        return Builtin(name, lambda m, a, k: _string_method(m, owner, name, a))
    if isinstance(owner, tuple) and name in _TUPLE_METHODS:
        return Builtin(name, lambda m, a, k: _tuple_method(m, owner, name, a))
    if isinstance(owner, SetValue) and name in _SET_METHODS:
        return Builtin(name, lambda m, a, k: _set_method(m, owner, name, a))
    if isinstance(owner, Builtin) and name in UFUNC_METHODS:
        return ufunc_method(owner.name, name)
    if arrays.is_at_index(owner) and name in arrays.AT_METHODS:
        return Builtin(name, lambda m, a, k: arrays.at_method(m, owner, name, a))
    if owner is ABSENT:
        return ABSENT
    if isinstance(owner, ExceptionValue) and name == "args":
        return (owner.message,)
    raise AttributeError(f"{kind_of(owner)} has no attribute `{name}` here")


def assign(machine: Machine, owner: Value, name: str, value: Value) -> None:
    """`owner.name = value`, for the fields of a dataclass."""
    owner = machine.decide(owner)
    if not isinstance(owner, Record) or owner.type.frozen or name not in owner.type.fields:
        raise AttributeError(f"the attribute {name} of {kind_of(owner)} cannot be assigned to")
    place = owner.type.fields.index(name)
    content = machine.content(owner)
    machine.write(owner, (*content[:place], value, *content[place + 1 :]))


def _of_array(machine: Machine, owner: Value, name: str) -> Value:
    if name in _ARRAY_METHODS:
        path = name

        def call(m: Machine, arguments: Arguments, keywords: Keywords) -> Value:
            count = ARRAY_ARGUMENTS.get(path, 1)
            return call_library(m, path, count, (owner, *arguments), keywords)

        return Builtin(name, call)
    if isinstance(owner, Masked):
        if name == "size":
            return machine.backend.apply("sum", owner.mask)
        machine.array(owner)
    if name in _ARRAY_OTHERS:
        return Builtin(name, lambda m, a, k: _array_method(m, owner, name, a, k))
    content = machine.array(owner)
    match name:
        case "shape":
            return tuple(np.shape(content))
        case "size":
            return math.prod(np.shape(content))
        case "ndim":
            return int(np.ndim(content))
        case "T":
            return arrays.transposed(machine, owner)
        case "dtype":
            kind = number_kind(content)
            return DType({"f": "float64", "i": "int64", "u": "int64", "b": "bool"}[kind], kind)
        case "at" if isinstance(owner, Array):
            return arrays.at(owner)
        case "real":
            return owner
        case "flat":
            return _array_method(machine, owner, "ravel", (), {})
    raise AttributeError(f"{kind_of(owner)} has no attribute `{name}` here")


def _array_method(
    machine: Machine, owner: Value, name: str, arguments: Arguments, keywords: Keywords
) -> Value:
    content = machine.array(owner)
    match name:
        case "copy" | "conj":
            return machine.wrap(content)
        case "flatten":
            return machine.apply("reshape", content, (-1,))
        case "ravel":
            return arrays.reshaped(machine, owner, (-1,))
        case "reshape":
            shape = keywords.get("shape", arguments[0] if len(arguments) == 1 else arguments)
            return arrays.reshaped(machine, owner, setting(machine)(shape))
        case "squeeze":
            axis = arguments[0] if arguments else keywords.get("axis")
            return arrays.squeezed(machine, owner, axis)
        case "transpose":
            if arguments:
                return call_library(machine, "transpose", 1, (owner, *arguments), keywords)
            return arrays.transposed(machine, owner)
        case "astype":
            target = arguments[0] if arguments else keywords["dtype"]
            return machine.wrap(cast(machine, content, number_type(machine, target)))
        case "item":
            if arguments:
                return arrays.subscript(machine, owner, arguments[0])
            return scalar(machine, owner)
        case "tolist":
            return _to_list(machine, owner)
        case "fill":
            machine.write(
                owner,
                machine.backend.apply(
                    "broadcast_to", machine.array(arguments[0]), np.shape(content)
                ),
            )
        case "sort":
            machine.write(owner, machine.backend.apply("sort", content))
    return None


def _to_list(machine: Machine, value: Value) -> Value:
    if isinstance(value, Array):
        return machine.make_list(_to_list(machine, item) for item in machine.items(value))
    return value


def _list_method(
    machine: Machine, owner: ListValue, name: str, arguments: Arguments, keywords: Keywords
) -> Value:
    if name == "append":
        machine.append(owner, arguments[0])
        return None
    content = machine.content(owner)
    result: Value = None
    match name:
        case "extend":
            content = (*content, *machine.items(arguments[0]))
        case "insert":
            place = machine.integer(arguments[0], "a place in a list")
            content = (*content[:place], arguments[1], *content[place:])
        case "pop":
            place = machine.integer(arguments[0] if arguments else -1, "a place in a list")
            result = content[place]
            place %= len(content)
            content = (*content[:place], *content[place + 1 :])
        case "reverse":
            content = tuple(reversed(content))
        case "sort":
            content = machine.content(sorted_(machine, (owner,), keywords))
        case "clear":
            content = ()
        case "copy":
            return machine.make_list(content)
        case _:
            return _tuple_method(machine, content, name, arguments)
    machine.budget.elements(len(content), "a list")
    machine.write(owner, content)
    return result


def _tuple_method(
    machine: Machine, content: tuple[Value, ...], name: str, arguments: Arguments
) -> Value:
    hits = [machine.truth(machine.binary("==", item, arguments[0])) for item in content]
    if name == "count":
        return reduce(lambda a, b: machine.binary("+", a, b), hits, 0)
    if any(is_traced(hit) for hit in hits):
        raise ShapeError("which item this is depends on the state; use np.argmin or np.argmax")
    if True not in hits:
        raise ValueError("the item is not in the list")
    return hits.index(True)


def _dict_method(
    machine: Machine, owner: DictValue, name: str, arguments: Arguments, keywords: Keywords
) -> Value:
    content = dict(machine.content(owner))
    match name:
        case "keys":
            return tuple(content)
        case "values":
            return tuple(content.values())
        case "items":
            return tuple(content.items())
        case "copy":
            return machine.make_dict(content)
        case "get":
            default = arguments[1] if len(arguments) > 1 else None
            return content.get(machine.key(arguments[0]), default)
        case "update":
            if arguments:
                content |= machine.content(arguments[0])
            machine.write(owner, content | keywords)
        case "setdefault":
            key = machine.key(arguments[0])
            if key not in content:
                content[key] = arguments[1] if len(arguments) > 1 else None
                machine.write(owner, content)
            return content[key]
        case "pop":
            key = machine.key(arguments[0])
            if key not in content and len(arguments) > 1:
                return arguments[1]
            result = content.pop(key)
            machine.write(owner, content)
            return result
    return None


def _string_method(machine: Machine, owner: str, name: str, arguments: Arguments) -> Value:
    if name == "format":
        return owner  # only ever seen in messages
    if name == "join":
        parts = [as_text(item) for item in machine.items(arguments[0])]
        machine.budget.elements(sum(map(len, parts)) + len(owner) * len(parts), "a string")
        return owner.join(parts)
    if not all(isinstance(argument, str | tuple) for argument in arguments):
        raise TypeError(f"str.{name} takes strings")
    if name == "replace":
        machine.budget.elements(len(owner) * max(len(arguments[1]), 1), "a string")
    result = getattr(owner, name)(*arguments)
    return machine.make_list(result) if isinstance(result, list) else result


def _set_method(machine: Machine, owner: SetValue, name: str, arguments: Arguments) -> Value:
    content = machine.content(owner)
    if name == "add":
        machine.write(owner, content | {machine.key(arguments[0])})
        return None
    others = {machine.key(item) for item in machine.items(arguments[0])}
    return machine.make_set(content | others if name == "union" else content & others)
