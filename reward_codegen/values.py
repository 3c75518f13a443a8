"""The values that an admitted program handles.

Numbers, strings, None, tuples, slices and ranges are Python's own. A *traced* number is a JAX
tracer of no dimensions; everything else is known while the program is evaluated. What Python can
change in place is a `Cell`, so that every change is seen by the branches that it belongs to.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

Value = Any


class Undefined:
    """The content of a variable that nothing has been assigned to."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED = Undefined()


class Cell:
    """A place whose content can change: a variable, or the inside of a container."""

    __slots__ = ("birth", "content")

    def __init__(self, content: Value, birth: int) -> None:
        self.content = content
        self.birth = birth


class Array(Cell):
    """A NumPy-style array of at least one dimension; all names of one array share the cell."""

    __slots__ = ()

    def read(self) -> Value:
        """The present content: an `np.ndarray` if known, a JAX tracer if not."""
        return self.content

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.read().shape)


class View(Array):
    """A part or another shape of `base`: what is written into it is written into `base`."""

    __slots__ = ("base", "depth", "get", "put")

    def __init__(
        self,
        base: Array,
        get: Callable[[Value], Value],
        put: Callable[[Value, Value], Value],
        birth: int,
    ) -> None:
        super().__init__(UNDEFINED, birth)
        self.base = base
        self.depth: int = base.depth + 1 if isinstance(base, View) else 1
        self.get = get
        self.put = put

    def read(self) -> Value:
        return self.get(self.base.read())


class ListValue(Cell):
    """A list; the content is a tuple of values, some of them perhaps `Maybe` there."""

    __slots__ = ()


class DictValue(Cell):
    """A dict; the content is an immutable-by-convention dict from static keys to values."""

    __slots__ = ()


class SetValue(Cell):
    """A set of static values; the content is a frozenset."""

    __slots__ = ()


@dataclass(frozen=True)
class Choice:
    """One of two values of different kinds, by a traced condition."""

    condition: Value
    then: Value
    other: Value


@dataclass(frozen=True, eq=False)
class Maybe:
    """An item that is in a list only where a traced condition holds."""

    condition: Value
    value: Value


@dataclass(frozen=True, eq=False)
class Masked:
    """The entries of `content` where `mask` holds: an array whose length is not known."""

    content: Value
    mask: Value


@dataclass(frozen=True)
class RecordType:
    """A named tuple, a dataclass or a class of constants."""

    name: str
    fields: tuple[str, ...]
    defaults: dict[str, Value] = field(hash=False)
    is_tuple: bool
    frozen: bool = True
    constants: dict[str, Value] = field(default_factory=dict, hash=False)


class Record(Cell):
    """An instance of a `RecordType`; the content is the tuple of its fields' values."""

    __slots__ = ("type",)

    def __init__(self, type_: RecordType, content: tuple[Value, ...], birth: int) -> None:
        super().__init__(content, birth)
        self.type = type_


class Scope:
    """The variables of one function call, or of the module."""

    __slots__ = ("parent", "variables")

    def __init__(self, parent: "Scope | None") -> None:
        self.parent = parent
        self.variables: dict[str, Cell] = {}

    def find(self, name: str) -> Cell | None:
        """The variable that `name` means here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            scope = scope.parent
        return None


@dataclass(frozen=True, eq=False)
class Function:
    """A function or lambda of the program, with the scope that it closes over."""

    name: str
    arguments: ast.arguments
    body: list[ast.stmt] | ast.expr
    local_names: frozenset[str]
    scope: Scope
    defaults: tuple[Value, ...]
    keyword_defaults: dict[str, Value]


@dataclass(frozen=True, eq=False)
class Builtin:
    """An admitted function of Python or of a library; `call(evaluator, args, kwargs)`."""

    name: str
    call: Callable[..., Value]


@dataclass(frozen=True, eq=False)
class Indexable:
    """An admitted object that is only ever indexed; `get(machine, index)`."""

    name: str
    get: Callable[..., Value]


@dataclass(frozen=True)
class Module:
    """An admitted module, by its full name."""

    name: str


@dataclass(frozen=True)
class DType:
    """A number type: the class `float`, `np.float32`, `bool`, ..."""

    name: str
    kind: str  # "f", "i", "u" or "b"
    bits: int = 64
    python: bool = False  # Python's own float, int or bool


@dataclass(frozen=True)
class Kind:
    """A type that is no number type: `list`, `np.ndarray`, ..., for isinstance and calls."""

    name: str


@dataclass(frozen=True)
class ExceptionType:
    """An exception class."""

    name: str


@dataclass(frozen=True)
class ExceptionValue:
    """A raised exception."""

    type: ExceptionType
    message: str


class Absent:
    """A typing name or annotation: a value that may be named and passed over, but not computed."""

    def __repr__(self) -> str:
        return "a typing construct"


ABSENT = Absent()


def is_traced(value: Value) -> bool:
    """Whether the value is only known when the compiled program runs."""
    return isinstance(value, jax.core.Tracer)


def is_number(value: Value) -> bool:
    """Whether the value is a number of no dimensions, traced or not."""
    return isinstance(value, bool | int | float | np.generic) or (
        is_traced(value) and value.ndim == 0
    )


def is_static_int(value: Value) -> bool:
    """Whether the value is an integer that is known now."""
    return isinstance(value, int | np.integer)


def kind_of(value: Value) -> str:
    """What a value is, in the words of a message."""
    if value is None:
        return "None"
    if isinstance(value, Array):
        return f"an array of shape {value.shape}"
    if is_traced(value) or isinstance(value, np.generic):
        return "a number"
    names: dict[type, str] = {
        bool: "a bool",
        int: "an integer",
        float: "a number",
        str: "a string",
        tuple: "a tuple",
        ListValue: "a list",
        DictValue: "a dict",
        SetValue: "a set",
        Function: "a function",
        Builtin: "a function",
        Module: "a module",
        range: "a range",
        slice: "a slice",
        Choice: "a value that differs in kind between branches",
        Masked: "a masked selection",
        DType: "a number type",
        Undefined: "an unassigned variable",
    }
    if isinstance(value, Record):
        return f"a {value.type.name}"
    return names.get(type(value), "a value of another kind")
