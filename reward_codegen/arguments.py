"""How the arguments of admitted functions are read."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from reward_codegen.machine import Machine
from reward_codegen.tables import DTYPES
from reward_codegen.values import Array, DType, ListValue, Value, is_traced, kind_of

Arguments = tuple[Value, ...]
Keywords = dict[str, Value]
Call = Callable[[Machine, Arguments, Keywords], Value]


def setting(machine: Machine) -> Callable[[Value], Any]:
    """Converts an argument that is no array: an axis, a shape, a number type, a flag."""

    def convert_setting(value: Value) -> Any:
        value = machine.decide(value)
        if isinstance(value, DType):
            return np.dtype(value.name)
        if isinstance(value, ListValue | tuple):
            return tuple(convert_setting(item) for item in machine.items(value))
        if isinstance(value, Array):
            return value.read()
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, bool | int | float | str) or is_traced(value):
            return value
        raise TypeError(f"{kind_of(value)} is not admitted as an argument here")

    return convert_setting


def settings(machine: Machine, keywords: Keywords) -> dict[str, Any]:
    return {name: setting(machine)(value) for name, value in keywords.items()}


def shape_argument(machine: Machine, value: Value) -> tuple[int, ...]:
    value = machine.decide(value)
    if isinstance(value, ListValue | tuple | Array):
        shape = tuple(machine.integer(n, "a shape") for n in machine.items(value))
    else:
        shape = (machine.integer(value, "a size"),)
    if any(n < 0 for n in shape):
        raise ValueError("negative dimensions are not allowed")
    machine.budget.elements(math.prod(shape))
    return shape


def bind_arguments(arguments: Arguments, keywords: Keywords, *names: str) -> dict[str, Value]:
    """Positional and keyword arguments by name."""
    if len(arguments) > len(names):
        raise TypeError(f"at most {len(names)} arguments are admitted here")
    bound = dict(zip(names, arguments, strict=False))
    for name, value in keywords.items():
        if name in bound or name not in names:
            raise TypeError(f"unexpected argument {name!r}")
        bound[name] = value
    return bound


def number_type(machine: Machine, value: Value) -> Any:
    value = machine.decide(value)
    if value is None:
        return None
    if isinstance(value, DType):
        return np.dtype(value.name)
    if isinstance(value, str) and value in DTYPES:
        return np.dtype(DTYPES[value].name)
    raise TypeError(f"{kind_of(value)} is not an admitted number type")


def cast(machine: Machine, content: Any, dtype: Any) -> Any:
    return machine.backend.apply("astype", content, dtype)


def number_kind(content: Any) -> str:
    """The kind of number that a content holds: f, i, u or b."""
    if isinstance(content, bool):
        return "b"
    if isinstance(content, int):
        return "i"
    return "f" if isinstance(content, float) else content.dtype.kind
