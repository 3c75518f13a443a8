"""Indexing and iterating: arrays with NumPy's views, lists and dicts with entries that may lack."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from reward_codegen.errors import ShapeError
from reward_codegen.language.core import known
from reward_codegen.language.graph import Node, Truth
from reward_codegen.language.operators import DTYPE_OF_KIND, INTEGER, Operators
from reward_codegen.language.values import (
    NOTHING,
    Array,
    Choice,
    DictCell,
    DictView,
    Instance,
    IteratorValue,
    ListCell,
    Num,
    ProgramError,
    Selection,
    SetCell,
    Value,
    is_known_number,
    kind_of,
)

Entry = tuple[Truth, Value]
_TABLE = 20_000  # entries of the table of an index that depends on the state


class Indexing(Operators):
    """Reading and writing parts of values."""

    # Iterating ----------------------------------------------------------------------------------

    def entries(self, value: Value) -> Iterator[Entry]:
        """(whether it is there, item) of what a loop visits, one after the other."""
        value = self.look(value)
        if isinstance(value, Choice):
            first, second = list(self.entries(value.then)), list(self.entries(value.other))
            condition, graph = value.condition, self.graph
            negated = graph.not_(condition)
            if len(first) == len(second) and all(
                p is q for (p, _), (q, _) in zip(first, second, strict=True)
            ):
                both = zip(first, second, strict=True)
                return iter([(p, self.merge(condition, a, b)) for (p, a), (_, b) in both])
            return iter(
                [(graph.and_(condition, p), item) for p, item in first]
                + [(graph.and_(negated, p), item) for p, item in second]
            )
        if isinstance(value, IteratorValue):
            return self._once(value)
        if isinstance(value, tuple | str | range):
            self.budget.elements(len(value), "a sequence")
            self.budget.work(len(value))
            return ((True, item) for item in value)
        if isinstance(value, ListCell):
            return self._listed(value)
        if isinstance(value, DictCell):
            return iter([(present, key) for key, (present, _) in value.content.items()])
        if isinstance(value, SetCell):
            return iter(
                [(p, k) for k, p in sorted(value.content.items(), key=lambda e: repr(e[0]))]
            )
        if isinstance(value, DictView):
            return iter(
                [
                    (p, {"keys": key, "values": item, "items": (key, item)}[value.what])
                    for key, (p, item) in value.owner.content.items()
                ]
            )
        if isinstance(value, Instance) and value.type.kind == "tuple":
            return iter([(True, value.content[name]) for name in value.type.fields])
        if isinstance(value, Array):
            if value.shape == ():
                raise ProgramError(
                    "TypeError", "an array without dimensions cannot be iterated over"
                )
            return ((True, self.part(value, row)) for row in range(value.shape[0]))
        if isinstance(value, Selection):
            return iter(
                [
                    (
                        self._entry(value.mask, k),
                        self.of_node(self._entry(value.node, k), value.dtype),
                    )
                    for k in range(value.node.size)
                ]
            )
        raise ProgramError("TypeError", f"{kind_of(value)} cannot be iterated over")

    def _listed(self, value: ListCell) -> Iterator[Entry]:
        place = 0
        while place < len(value.content):
            yield value.content[place]
            place += 1
            self.budget.step()

    def _entry(self, node: Node, place: int) -> Node:
        return self.graph.take(node, np.asarray(place))

    def _once(self, value: IteratorValue) -> Iterator[Entry]:
        if value.state == "partly":
            raise ShapeError("this iterator has gone on in some states only; make a list of it")
        if value.birth != self.here.full and value.state != "spent":
            since = [n for n in self.here.full if n not in value.birth]
            if since:
                raise ShapeError(
                    "an iterator is used up on a path that only some states take; make a list of it"
                )
        value.state = "running" if value.state == "fresh" else value.state
        # Not `yield from`, which would end the entries with their reader.
        while (entry := next(value.entries, None)) is not None:
            yield entry
        value.state = "spent"

    def stopped(self, value: Value) -> None:
        """A consumer has stopped early in some lanes: the rest differs between them."""
        if isinstance(value, IteratorValue) and value.state == "running":
            value.state = "partly"

    def settled(self, value: Value) -> list[Entry]:
        """All entries that may be there."""
        found: list[Entry] = []
        for present, item in self.entries(value):
            here = self.settle(present)
            self.budget.step(1 if isinstance(here, bool) else 20)
            if here is not False:
                found.append((here, item))
            self.budget.elements(len(found), "a sequence")
        return found

    def items(self, value: Value, what: str = "this") -> list[Value]:
        """The items, of which none may be absent."""
        found = self.settled(value)
        if any(present is not True for present, _ in found):
            raise ShapeError(
                f"the length of {what} depends on the state; use np.where and sums, or a fixed list"
            )
        return [item for _, item in found]

    def compact(self, entries: list[Entry]) -> list[Entry]:
        """The same sequence, with those that are there in front."""
        if all(present is True for present, _ in entries):
            return entries
        total = self.count(entries)
        assert isinstance(total, Num)
        surely = sum(present is True for present, _ in entries)
        result = []
        for place in range(len(entries)):
            if place < surely:
                there: Truth = True
            else:
                there = self.graph.known(
                    self.graph.apply("gt", total.node, self.graph.constant(float(place)))
                )
            result.append((self.settle(there), self.nth(entries, place, check=False)))
        return result

    def count(self, entries: list[Entry]) -> Value:
        """How many are there."""
        surely = sum(present is True for present, _ in entries)
        maybe = [present for present, _ in entries if isinstance(present, Node)]
        if not maybe:
            return surely
        node = self.graph.constant(float(surely)) if surely else None
        for present in maybe:
            one = self.graph.real(present)
            node = one if node is None else self.graph.apply("add", node, one)
        assert node is not None
        return Num(node, "i", False)

    def nth(self, entries: list[Entry], place: int, *, check: bool = True) -> Value:
        """The item at a known place among those that are there."""
        ordered = entries if place >= 0 else entries[::-1]
        rank = place if place >= 0 else -place - 1
        if all(present is True for present, _ in ordered[: rank + 1]):
            if rank < len(ordered):
                return ordered[rank][1]
            if check:
                raise ProgramError(
                    "IndexError",
                    f"index {place} is out of range for a sequence of {len(entries)} items",
                )
            return NOTHING
        graph = self.graph
        # before[k]: whether exactly k of those so far are there
        before: list[Truth] = [True, *([False] * rank)]
        hits: list[tuple[Truth, Value]] = []
        for present, item in ordered:
            self.budget.step(rank + 1)
            hits.append((graph.and_(before[rank], present), item))
            absent = graph.not_(present)
            before = [
                graph.or_(
                    graph.and_(before[k], absent),
                    graph.and_(before[k - 1], present) if k else False,
                )
                for k in range(rank + 1)
            ]
        if check:
            missing: Truth = False
            for truth in before:
                missing = graph.or_(missing, truth)
            self.fail_where(missing, "IndexError", f"index {place} is out of range")
        result: Value = NOTHING
        for hit, item in reversed(hits):
            result = self.merge(hit, item, result) if result is not NOTHING else item
        return result

    # Reading --------------------------------------------------------------------------------------

    def getitem(self, container: Value, index: Value) -> Value:
        """`container[index]`."""
        container, index = self.look(container), self.look(index)
        if isinstance(container, Choice):
            if not self._all_arrays(container):
                return self.distribute(container, lambda part: self.getitem(part, index))
            container = self.array(container)
        if isinstance(index, Choice):
            number = self.number(index)
            if number is None:
                return self.distribute(index, lambda part: self.getitem(container, part))
            index = number
        if isinstance(container, Array):
            return self.part(container, index)
        if isinstance(container, DictCell):
            return self._lookup(container, index)
        if isinstance(container, ListCell | tuple | str | range) or (
            isinstance(container, Instance) and container.type.kind == "tuple"
        ):
            return self._item(container, index)
        if isinstance(container, Selection):
            return self._item(self.list_of(tuple(self.settled(container))), index)
        if isinstance(container, Num | np.generic) and index in ((), Ellipsis):
            return container
        raise ProgramError("TypeError", f"{kind_of(container)} cannot be indexed")

    def _item(self, container: Value, index: Value) -> Value:
        if isinstance(index, Array) and index.shape == ():
            index = self.number(index)
        if isinstance(container, str | range):
            if isinstance(index, int | np.integer | slice):
                return known(lambda: container[index])
            container = tuple(container)
        entries = self.settled(container)
        if isinstance(index, slice):
            entries = self.compact(entries)
            if any(p is not True for p, _ in entries) and (
                (index.start or 0) < 0 or (index.stop is not None and index.stop < 0) or index.step
            ):
                raise ShapeError("a slice from the end of a list whose length depends on the state")
            part = tuple(known(lambda: entries[index]))
            if isinstance(container, ListCell):
                return self.list_of(part)
            return tuple(item for _, item in part)
        if isinstance(index, Num):
            return self._chosen(entries, index)
        if not isinstance(index, int | np.integer):
            raise ProgramError(
                "TypeError", f"a sequence is indexed by an integer, not {kind_of(index)}"
            )
        return self.nth(entries, int(index))

    def _chosen(self, entries: list[Entry], index: Num) -> Value:
        """The item at a place that depends on the state."""
        if index.kind == "f":
            raise ProgramError("TypeError", "a sequence is indexed by an integer, not by a float")
        entries = self.compact(entries)
        total = self.count(entries)
        node = self._place(index.node, total)
        result: Value = NOTHING
        for place, (_, item) in reversed(list(enumerate(entries))):
            if result is NOTHING:
                result = item
            else:
                result = self.merge(self._equals(node, place), item, result)
        return result

    def _equals(self, node: Node, number: float) -> Truth:
        return self.graph.known(self.graph.apply("eq", node, self.graph.constant(float(number))))

    def _place(self, index: Node, length: Value) -> Node:
        """An index within bounds, counted from the front; lanes outside of them fail."""
        graph = self.graph
        size = self.plain_number(length)
        assert size is not None
        index = graph.real(index)
        low = graph.apply("lt", index, graph.apply("neg", size.node))
        high = graph.apply("ge", index, size.node)
        self.fail_where(graph.or_(low, high), "IndexError", "an index is out of range")
        negative = graph.apply("lt", index, graph.constant(0.0))
        return graph.select(negative, graph.apply("add", index, size.node), index)

    def _lookup(self, container: DictCell, index: Value) -> Value:
        if isinstance(index, Num) or (isinstance(index, Array) and index.shape == ()):
            number = self.number(index)
            hits = []
            found: Truth = False
            for key, (present, value) in container.content.items():
                if isinstance(key, int | float):
                    hit = self.graph.and_(present, self.equal(number, key))
                    hits.append((hit, value))
                    found = self.graph.or_(found, hit)
            self.fail_where(self.graph.not_(found), "KeyError", "the dict has no such key")
            result: Value = NOTHING
            for hit, value in reversed(hits):
                result = value if result is NOTHING else self.merge(hit, value, result)
            return result
        key = self.key(index)
        present, value = container.content.get(key, (False, NOTHING))
        if present is False:
            names = ", ".join(repr(name) for name in list(container.content)[:8])
            raise ProgramError("KeyError", f"the dict has no key {key!r}; it has {names or 'none'}")
        self.fail_where(self.graph.not_(present), "KeyError", f"the dict has no key {key!r}")
        return self.look(value)

    # Arrays ---------------------------------------------------------------------------------------

    def part(self, array: Array, index: Value) -> Value:
        """A part of an array: a view of it, a copy, a scalar, or a selection."""
        parts = self._parts(index)
        masks = [p for p in parts if isinstance(p, Array) and p.dtype.kind == "b"]
        if masks:
            return self._selected(array, parts)
        if any(isinstance(p, Num | Array) for p in parts):
            places, _ = self._places(array, parts)
            content = array.buffer.content
            node = content if isinstance(content, Node) else self.graph.constant(content)
            return self.of_node(self.graph.gather(node, places), array.dtype, array.buffer.fixed)
        index = known(lambda: array.index[tuple(parts)])
        content = array.buffer.content
        basic = all(
            p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts
        ) and not any(isinstance(p, bool) for p in parts)
        if basic and np.shape(index) != ():
            return Array(array.buffer, index, array.readonly)
        index = np.asarray(index)
        if not isinstance(content, Node):
            return self.of_known(content.reshape(-1)[index], array.buffer.fixed)
        return self.of_node(self.graph.take(content, index), array.dtype, array.buffer.fixed)

    def _parts(self, index: Value) -> list[Any]:
        """The parts of an index, known ones as NumPy takes them."""
        raw = list(index) if isinstance(index, tuple) else [index]
        parts: list[Any] = []
        for part in raw:
            part = self.look(part)
            if isinstance(part, Choice):
                part = self.array(part)
            if isinstance(part, ListCell | tuple | range):
                part = self.array(part)
            if isinstance(part, Array):
                content = self.known_array(part)
                if content is not None:
                    part = content if content.size else content.astype(int)
                elif part.shape == ():
                    part = self.number(part)
            if isinstance(part, float | np.floating) or (
                isinstance(part, Num) and part.kind != "i"
            ):
                if isinstance(part, Num) and part.kind == "b":
                    raise ShapeError("an index that is a truth is not admitted; use np.where")
                raise ProgramError("IndexError", "an array is indexed by integers, not by floats")
            if isinstance(part, Array) and part.dtype.kind == "f":
                raise ProgramError("IndexError", "arrays used as indices must be of integers")
            if isinstance(part, slice):
                part = self._slice(part)
            elif isinstance(part, str | DictCell | Instance | Selection):
                raise ProgramError("IndexError", f"{kind_of(part)} is no index of an array")
            parts.append(part)
        return parts

    def _slice(self, part: slice) -> slice:
        bounds = [
            None if bound is None else self.integer(bound, "one of the bounds of this slice")
            for bound in (part.start, part.stop, part.step)
        ]
        return slice(*bounds)

    def _places(self, array: Array, parts: list[Any]) -> tuple[Node, np.ndarray]:
        """Where the entries lie, for indices that depend on the state.

        Returns the places as a node, and the table of all of them: by index, then by entry.
        """
        graph = self.graph
        traced = [k for k, p in enumerate(parts) if isinstance(p, Num | Array)]
        if any(isinstance(p, Array | np.ndarray) for p in parts):
            return self._places_of_many(array, parts)
        full = self._expanded(parts, array.index.ndim)
        axes = [k for k, p in enumerate(full) if isinstance(p, Num)]
        real = [k for k in range(len(full)) if full[k] is not None]
        lengths = [array.shape[real.index(k)] for k in axes]
        self.budget.elements(int(np.prod(lengths, dtype=np.int64)))
        rows = []
        for combination in itertools.product(*(range(length) for length in lengths)):
            self.budget.step()
            at = list(full)
            for axis, place in zip(axes, combination, strict=True):
                at[axis] = place
            rows.append(np.asarray(known(lambda at=at: array.index[tuple(at)])))
        table = np.stack(rows)
        if table.size > _TABLE:
            raise ShapeError("an index that depends on the state is used on too large an array")
        number: Node | None = None
        for axis, length in zip(axes, lengths, strict=True):
            bounded = self._bounded(full[axis].node, length, array.buffer.fixed)
            if number is None:
                number = bounded
            else:
                number = graph.apply("mul", number, graph.constant(float(length)))
                number = graph.apply("add", number, bounded)
        assert number is not None and traced
        return self._from_table(table, number), table

    def _bounded(self, index: Node, length: int, fixed: bool) -> Node:
        if not fixed:
            return self._place(index, length)
        graph = self.graph  # JAX does not raise: it takes the nearest
        index = graph.real(index)
        negative = graph.apply("lt", index, graph.constant(0.0))
        index = graph.select(negative, graph.apply("add", index, graph.constant(length)), index)
        index = graph.apply("max", index, graph.constant(0.0))
        return graph.apply("min", index, graph.constant(float(length - 1)))

    def _from_table(self, table: np.ndarray, row: Node) -> Node:
        graph = self.graph
        count = int(np.prod(table.shape[1:], dtype=np.int64))
        step = graph.apply("mul", row, graph.constant(float(count))) if count != 1 else row
        shape = row.shape + table.shape[1:]
        step = graph.take(step, np.arange(row.size).reshape(row.shape + (1,) * (table.ndim - 1)))
        offsets = graph.constant(np.arange(float(count)).reshape(table.shape[1:]))
        places = graph.apply("add", step, offsets) if table.ndim > 1 else step
        if (table.reshape(-1) == np.arange(table.size)).all():
            return places
        assert places.shape == shape
        return graph.gather(graph.constant(table.astype(float)), places)

    def _places_of_many(self, array: Array, parts: list[Any]) -> tuple[Node, np.ndarray]:
        if len(parts) != 1 or not isinstance(parts[0], Array):
            raise ShapeError(
                "an array of indices that depends on the state is admitted alone, as in x[order]"
            )
        index = self.node_of(parts[0])
        length = array.shape[0]
        graph = self.graph
        low = graph.apply("lt", index, graph.constant(float(-length)))
        high = graph.apply("ge", index, graph.constant(float(length)))
        outside = self.any_of(graph.apply("or", low, high))
        self.fail_where(outside, "IndexError", "an index is out of range")
        negative = graph.apply("lt", index, graph.constant(0.0))
        index = graph.select(negative, graph.apply("add", index, graph.constant(length)), index)
        return self._from_table(array.index, index), array.index

    @staticmethod
    def _expanded(parts: list[Any], ndim: int) -> list[Any]:
        """An index with a part for each dimension, and its new ones."""
        used = sum(part is not None and part is not Ellipsis for part in parts)
        if used > ndim:
            raise ProgramError("IndexError", f"too many indices: the array has {ndim} dimensions")
        rest = [slice(None)] * (ndim - used)
        if any(part is Ellipsis for part in parts):
            place = next(k for k, part in enumerate(parts) if part is Ellipsis)
            return parts[:place] + rest + parts[place + 1 :]
        return parts + rest

    def _selected(self, array: Array, parts: list[Any]) -> Value:
        mask = parts[0]
        if len(parts) != 1 or mask.shape != array.shape:
            raise ShapeError(
                "a mask that depends on the state must be alone and of the array's shape; "
                "use np.where"
            )
        flat = np.arange(array.index.size)
        return Selection(
            self.graph.take(self.node_of(array), flat),
            self.graph.take(self.node_of(mask), flat),
            array.dtype,
        )

    # Writing --------------------------------------------------------------------------------------

    def setitem(self, container: Value, index: Value, value: Value) -> None:
        """`container[index] = value`."""
        container, index = self.look(container), self.look(index)
        if isinstance(container, Choice):
            self.distribute(container, lambda part: self.setitem(part, index, value))
            return
        if isinstance(index, Choice):
            number = self.number(index)
            if number is None:
                self.distribute(index, lambda part: self.setitem(container, part, value))
                return
            index = number
        if isinstance(container, Array):
            self._set_part(container, index, value)
        elif isinstance(container, DictCell):
            key = self.key(index)
            self.write(container, {**container.content, key: (True, value)})
            self.budget.elements(len(container.content), "a dict")
        elif isinstance(container, ListCell):
            self._set_item(container, index, value)
        else:
            raise ProgramError(
                "TypeError", f"{kind_of(container)} does not support item assignment"
            )

    def _set_item(self, container: ListCell, index: Value, value: Value) -> None:
        entries = list(container.content)
        if isinstance(index, Array) and index.shape == ():
            index = self.number(index)
        if isinstance(index, slice):
            if any(self.settle(p) is not True for p, _ in entries):
                raise ShapeError("a slice of a list whose length depends on the state")
            entries[self._slice(index)] = self.settled(value)
        elif any(self.settle(p) is not True for p, _ in entries):
            raise ShapeError("an item of a list whose length depends on the state is assigned to")
        elif isinstance(index, Num):
            if index.kind == "f":
                raise ProgramError("TypeError", "a list is indexed by an integer, not by a float")
            place = self._place(index.node, len(entries))
            entries = [
                (p, self.merge(self._equals(place, k), value, item))
                for k, (p, item) in enumerate(entries)
            ]
        else:
            at = self.integer(index, "an index")
            if not -len(entries) <= at < len(entries):
                raise ProgramError("IndexError", f"index {at} is out of range")
            entries[at] = (True, value)
        self.budget.elements(len(entries), "a list")
        self.write(container, tuple(entries))

    def cast_node(self, node: Node, dtype: np.dtype) -> Node:
        """Numbers as an array of this type holds them."""
        if dtype.kind == "b":
            return self.graph.truth(node)
        node = self.graph.real(node)
        return self.graph.apply("trunc", node) if dtype.kind in "iu" else node

    def _set_part(self, array: Array, index: Value, value: Value) -> None:
        buffer, graph = array.buffer, self.graph
        if array.readonly:
            raise ProgramError("ValueError", "assignment destination is read-only")
        if buffer.fixed:
            raise ProgramError(
                "TypeError",
                "this array cannot be changed in place; with JAX write x.at[...].set(...)",
            )
        parts = self._parts(index)
        plain = self.value_of(value) if buffer.dtype.kind == "f" else None
        value = self.array(value) if plain is None else plain
        content = buffer.content
        old = content if isinstance(content, Node) else graph.constant(content)
        if buffer.dtype.kind not in "fib":
            raise ShapeError(f"an array of {buffer.dtype} is not admitted")
        if any(isinstance(p, Array) and p.dtype.kind == "b" for p in parts):
            self._set_masked(array, parts, value, old)
            return
        if isinstance(value, Selection):
            raise ShapeError("a selection by a mask is assigned to another place; use np.where")
        new, kind = self.operand(value)
        if DTYPE_OF_KIND.get(kind, kind) != buffer.dtype:
            new = self.cast_node(new, buffer.dtype)
        if any(isinstance(p, Array) for p in parts):
            self._set_many(array, parts, value)
            return
        if any(isinstance(p, Num) for p in parts):
            places, table = self._places(array, parts)
            if new.shape not in ((), places.shape):
                known(np.broadcast_to, np.empty(new.shape), places.shape)
            origin = np.full(old.size, -1)
            origin[table.reshape(-1)] = np.arange(table.size) % max(
                int(np.prod(table.shape[1:], dtype=np.int64)), 1
            )
            numbers = graph.constant(np.arange(float(old.size)).reshape(old.shape))
            if places.shape == ():
                hit = graph.apply("eq", numbers, places)
            else:
                first = graph.take(places, np.clip(origin, 0, None).reshape(old.shape))
                hit = graph.apply("eq", numbers, first)
            if new.shape != ():
                spread = graph.take(
                    new, np.broadcast_to(np.arange(new.size).reshape(new.shape), places.shape)
                )
                new = graph.take(spread, np.clip(origin, 0, None).reshape(old.shape))
            node = graph.select(hit, new, old)
        else:
            at = np.asarray(known(lambda: array.index[tuple(parts)]))
            if new.shape != at.shape:
                shape = new.shape
                while len(shape) > at.ndim and shape[0] == 1:  # as NumPy drops leading ones
                    shape = shape[1:]
                known(np.broadcast_to, np.empty(shape), at.shape)
                new = graph.take(new, np.arange(new.size).reshape(shape))
            node = graph.put(old, at, new)
        self.write_array(array, node)

    def write_array(self, array: Array, node: Node) -> None:
        """New entries for a whole buffer."""
        buffer = array.buffer
        content: Any = node
        if node.op == "const":
            content = node.data.astype(buffer.dtype)
        self.write(buffer, content)
        if isinstance(buffer.content, Node) and buffer.content.op == "const":
            buffer.content = buffer.content.data.astype(buffer.dtype)

    def _set_masked(self, array: Array, parts: list[Any], value: Value, old: Node) -> None:
        mask = parts[0]
        if len(parts) != 1 or mask.shape != array.shape:
            raise ShapeError(
                "a mask that depends on the state must be alone and of the array's shape"
            )
        graph = self.graph
        condition = self.node_of(mask)
        if isinstance(value, Selection):
            flat = graph.take(condition, np.arange(condition.size))
            if value.mask is not flat:
                raise ShapeError("what is assigned is selected by another mask; use np.where")
            new = graph.take(value.node, np.arange(value.node.size).reshape(array.shape))
        else:
            new, _ = self.operand(value)
            if new.shape != () and new.size != 1:
                raise ShapeError(
                    "a mask that depends on the state takes single values; use np.where"
                )
            if new.shape != ():
                new = graph.take(new, np.zeros((), int))
        new = self.cast_node(new, array.dtype)
        entries = graph.select(condition, new, self.node_of(array))
        self.write_array(array, graph.put(old, array.index, entries))

    def _set_many(self, array: Array, parts: list[Any], value: Value) -> None:
        if len(parts) != 1 or parts[0].index.ndim != 1:
            raise ShapeError("an array of indices that depends on the state is admitted alone")
        places = list(self.entries(parts[0]))
        count = len(places)
        if isinstance(value, Array) and value.shape[:1] == (count,):
            values = [item for _, item in self.entries(value)]
        else:
            values = [value] * count
        for (_, place), item in zip(places, values, strict=True):
            self._set_part(array, place, item)

    def assign_whole(self, array: Array, value: Value) -> None:
        """`array[...] = value`, for results that NumPy writes in place."""
        self._set_part(array, Ellipsis, value)

    def update(self, array: Array, symbol: str, value: Value) -> None:
        """`array += value` and its like: NumPy changes the array itself."""
        result = self.binary(symbol, array, value)
        dtype = result.dtype if isinstance(result, Array) else None
        if dtype is None:
            number = self.plain_number(result)
            dtype = DTYPE_OF_KIND[number.kind] if number is not None else INTEGER
        shape = result.shape if isinstance(result, Array) else ()
        if shape != array.shape:
            raise ProgramError(
                "ValueError",
                f"a result of shape {shape} does not fit into an array of shape {array.shape}",
            )
        if not np.can_cast(dtype, array.dtype, "same_kind"):
            raise ProgramError(
                "UFuncTypeError", "a float result does not fit into an array of integers"
            )
        self.assign_whole(array, result)

    def delitem(self, container: Value, index: Value) -> None:
        """`del container[index]`."""
        container = self.look(container)
        if isinstance(container, DictCell):
            self._lookup(container, index)
            key = self.key(index)
            self.write(container, {k: v for k, v in container.content.items() if k != key})
        elif isinstance(container, ListCell):
            entries = self.compact(self.settled(container))
            at = self._slice(index) if isinstance(index, slice) else self.integer(index, "an index")
            if any(p is not True for p, _ in entries):
                raise ShapeError("`del` of an item of a list whose length depends on the state")
            known(entries.__delitem__, at)
            self.write(container, tuple(entries))
        else:
            raise ProgramError("TypeError", f"{kind_of(container)} does not support item deletion")


def is_scalar(value: Value) -> bool:
    """Whether a value is a single number."""
    return isinstance(value, Num) or is_known_number(value)
