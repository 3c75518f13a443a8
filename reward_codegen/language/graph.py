"""What a program computes, as a graph of operations on arrays.

The interpreter builds it; `compute` runs it in double precision, `lower` hands it to JAX. Equal
operations are one node, what is constant is computed at once, and moves of entries (slices,
transposes, repeats) are followed back to where the entries come from.
"""

from typing import Any, Final

import numpy as np

from reward_codegen.budget import Budget
from reward_codegen.errors import ShapeError
from reward_codegen.language.primitives import PRIMITIVES, quiet

_STACKED = 64  # entries of an array that is kept entry by entry
_TINY, _HUGE = 1.2e-38, 3.4e38  # what single precision holds
_ONLY_COMPARES: Final = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "min", "max", "fmin"})


class Node:
    """One operation: its name, operands, what else it needs, and the shape of its result.

    `level` is 0 outside of rolled loops, 1 where the body of one takes part, and so on.
    """

    __slots__ = ("args", "data", "is_bool", "level", "op", "serial", "shape")

    def __init__(
        self, op: str, args: tuple["Node", ...], data: Any, shape: tuple[int, ...], is_bool: bool
    ) -> None:
        self.op = op
        self.args = args
        self.data = data
        self.shape = shape
        self.is_bool = is_bool
        self.level: int = max([arg.level for arg in args], default=0)
        self.serial = 0

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))


Truth = bool | Node


