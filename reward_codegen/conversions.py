"""Conversions between kinds of values: calls of types, and values in messages."""

import re
from typing import Any

import numpy as np

from reward_codegen.arguments import Arguments, Keywords, cast
from reward_codegen.errors import NameNotAdmitted
from reward_codegen.machine import Machine
from reward_codegen.values import (
    DictValue,
    DType,
    ExceptionType,
    ExceptionValue,
    Kind,
    Value,
    is_number,
    is_traced,
    kind_of,
)


def scalar(machine: Machine, value: Value) -> Any:
    """A single number, from a number or an array of one entry."""
    content = machine.array(value)
    if np.ndim(content) == 0:
        return content
    if content.size != 1:
        raise TypeError(f"a single number is needed, not an array of shape {content.shape}")
    return machine.backend.apply("reshape", content, ())


def as_text(value: Value) -> str:
    """A value in a message."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return str(value)
    if isinstance(value, ExceptionValue):
        return value.message
    return f"<{kind_of(value)}>"


# Short widths only: a message may not become gigabytes long.
_FORMAT = re.compile(r"[<>^]?[-+ ]?0?\d{0,2}(\.\d{1,2})?[deEfgGns%]?")


def formatted(value: Value, spec: str) -> str:
    """A value in a message or a key, formatted where it is known."""
    if isinstance(value, bool | int | float | str | np.generic) and _FORMAT.fullmatch(spec):
        return format(value, spec)
    return as_text(value)


def to_int(machine: Machine, number: Any) -> Value:
    """Python's int(): toward zero; NaN and infinities fail."""
    if not is_traced(number):
        return int(number)
    if number.dtype.kind == "f":
        finite = machine.backend.apply("isfinite", number)
        machine.fail_where(machine.negate(finite), "ValueError", "NaN cannot be made an integer")
    return machine.backend.apply("astype", number, np.dtype("int32"))


def convert(
    machine: Machine,
    type_: DType | Kind | ExceptionType,
    arguments: Arguments,
    keywords: Keywords,
) -> Value:
    """Call a type: `float(x)`, `np.float32(x)`, `list(xs)`, `ValueError("...")`."""
    if isinstance(type_, ExceptionType):
        return ExceptionValue(type_, " ".join(as_text(argument) for argument in arguments))
    if isinstance(type_, DType):
        return _number(machine, type_, arguments)
    items = machine.items(arguments[0]) if arguments and type_.name != "str" else ()
    match type_.name:
        case "list":
            return machine.make_list(items)
        case "tuple":
            return tuple(items)
        case "set":
            return machine.make_set(items)
        case "str":
            return as_text(arguments[0]) if arguments else ""
        case "dict":
            if arguments and isinstance(arguments[0], DictValue):
                content = dict(machine.content(arguments[0]))
            else:
                pairs = [machine.items(pair) for pair in items]
                content = {machine.key(key): value for key, value in pairs}
            return machine.make_dict(content | keywords)
    raise NameNotAdmitted(f"calling {type_.name} is not admitted; use np.array")


def _number(machine: Machine, type_: DType, arguments: Arguments) -> Value:
    if not arguments:
        return {"f": 0.0, "i": 0, "u": 0, "b": False}[type_.kind]
    (value,) = map(machine.decide, arguments)
    if isinstance(value, str):
        if type_.kind == "f" and value.strip().lstrip("+-").lower() in ("inf", "infinity", "nan"):
            return float(value)
        if type_.python and len(value) < 40:
            return float(value) if type_.kind == "f" else int(value)
        raise ValueError("a string is not a number here")
    if type_.kind == "b" and (type_.python or is_number(value)):
        return machine.truth(value)
    if not type_.python:
        return machine.wrap(cast(machine, machine.array(value), np.dtype(type_.name)))
    number = scalar(machine, value)
    if type_.kind == "i":
        return to_int(machine, number)
    if is_traced(number):
        return number if number.dtype.kind == "f" else cast(machine, number, np.dtype(float))
    return number if isinstance(number, np.floating) else float(number)
