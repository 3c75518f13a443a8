"""What a program's values are while it is interpreted.

What is known is Python's own: numbers, strings, tuples, None, NumPy's scalars. What depends on the
state is a `Num`, or a `Choice` where it is no number. What can be changed in place is a cell.
"""

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reward_codegen.language.graph import Node, Truth

Value = Any
Machine = Any  # the interpreter, as the tables see it
SERIALS = itertools.count()  # of frames and cells, in the order in which they are made


class Marker:
    """A value that stands for the lack of one."""

    def __init__(self, name: str) -> None:
        self.name = name


UNDEFINED = Marker("undefined")  # a name without a value
NOTHING = Marker("nothing")  # the result where no lane is left
CONTEXT = Marker("context")  # np.errstate() and its like


class ProgramError(Exception):
    """An exception that Python would raise in all lanes that are here."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class Dead(Exception):
    """No lane is left on this path."""


@dataclass(frozen=True, eq=False)
class Num:
    """A number that depends on the state.

    Attributes:
        node: its value, a float or a truth.
        kind: `b`, `i` or `f`: bool, int or float.
        numpy: whether it is a scalar of NumPy, in which lanes.
    """

    node: Node
    kind: str
    numpy: Truth


@dataclass(frozen=True, eq=False)
class Choice:
    """One value where the condition holds, another elsewhere."""

    condition: Node
    then: Value
    other: Value


class Cell:
    """What can be changed in place.

    Attributes:
        content: see the subclasses.
        birth: the conditions under which it was made.
        of_module: whether it belongs to the module, which no function may change.
    """

    def __init__(self, content: Any, birth: frozenset[Node], of_module: bool) -> None:
        self.serial = next(SERIALS)
        self.content = content
        self.birth = birth
        self.of_module = of_module


class ListCell(Cell):
    """A list: a tuple of (whether it is there, item)."""


class DictCell(Cell):
    """A dict: (whether it is there, value) by key."""


class SetCell(Cell):
    """A set: whether it is there, by member."""


class Buffer(Cell):
    """The entries of an array: a node or a known array."""

    def __init__(
        self, content: Any, birth: frozenset[Node], of_module: bool, dtype: np.dtype, fixed: bool
    ) -> None:
        super().__init__(content, birth, of_module)
        self.dtype = dtype
        self.fixed = fixed


@dataclass(frozen=True, eq=False)
class Array:
    """An array: a buffer, and for each entry its place in it.

    `index` is a NumPy view into the whole buffer's places, so that NumPy itself says what is a
    view of what.
    """

    buffer: Buffer
    index: np.ndarray
    readonly: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape

    @property
    def dtype(self) -> np.dtype:
        return self.buffer.dtype


@dataclass(frozen=True, eq=False)
class Selection:
    """The entries of an array of one dimension that a mask selects."""

    node: Node
    mask: Node
    dtype: np.dtype


@dataclass(frozen=True, eq=False)
class DictView:
    """dict.keys(), .values() or .items()."""

    owner: DictCell
    what: str


class IteratorValue:
    """What can be iterated over once."""

    def __init__(self, entries: Iterator[tuple[Truth, Value]], birth: tuple[Node, ...]) -> None:
        self.entries = entries
        self.birth = birth
        self.state = "fresh"  # then "running", "spent", or "partly" (differs between lanes)


class Frame:
    """The variables of a module, a function call or a comprehension."""

    def __init__(
        self,
        names: frozenset[str],
        parent: "Frame | None",
        captured: bool,
        *,
        birth: frozenset[Node] = frozenset(),
        comprehension: bool = False,
        is_class: bool = False,
    ) -> None:
        self.serial = next(SERIALS)
        self.names = names
        self.parent = parent
        self.captured = captured  # whether inner functions may read it later
        self.birth = birth
        self.comprehension = comprehension
        self.is_class = is_class
        self.of_module = False  # made while the module runs: no function may change it later
        self.variables: dict[str, Value] = {}


@dataclass(frozen=True, eq=False)
class Function:
    """A function of the program."""

    name: str
    arguments: ast.arguments
    body: list[ast.stmt] | ast.expr
    frame: Frame
    defaults: tuple[Value, ...]
    keyword_defaults: tuple[Value, ...]
    names: frozenset[str]
    captures: bool
    kind: str = ""  # staticmethod, classmethod, property of a class


@dataclass(frozen=True, eq=False)
class Builtin:
    """A function of the tables: called with the interpreter, arguments and keywords."""

    name: str
    call: Callable[[Any, tuple[Value, ...], dict[str, Value]], Value]


@dataclass(frozen=True, eq=False)
class Module:
    """An imported module, by its full name."""

    name: str


@dataclass(frozen=True)
class Type:
    """A type of Python or NumPy: float, list, np.ndarray, np.float64."""

    name: str


@dataclass(frozen=True)
class ExceptionType:
    """An exception class, with the names of the classes that it belongs to."""

    name: str
    bases: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ExceptionValue:
    """An exception."""

    type: ExceptionType
    args: tuple[Value, ...]


@dataclass(eq=False)
class Class:
    """A class of the program.

    Attributes:
        name: its name.
        members: constants and methods.
        fields: of a dataclass or named tuple, in order.
        defaults: of fields, a value or a function that makes it.
        kind: plain, data, tuple or enum.
        frozen: whether fields may not be assigned to.
        equal: whether objects of equal fields are equal.
    """

    name: str
    members: dict[str, Value] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    defaults: dict[str, Value] = field(default_factory=dict)
    kind: str = "plain"
    frozen: bool = False
    equal: bool = False
    bases: tuple["Class", ...] = ()

    def find(self, name: str) -> Value:
        """A member, of a base if need be; UNDEFINED if there is none."""
        if name in self.members:
            return self.members[name]
        for base in self.bases:
            found = base.find(name)
            if found is not UNDEFINED:
                return found
        return UNDEFINED


class Instance(Cell):
    """An object of a class: its attributes by name."""

    def __init__(
        self, type_: Class, content: dict[str, Value], birth: frozenset[Node], of_module: bool
    ) -> None:
        super().__init__(content, birth, of_module)
        self.type = type_


@dataclass(frozen=True, eq=False)
class Bound:
    """A method of an object."""

    owner: Value
    function: Value


@dataclass(frozen=True, eq=False)
class Factory:
    """`field(default_factory=...)` of a dataclass."""

    function: Value


def is_known_number(value: Value) -> bool:
    """Whether a value is a number that does not depend on the state."""
    return isinstance(value, bool | int | float | np.generic)


def kind_of(value: Value) -> str:
    """What a value is, for messages."""
    if isinstance(value, Choice):
        return f"{kind_of(value.then)} or {kind_of(value.other)}"
    if isinstance(value, Array):
        return f"an array of shape {value.shape}"
    if isinstance(value, Instance):
        return f"a {value.type.name}"
    names: list[tuple[Any, str]] = [
        (bool | np.bool_, "a truth value"), (int | np.integer, "an integer"),
        (Num | float | np.floating, "a number"), (str, "a string"), (tuple, "a tuple"),
        (ListCell, "a list"), (DictCell, "a dict"), (SetCell, "a set"), (range, "a range"),
        (Selection, "a selection by a mask"), (IteratorValue, "an iterator"),
        (Function | Builtin | Bound, "a function"), (Module, "a module"),
        (Type | Class | ExceptionType, "a type"), (ExceptionValue, "an exception"),
        (slice, "a slice"), (DictView, "the view of a dict"),
    ]  # fmt: skip
    if value is None:
        return "None"
    return next((name for type_, name in names if isinstance(value, type_)), "such a value")
