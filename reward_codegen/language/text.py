"""Strings: known values are formatted by Python itself; those of the state are for messages."""

import string
from functools import partial
from typing import Any

import numpy as np

from reward_codegen.errors import NameNotAdmitted, ShapeError
from reward_codegen.language.core import known
from reward_codegen.language.values import (
    Array,
    Choice,
    DictCell,
    ExceptionValue,
    Instance,
    ListCell,
    ProgramError,
    SetCell,
    Value,
    is_known_number,
)

_MOST = 100_000  # characters


class StateText:
    """A string that depends on the state: fit for a message and nothing else."""


TAKE_TEXT = frozenset({"print", "no-op", "str", "append", "join", "isinstance", "list", "tuple"})


def refuse() -> None:
    """Refuse a string that depends on the state where a value is needed."""
    raise ShapeError(
        "a string that depends on the state is admitted in messages only; use if/elif on the state"
    )


def plain(m: Any, value: Value) -> Any:
    """A known value as Python has it, for formatting; raises KeyError where it is not known."""
    m.budget.step()
    value = m.look(value)
    if value is None or isinstance(value, str | range) or is_known_number(value):
        return value
    if isinstance(value, tuple):
        return tuple(plain(m, item) for item in value)
    if isinstance(value, ListCell):
        return [plain(m, item) for p, item in value.content if _sure(m, p)]
    if isinstance(value, DictCell):
        return {k: plain(m, v) for k, (p, v) in value.content.items() if _sure(m, p)}
    if isinstance(value, SetCell):
        return {k for k, p in value.content.items() if _sure(m, p)}
    if isinstance(value, Array):
        content = m.known_array(value)
        if content is not None:
            return content
    if isinstance(value, ExceptionValue) and len(value.args) == 1:
        return plain(m, value.args[0])
    raise KeyError


def _sure(m: Any, present: Any) -> bool:
    here = m.settle(present)
    if not isinstance(here, bool):
        raise KeyError
    return here


def formatted(m: Any, value: Value, spec: Value, conversion: str) -> Value:
    """`f"{value!conversion:spec}"`."""
    value = m.look(value)
    if isinstance(value, Choice):
        return m.distribute(value, lambda part: formatted(m, part, spec, conversion))
    if isinstance(value, StateText) or not isinstance(spec, str):
        return StateText()
    try:
        content = plain(m, value)
    except KeyError:
        return StateText()
    if any(len(part) > 4 for part in _digits(spec)):
        raise ShapeError("a width or precision of more than four digits is not admitted")
    if isinstance(content, Instance):
        return StateText()
    if conversion:
        functions: dict[str, Any] = {"r": repr, "s": str, "a": ascii}
        content = known(functions[conversion], content)
    return limited(known(format, content, spec))


def _digits(spec: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in spec).split()


def limited(value: str) -> str:
    """A string of bearable length."""
    if len(value) > _MOST:
        raise ShapeError(f"a string of more than {_MOST:,} characters is too large")
    return value


def _joined_around(m: Any, before: list[Value], after: list[Value], part: Value) -> Value:
    return joined(m, [*before, part, *after])


def joined(m: Any, parts: list[Value]) -> Value:
    """Strings one after the other."""
    for place, part in enumerate(parts):
        part = m.look(part)
        if isinstance(part, Choice):
            before, after = parts[:place], parts[place + 1 :]
            return m.distribute(part, partial(_joined_around, m, before, after))
    if any(isinstance(part, StateText) for part in parts):
        return StateText()
    m.budget.elements(sum(map(len, parts)), "a string")
    return "".join(parts)


def format_method(m: Any, template: str, args: tuple[Value, ...], named: dict[str, Value]) -> Value:
    """`template.format(...)`."""
    parts: list[Value] = []
    number = 0
    for literal, field, spec, conversion in known(list, string.Formatter().parse(template)):
        parts.append(literal)
        if field is None:
            continue
        if "{" in (spec or ""):
            raise ShapeError("a format within a format is not admitted; use an f-string")
        name, _, rest = field.replace("[", ".").partition(".")
        if rest:
            raise NameNotAdmitted("attributes and indices in a format are not admitted")
        if name == "":
            name, number = str(number), number + 1
        if name.isdigit():
            if len(name) > 4 or int(name) >= len(args):
                raise ProgramError("IndexError", "the format names an argument that is not there")
            value = args[int(name)]
        elif name in named:
            value = named[name]
        else:
            raise ProgramError("KeyError", f"the format names {name!r}, which is not there")
        parts.append(formatted(m, value, spec or "", conversion or ""))
    return joined(m, parts)


def percent(m: Any, template: str, values: Value) -> Value:
    """`template % values`."""
    values = m.look(values)
    if isinstance(values, Choice):
        return m.distribute(values, lambda part: percent(m, template, part))
    if any(len(part) > 4 for part in _digits(template)) or "*" in template:
        raise ShapeError("a width or precision of more than four digits is not admitted")
    try:
        content = plain(m, values)
    except KeyError:
        return StateText()
    if isinstance(content, np.ndarray):
        content = (content,)
    return limited(known(lambda: template % content))
