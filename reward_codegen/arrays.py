"""Indexing and changing arrays and containers, with NumPy's meaning.

Indices that are known are checked against the shape, where JAX would clamp them silently; one that
is traced is checked in each lane. Basic slices are views, as in NumPy.
"""

from typing import Any

import numpy as np

from reward_codegen.errors import ShapeError
from reward_codegen.machine import Machine
from reward_codegen.values import (
    Array,
    DictValue,
    Indexable,
    ListValue,
    Masked,
    Record,
    Value,
    is_number,
    is_static_int,
    is_traced,
    kind_of,
)


def subscript(machine: Machine, container: Value, index: Value) -> Value:
    """`container[index]`."""
    container, index = machine.decide(container), machine.decide(index)
    if isinstance(container, Array):
        return _read(machine, container, index)
    if isinstance(container, DictValue):
        return _lookup(machine, container, index)
    if isinstance(container, ListValue | tuple | str | range | Record):
        items = machine.items(container)
        if isinstance(index, slice):
            part = items[index]
            if isinstance(container, str):
                return "".join(part)
            return machine.make_list(part) if isinstance(container, ListValue) else part
        if is_traced(index):
            return _read(machine, machine.wrap(machine.array(container)), index)
        place = _place(machine, index, len(items), kind_of(container))
        return items[place]
    if isinstance(container, _At):
        return _AtIndex(container.array, index)
    if isinstance(container, Indexable):
        return container.get(machine, index)
    if is_number(container) and (index == () or index is Ellipsis):
        return container
    raise TypeError(f"{kind_of(container)} cannot be indexed")


def assign(machine: Machine, container: Value, index: Value, value: Value) -> None:
    """`container[index] = value`."""
    container, index = machine.decide(container), machine.decide(index)
    if isinstance(container, Array):
        content = container.read()
        machine.write(container, _replaced(machine, content, index, value))
    elif isinstance(container, DictValue):
        content = dict(machine.content(container))
        content[machine.key(index)] = value
        machine.budget.elements(len(content), "a dict")
        machine.write(container, content)
    elif isinstance(container, ListValue):
        items = list(machine.content(container))
        if isinstance(index, slice):
            items[index] = machine.items(value)
        elif is_traced(index):
            at = machine.backend.apply("where", index < 0, index + len(items), index)
            _check(machine, at, len(items))
            items = [
                machine.merge(machine.backend.apply("==", at, place), value, item)
                for place, item in enumerate(items)
            ]
        else:
            items[_place(machine, index, len(items), "a list")] = value
        machine.write(container, tuple(items))
    else:
        raise TypeError(f"{kind_of(container)} does not support item assignment")


def extend(machine: Machine, target: ListValue, value: Value) -> None:
    """`list += values`."""
    content = (*machine.content(target), *machine.items(value))
    machine.budget.elements(len(content), "a list")
    machine.write(target, content)


def update(machine: Machine, array: Array, operator: str, value: Value) -> Value:
    """`array += value` and its like: NumPy changes the array itself."""
    old = array.read()
    result = machine.binary(operator, array, value)
    new = result.read() if isinstance(result, Array) else result
    if np.shape(new) != np.shape(old):
        raise ValueError(
            f"a result of shape {np.shape(new)} does not fit into an array of shape {old.shape}"
        )
    if _is_float(new) and not _is_float(old):
        raise TypeError("a float result does not fit into an integer array; use astype(float)")
    machine.write(array, new)
    return array


# Reading ---------------------------------------------------------------------------------------


def _lookup(machine: Machine, container: DictValue, index: Value) -> Value:
    content = machine.content(container)
    if is_traced(index):
        # One of the numeric keys, or a failure.
        numeric = [key for key in content if isinstance(key, int | float)]
        if not numeric:
            raise KeyError("a dict of names has no entry for a number")
        result: Value = content[numeric[-1]]
        found: Value = False
        for key in reversed(numeric):
            equal = machine.backend.apply("==", index, key)
            result = machine.merge(equal, content[key], result)
            found = machine.merge(equal, True, found)
        machine.fail_where(machine.negate(found), "KeyError", "no such key")
        return result
    key = machine.key(index)
    if key not in content:
        known = ", ".join(repr(name) for name in list(content)[:8])
        raise KeyError(f"the dict has no key {key!r}; it has {known or 'none'}")
    return content[key]


def _place(machine: Machine, index: Value, length: int, what: str) -> int:
    if not is_static_int(index):
        raise TypeError(f"{what} is indexed by an integer, not {kind_of(index)}")
    place = int(index)
    if not -length <= place < length:
        raise IndexError(
            f"index {place} is out of range for {what} of {length} entries (0 to {length - 1})"
            if length
            else f"index {place} is out of range: {what} is empty"
        )
    return place + length if place < 0 else place