class Graph:
    """Makes nodes, each once."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._nodes: dict[Any, Node] = {}
        self._serial = 0

    # Making nodes -----------------------------------------------------------------------------

    def _node(
        self,
        op: str,
        args: tuple[Node, ...] = (),
        data: Any = None,
        *,
        shape: tuple[int, ...],
        is_bool: bool = False,
        key: Any = None,
    ) -> Node:
        full = (op, tuple(map(id, args)), data if key is None else key)
        found = self._nodes.get(full)
        if found is not None:
            return found
        node = Node(op, args, data, shape, is_bool)
        self._serial += 1
        node.serial = self._serial
        if op != "const":
            self.budget.operation()
            self.budget.work(node.size)
        self._nodes[full] = node
        return node

    def fresh(self, op: str, args: tuple[Node, ...], data: Any, shape: tuple[int, ...]) -> Node:
        """A node that is like no other: a loop."""
        return self._node(op, args, data, shape=shape, key=object())

    def constant(self, value: Any) -> Node:
        """A known number, truth or array."""
        array = np.asarray(value)
        if array.dtype != bool:
            try:
                array = array.astype(np.float64)
            except OverflowError:
                array = np.asarray(np.inf if value > 0 else -np.inf)
        return self._node(
            "const",
            data=array,
            shape=array.shape,
            is_bool=array.dtype == bool,
            key=(array.shape, array.dtype.char, array.tobytes()),
        )

    def input(self, name: str, size: int) -> Node:
        """An argument of the function."""
        return self._node("input", data=name, shape=(size,))

    def placeholder(self, shape: tuple[int, ...], is_bool: bool, level: int) -> Node:
        """What goes round in a rolled loop."""
        node = self._node("placeholder", shape=shape, is_bool=is_bool, key=object())
        node.level = level
        return node

    def item(self, node: Node, place: int, shape: tuple[int, ...], is_bool: bool) -> Node:
        """One of the results of a node that has several."""
        return self._node("item", (node,), place, shape=shape, is_bool=is_bool)

    # Entry by entry ---------------------------------------------------------------------------

    def apply(self, op: str, *args: Node) -> Node:
        """An operation of `PRIMITIVES` on operands that broadcast."""
        primitive = PRIMITIVES[op]
        if not primitive.takes_bool:
            args = tuple(self.real(arg) for arg in args)
        if all(arg.op == "const" for arg in args):
            with quiet():
                return self.constant(primitive.numpy(*(arg.data for arg in args)))
        self._check_range(op, args)
        simple = self._simpler(op, args)
        if simple is not None:
            return simple
        shape = np.broadcast_shapes(*(arg.shape for arg in args))
        self.budget.elements(int(np.prod(shape, dtype=np.int64)))
        return self._node(op, args, shape=shape, is_bool=primitive.gives_bool)

    def _check_range(self, op: str, args: tuple[Node, ...]) -> None:
        if op == "add" and any(arg.op == "exp" for arg in args):
            return  # the log of it is taken care of
        for arg in args:
            if arg.op != "const" or arg.is_bool or op in _ONLY_COMPARES:
                continue
            sizes = np.abs(arg.data[np.isfinite(arg.data) & (arg.data != 0)])
            if sizes.size and (sizes.min() < _TINY or sizes.max() > _HUGE):
                raise ShapeError(
                    "a number below 1.2e-38 or above 3.4e38 is combined with the state, which is "
                    "of single precision; write 1e-30 or 1e30 instead"
                )

    def _simpler(self, op: str, args: tuple[Node, ...]) -> Node | None:
        first = args[0]
        if op == "not":
            return first.args[0] if first.op == "not" else None
        if op == "real":
            return None
        squared = first.op == "square" or (first.op == "mul" and first.args[0] is first.args[1])
        if op == "sqrt" and squared:
            return self.apply("abs", first.args[0])
        if op == "log" and first.op == "add":
            return self._log_of_sum(first)
        if op == "pow" and args[1].op == "const" and args[1].shape == ():
            if args[1].data == 2.0:
                return self.apply("square", first)
            if args[1].data == 1.0:
                return first
            if args[1].data == 0.5:
                # As NumPy: the root of -inf is inf here; the sign of zero does not matter.
                return self.apply("sqrt", first)
        if op == "mul" and any(_is_one(arg) for arg in args):
            one = 0 if _is_one(first) else 1
            return args[1 - one]
        if op == "div" and _is_one(args[1]):
            return first
        return None

    def _log_of_sum(self, total: Node) -> Node | None:
        """log(exp(u) + c), without what single precision would lose."""
        for part, other in (total.args, total.args[::-1]):
            if part.op == "exp" and other.op == "const" and (other.data > 0).all():
                return self.apply("logaddexp", part.args[0], self.constant(np.log(other.data)))
        return None

    def real(self, node: Node) -> Node:
        """A truth as 0.0 or 1.0."""
        return self.apply("real", node) if node.is_bool else node

    def truth(self, node: Node) -> Node:
        """Whether numbers are not 0."""
        if node.is_bool:
            return node
        return node.args[0] if node.op == "real" else self.apply("ne", node, self.constant(0.0))

    # Truths, known or not ---------------------------------------------------------------------

    def known(self, truth: Truth) -> Truth:
        """A constant node as a bool."""
        if isinstance(truth, Node) and truth.op == "const" and truth.shape == ():
            return bool(truth.data)
        return truth

    def not_(self, truth: Truth) -> Truth:
        return self.known(self.apply("not", truth)) if isinstance(truth, Node) else not truth

    def and_(self, left: Truth, right: Truth) -> Truth:
        """Both of two truths of single values."""
        if not isinstance(left, Node):
            return right if left else False
        if not isinstance(right, Node):
            return left if right else False
        if left is right or right in _conjuncts(left):
            return left
        opposite = self.not_(right)
        if isinstance(opposite, Node) and opposite in _conjuncts(left):
            return False
        return self.known(self.apply("and", left, right))

    def or_(self, left: Truth, right: Truth) -> Truth:
        """One of two truths of single values."""
        if not isinstance(left, Node):
            return True if left else right
        if not isinstance(right, Node):
            return True if right else left
        if left is right or right in _disjuncts(left):
            return left
        if left.op == "not" and right.op == "not":
            return self.not_(self.and_(left.args[0], right.args[0]))
        if self.not_(right) in _disjuncts(left):
            return True
        return self.known(self.apply("or", left, right))

    def select(self, condition: Truth, then: Node, other: Node) -> Node:
        """`then` where the condition holds; operands broadcast."""
        if not isinstance(condition, Node):
            return then if condition else other
        if then is other:
            return then
        if then.is_bool != other.is_bool:
            then, other = self.real(then), self.real(other)
        if condition.op == "const" and condition.shape == ():
            return then if condition.data else other
        shape = np.broadcast_shapes(condition.shape, then.shape, other.shape)
        if condition.op == "not":
            condition, then, other = condition.args[0], other, then
        if then.op == "select" and then.args[0] is condition and then.shape == shape:
            then = then.args[1]
        if other.op == "select" and other.args[0] is condition and other.shape == shape:
            other = other.args[2]
        if then is other and then.shape == shape:
            return then
        args = (condition, then, other)
        if all(arg.op == "const" for arg in args):
            return self.constant(np.where(*(arg.data for arg in args)))
        if then.is_bool and condition.shape == shape == ():
            # A choice of truths is logic.
            if other.op == "const":
                return self._as_node(
                    self.or_(self.not_(condition), then)
                    if other.data
                    else self.and_(condition, then)
                )
            if then.op == "const":
                return self._as_node(
                    self.or_(condition, other)
                    if then.data
                    else self.and_(self.not_(condition), other)
                )
            if then is condition:
                return self._as_node(self.or_(condition, other))
            if other is condition:
                return self._as_node(self.and_(condition, then))
        self.budget.elements(int(np.prod(shape, dtype=np.int64)))
        return self._node("select", args, shape=shape, is_bool=then.is_bool)

    def _as_node(self, truth: Truth) -> Node:
        return truth if isinstance(truth, Node) else self.constant(truth)

    # Moving entries -----------------------------------------------------------------------------

    def take(self, node: Node, index: np.ndarray) -> Node:
        """The entries of `node` at known places, counted through the flat array."""
        if node.shape == index.shape and _is_whole(index):
            return node
        if node.op == "const":
            return self.constant(node.data.reshape(-1)[index])
        if node.op == "take":
            return self.take(node.args[0], node.data.reshape(-1)[index])
        if node.op == "stack":
            if index.size <= _STACKED:
                return self.stack([node.args[place] for place in index.flat], index.shape)
        elif node.op == "join":
            found = self._from_fewer_parts(node, index)
            if found is not None:
                return found
        elif node.shape == () and index.size == 1 and index.shape == ():
            return node
        elif _cheap(node) and index.size < node.size:
            parts = [self._taken(arg, node.shape, index) for arg in node.args]
            return self.select(*parts) if node.op == "select" else self.apply(node.op, *parts)
        self.budget.elements(index.size)
        key = (index.shape, np.ascontiguousarray(index).tobytes())
        return self._node("take", (node,), index, shape=index.shape, is_bool=node.is_bool, key=key)

    def _taken(self, arg: Node, shape: tuple[int, ...], index: np.ndarray) -> Node:
        """The entries of an operand that entries of the result come from."""
        if arg.shape == ():
            return arg
        own = np.broadcast_to(np.arange(arg.size).reshape(arg.shape), shape)
        return self.take(arg, own.reshape(-1)[index])

    def _from_fewer_parts(self, node: Node, index: np.ndarray) -> Node | None:
        """The same entries from those parts of a join alone that they come from."""
        ends = np.cumsum([arg.size for arg in node.args])
        which = np.searchsorted(ends, index, side="right")
        used = np.unique(which)
        if len(used) == len(node.args) or not index.size:
            return None
        starts = ends - np.array([arg.size for arg in node.args])
        parts = [node.args[k] for k in used]
        offsets = np.concatenate([[0], np.cumsum([part.size for part in parts])])
        moved = np.searchsorted(used, which)
        index = index - starts[which] + offsets[moved]
        return self.take(parts[0] if len(parts) == 1 else self.join(parts), index)

    def put(self, node: Node, index: np.ndarray, values: Node) -> Node:
        """`node` with other entries at known places: in order, so that the last of two counts."""
        values = self.take(
            values, np.broadcast_to(np.arange(values.size).reshape(values.shape), index.shape)
        )
        if index.size == 0:
            return node
        if node.is_bool != values.is_bool:
            node, values = self.real(node), self.real(values)
        if index.size == node.size and index.shape == node.shape and _is_whole(index):
            return values
        size = node.size
        origin = np.arange(size)
        origin[index.reshape(-1)] = size + np.arange(index.size)
        origin = origin.reshape(node.shape)
        if node.op in ("const", "stack") and size <= _STACKED and values.size <= 4:
            parts = [
                self.take(node, np.asarray(place))
                if place < size
                else self.take(values, np.asarray(place - size))
                for place in origin.reshape(-1)
            ]
            return self.stack(parts, node.shape)
        if node.op == "take":
            base = node.args[0]
            kept = node.data.reshape(-1)[np.minimum(origin, size - 1)]
            origin = np.where(origin < size, kept, origin - size + base.size)
            node = base
        return self.take(self.join([node, values]), origin)

    def stack(self, entries: list[Node], shape: tuple[int, ...]) -> Node:
        """An array of single entries."""
        if len(entries) == 1 and shape == ():
            return entries[0]
        if not all(entry.is_bool for entry in entries):
            entries = [self.real(entry) for entry in entries]
        if all(entry.op == "const" for entry in entries):
            dtype = None if entries else float
            return self.constant(np.array([entry.data for entry in entries], dtype).reshape(shape))
        origin = _common_origin(entries)
        if origin is not None:
            places = np.array([int(entry.data) for entry in entries]).reshape(shape)
            return self.take(origin, places)
        self.budget.elements(len(entries))
        is_bool = entries[0].is_bool
        return self._node("stack", tuple(entries), shape, shape=shape, is_bool=is_bool)

    def join(self, parts: list[Node]) -> Node:
        """All entries of several arrays, one after the other."""
        flat: list[Node] = []
        if not all(part.is_bool for part in parts):
            parts = [self.real(part) for part in parts]
        for part in parts:
            if part.size:
                flat += part.args if part.op == "join" else (part,)
        if not flat:
            return self.constant(np.zeros(0))
        total = sum(part.size for part in flat)
        self.budget.elements(total)
        if all(part.op == "const" for part in flat):
            return self.constant(np.concatenate([part.data.reshape(-1) for part in flat]))
        if len(flat) == 1:
            return self.take(flat[0], np.arange(flat[0].size))
        if total <= _STACKED and all(part.op == "stack" or part.size == 1 for part in flat):
            entries = [
                self.take(part, np.asarray(place)) for part in flat for place in range(part.size)
            ]
            return self.stack(entries, (total,))
        return self._node("join", tuple(flat), shape=(total,), is_bool=flat[0].is_bool)

    def gather(self, node: Node, places: Node) -> Node:
        """The entries of `node` at places that are computed; they must lie within it."""
        if places.op == "const":
            return self.take(node, places.data.astype(np.int64))
        return self._node("gather", (node, places), shape=places.shape, is_bool=node.is_bool)

    # Functions of whole arrays -------------------------------------------------------------------

    def library(
        self,
        name: str,
        template: Any,
        args: tuple[Node, ...],
        shape: tuple[int, ...],
        is_bool: bool,
    ) -> Node:
        """A function that NumPy and JAX have both; `template` says where the operands stand."""
        return self._node("library", args, (name, template), shape=shape, is_bool=is_bool)


def _conjuncts(node: Node) -> list[Node]:
    if node.op != "and":
        return [node]
    return [node, *_conjuncts(node.args[0]), *_conjuncts(node.args[1])][:16]


def _disjuncts(node: Node) -> list[Node]:
    if node.op == "not" and node.args[0].op == "and":
        return [node]
    if node.op != "or":
        return [node]
    return [node, *_disjuncts(node.args[0]), *_disjuncts(node.args[1])][:16]


def _is_one(node: Node) -> bool:
    return node.op == "const" and node.shape == () and bool(node.data == 1.0)


def _is_whole(index: np.ndarray) -> bool:
    flat = index.reshape(-1)
    return bool(flat.size == 0 or (flat[0] == 0 and (flat == np.arange(flat.size)).all()))


def _cheap(node: Node) -> bool:
    """Whether single entries are better computed from single entries."""
    return node.op in ("select", "neg", "real", "not") and node.args[-1].op in ("stack", "const")


def _common_origin(entries: list[Node]) -> Node | None:
    """The array that all entries are single entries of."""
    first = entries[0] if entries else None
    if first is None or first.op != "take" or first.shape != ():
        return None
    origin = first.args[0]
    same = all(e.op == "take" and e.shape == () and e.args[0] is origin for e in entries)
    return origin if same else None