def _read(machine: Machine, array: Array, index: Value) -> Value:
    content = array.read()
    is_bool = isinstance(index, bool | np.bool_)  # to NumPy a mask, not an integer
    if content.ndim == 1 and is_static_int(index) and not is_bool:
        return machine.apply("index", content, _place(machine, index, content.shape[0], "an array"))
    parts = index if isinstance(index, tuple) else (index,)
    if any(_is_mask(part) for part in parts):
        return _select(machine, content, parts)
    if any(_is_dynamic(part) for part in parts):
        return machine.apply("index", content, _checked(machine, content, parts))
    known = _known(machine, parts)
    _try(content.shape, known)
    if all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in known):
        key = known[0] if len(known) == 1 else known
        if _try(content.shape, known).ndim == 0:
            return machine.apply("index", content, key)
        return machine.view(
            array,
            lambda base: machine.backend.apply("index", base, key),
            lambda base, new: _put(machine, base, known, new),
        )
    return machine.apply("index", content, known[0] if len(known) == 1 else known)


def _known(machine: Machine, parts: tuple[Value, ...]) -> tuple[Any, ...]:
    """An index without traced parts, as NumPy takes it."""
    known: list[Any] = []
    for part in parts:
        part = machine.decide(part)
        if part is None or part is Ellipsis or isinstance(part, slice):
            known.append(part)
        elif is_static_int(part) and not isinstance(part, bool | np.bool_):
            known.append(int(part))
        elif isinstance(part, Array | ListValue | tuple | range):
            entries = np.asarray(machine.array(part))
            if entries.size == 0:
                entries = entries.astype(int)
            if entries.dtype.kind not in "iub":
                raise IndexError("an index must be an integer, a slice, or an array of integers")
            known.append(entries)
        else:
            raise IndexError(
                f"{kind_of(part)} is no index; use an integer, a slice, or an array of integers"
            )
    return tuple(known)


def _try(shape: tuple[int, ...], known: tuple[Any, ...]) -> Any:
    """What an index selects from an array of this shape; raises IndexError if it cannot."""
    for axis, part in enumerate(known):
        if isinstance(part, int) and axis < len(shape) and known[:axis].count(None) == 0:
            if Ellipsis in [p for p in known[:axis] if p is Ellipsis]:
                break
            size = shape[axis]
            if all(isinstance(p, int | slice) for p in known[:axis]) and not -size <= part < size:
                raise IndexError(
                    f"index {part} is out of range for {size} entries (0 to {size - 1})"
                    if size
                    else f"index {part} is out of range: there are no entries"
                )
    return np.broadcast_to(np.False_, shape)[known]


def _is_dynamic(part: Value) -> bool:
    if isinstance(part, Array):
        part = part.read()
    if isinstance(part, ListValue):
        return any(_is_dynamic(item) for item in part.content)
    return is_traced(part) and part.dtype != bool


def _is_mask(part: Value) -> bool:
    content = part.read() if isinstance(part, Array) else part
    return is_traced(content) and content.dtype == bool


def _checked(machine: Machine, content: Any, parts: tuple[Value, ...]) -> Any:
    """A traced index with non-negative entries; lanes where it is out of range fail."""
    result: list[Any] = []
    for axis, part in enumerate(parts):
        if isinstance(part, ListValue | Array):
            part = machine.array(part)
        if part is None or part is Ellipsis:
            raise ShapeError("an index that depends on the state combines with no None or `...`")
        if is_traced(part):
            if part.dtype.kind not in "iu":
                raise IndexError("an index must be an integer; use int(...)")
            size = content.shape[axis]
            backend = machine.backend
            wrapped = backend.apply(
                "where", backend.apply("<", part, 0), backend.apply("+", part, size), part
            )
            _check(machine, wrapped, size)
            part = backend.apply("clip", wrapped, 0, size - 1)
        result.append(part)
    return result[0] if len(result) == 1 else tuple(result)


def _check(machine: Machine, place: Any, size: int) -> None:
    backend = machine.backend
    outside = backend.apply(
        "logical_or", backend.apply("<", place, 0), backend.apply(">=", place, size)
    )
    if np.ndim(outside):
        outside = backend.apply("any", outside)
    machine.fail_where(outside, "IndexError", "index out of range")


def _select(machine: Machine, content: Any, parts: tuple[Value, ...]) -> Masked:
    mask = machine.array(parts[0])
    if len(parts) != 1 or np.shape(mask) != np.shape(content):
        raise ShapeError(
            "a mask that depends on the state must have the shape of the array that it selects from"
        )
    return Masked(content, mask)


# Other shapes ------------------------------------------------------------------------------------


def transposed(machine: Machine, array: Value) -> Value:
    """`array.T`, a view."""
    if not isinstance(array, Array) or len(array.shape) < 2:
        return array
    apply = machine.backend.apply
    return machine.view(
        array,
        lambda base: apply("transpose", base),
        lambda base, new: apply("transpose", new),
    )


def reshaped(machine: Machine, array: Value, shape: Any) -> Value:
    """`array.reshape(shape)`, a view."""
    apply = machine.backend.apply
    if not isinstance(array, Array):
        return machine.apply("reshape", array, shape)
    if np.reshape(np.empty(array.shape), shape).ndim == 0:
        return machine.apply("reshape", array.read(), shape)
    return machine.view(
        array,
        lambda base: apply("reshape", base, shape),
        lambda base, new: apply("reshape", new, base.shape),
    )


def squeezed(machine: Machine, array: Value, axis: Any) -> Value:
    """`array.squeeze(axis)`, a view."""
    return reshaped(
        machine, array, np.squeeze(np.empty(np.shape(machine.array(array))), axis).shape
    )


# Writing ---------------------------------------------------------------------------------------


def _replaced(machine: Machine, content: Any, index: Value, value: Value) -> Any:
    """`content` with the entries at `index` replaced by `value`."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(_is_mask(part) for part in parts):
        mask = machine.array(parts[0])
        value = machine.decide(value)
        if isinstance(value, Masked):
            if value.mask is not mask:
                raise ShapeError("the two masks of this assignment differ; use np.where")
            new = value.content
        else:
            new = machine.array(value)
            if np.ndim(new):
                raise ShapeError(
                    "where a mask depends on the state, assign a number, or use np.where"
                )
        if len(parts) != 1 or np.shape(mask) != np.shape(content):
            raise ShapeError("a mask that depends on the state must have the array's shape")
        return _cast(machine, machine.backend.apply("where", mask, new, content), content)
    new = machine.array(value)
    if any(_is_dynamic(part) for part in parts):
        place = _checked(machine, content, parts)
        return machine.backend.apply("index_set", content, place, new)
    known = _known(machine, parts)
    _try(content.shape, known)
    return _put(machine, content, known, new)


def _put(machine: Machine, content: Any, known: tuple[Any, ...], new: Any) -> Any:
    """`content` with `new` at a known place."""
    target = _try(content.shape, known)
    if np.broadcast_shapes(np.shape(new), target.shape) != target.shape:
        raise ValueError(
            f"a value of shape {np.shape(new)} does not fit into a place of shape {target.shape}"
        )
    if not is_traced(content) and not is_traced(new):
        copy = content.copy()
        copy[known] = new
        return copy
    if np.ndim(new) == 0:
        # A selection by a constant mask, which compiles to less than a scatter.
        mask = np.zeros(content.shape, bool)
        mask[known] = True
        return _cast(machine, machine.backend.apply("where", mask, new, content), content)
    return machine.backend.apply("index_set", content, known, new)


def _cast(machine: Machine, new: Any, old: Any) -> Any:
    """`new` with the number type of the array that it is written into, as NumPy casts it."""
    if _is_float(new) and not _is_float(old):
        return machine.backend.apply("astype", new, old.dtype)
    return new


def _is_float(content: Any) -> bool:
    dtype = getattr(content, "dtype", None)
    return isinstance(content, float) if dtype is None else dtype.kind == "f"


# JAX's functional updates ------------------------------------------------------------------------


class _At:
    """`array.at`."""

    def __init__(self, array: Array) -> None:
        self.array = array


class _AtIndex:
    """`array.at[index]`."""

    def __init__(self, array: Array, index: Value) -> None:
        self.array = array
        self.index = index


def at(array: Array) -> _At:
    """`array.at`, to be indexed."""
    return _At(array)


_AT_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "mul": "*", "divide": "/"}
_AT_FUNCTIONS = {"min": "minimum", "max": "maximum", "power": "power"}
AT_METHODS = frozenset({"set", "get", *_AT_OPERATORS, *_AT_FUNCTIONS})


def is_at_index(value: Value) -> bool:
    """Whether a value is `array.at[index]`."""
    return isinstance(value, _AtIndex)


def at_method(machine: Machine, place: Any, name: str, arguments: tuple[Value, ...]) -> Value:
    """`array.at[index].set(value)` and its like: a new array."""
    old = _read(machine, place.array, place.index)
    if name == "get":
        return old
    if len(arguments) != 1:
        raise TypeError(f".at[...].{name} takes one value")
    value = arguments[0]
    if name in _AT_OPERATORS:
        value = machine.binary(_AT_OPERATORS[name], old, value)
    elif name in _AT_FUNCTIONS:
        value = machine.apply(_AT_FUNCTIONS[name], machine.array(old), machine.array(value))
    return machine.wrap(_replaced(machine, place.array.read(), place.index, value))
