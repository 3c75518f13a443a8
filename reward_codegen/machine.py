"""What the operators of Python mean on the values of a program."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from reward_codegen.backend import NumPyBackend
from reward_codegen.branching import Branching
from reward_codegen.budget import MAX_LOOP_ITERATIONS, UNROLLED_ITERATIONS, Budget
from reward_codegen.errors import (
    BudgetExceeded,
    NameNotAdmitted,
    ShapeError,
    SyntaxNotAdmitted,
    VerificationError,
    shorten,
)
from reward_codegen.tables import ENTRYWISE
from reward_codegen.values import (
    UNDEFINED,
    Array,
    Cell,
    Choice,
    DictValue,
    ExceptionType,
    ExceptionValue,
    ListValue,
    Masked,
    Maybe,
    Record,
    RecordType,
    SetValue,
    Value,
    View,
    is_number,
    is_static_int,
    is_traced,
    kind_of,
)

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_MERGE_STEPS = 4  # evaluation steps that merging two values counts as: it takes that long
_SMALL = 256  # entries of an array whose cost is not counted
_ARITHMETIC_NAMES = {"**": "power", "%": "remainder", "//": "floor_divide"}


class Undecided(Exception):
    """An operation met a value whose kind depends on a traced condition."""

    def __init__(self, condition: Value) -> None:
        self.condition = condition


class Machine:
    """Operators, truth, merging and program exceptions, over one backend.

    `strict` refuses a program that fails for every state (as the compiler must); otherwise the
    failure is that call's outcome (as the reference must).
    """

    def __init__(
        self, backend: Callable[[Budget], NumPyBackend], *, strict: bool, in_place: bool
    ) -> None:
        self.budget = Budget()
        self.backend = backend(self.budget)
        self.branching = Branching(self)
        self.strict = strict
        self.in_place = in_place  # NumPy's `a += b`; JAX's arrays are bound anew
        self.module_end = 0  # cells born before belong to the module and stay as they are
        self.notes: list[str] = []
        self.failure = ""  # why the present call has failed
        self.endless_loop: int | None = None  # the line of a loop that did not end
        # What the evaluator does for admitted functions: call a function, repeat while a truth.
        self.invoke: Callable[[Value, tuple[Value, ...], dict[str, Value]], Value]
        self.loop: Callable[[Callable[[], Value], Callable[[], None]], None]

    # Making values ----------------------------------------------------------------------------

    def new_cell(self, content: Value = UNDEFINED) -> Cell:
        return Cell(content, self.branching.birth())

    def make_list(self, items: Iterable[Value]) -> ListValue:
        content = tuple(items)
        self.budget.elements(len(content), "a list")
        return ListValue(content, self.branching.birth())

    def make_dict(self, content: dict[Value, Value]) -> DictValue:
        self.budget.elements(len(content), "a dict")
        return DictValue(content, self.branching.birth())

    def make_set(self, items: Iterable[Value]) -> SetValue:
        return SetValue(frozenset(self.key(item) for item in items), self.branching.birth())

    def make_record(self, type_: RecordType, fields: tuple[Value, ...]) -> Record:
        return Record(type_, fields, self.branching.birth())

    def wrap(self, result: Any) -> Value:
        """A backend's result as a value."""
        if isinstance(result, np.ndarray) or is_traced(result):
            if result.ndim == 0:
                return result[()] if isinstance(result, np.ndarray) else result
            self.budget.elements(result.size)
            return Array(result, self.branching.birth())
        if isinstance(result, tuple | list):
            return tuple(self.wrap(item) for item in result)
        return result

    def array(self, value: Value) -> Any:
        """The content of a value as an array or number, for an array function."""
        self.budget.step()
        if isinstance(value, Choice):
            value = self.decide(value)
        if is_number(value):
            return value
        if isinstance(value, Array):
            return value.read()
        if isinstance(value, ListValue | tuple | range) or (
            isinstance(value, Record) and value.type.is_tuple
        ):
            return self._stack([self.array(item) for item in self.items(value)])
        if isinstance(value, Masked):
            raise ShapeError(
                "the number of entries selected by this mask depends on the state; "
                "use np.where, or reduce the selection with sum, mean, min, max, any or all"
            )
        raise TypeError(f"{kind_of(value)} is not a number or an array of numbers")

    def _stack(self, parts: list[Any]) -> Any:
        self.budget.elements(sum(math.prod(np.shape(part)) for part in parts))
        if not any(is_traced(part) for part in parts):
            return np.array(parts)
        shapes = {np.shape(part) for part in parts}
        if len(shapes) > 1:
            raise ValueError("the entries of an array must all have the same shape")
        return self.backend.apply("stack", parts)

    def apply(self, path: str, *args: Any, **kwargs: Any) -> Value:
        """Call a backend function on contents; the result is a value."""
        self._limit(path, args)
        return self.wrap(self.backend.apply(path, *args, **kwargs))

    def _limit(self, path: str, args: tuple[Any, ...]) -> None:
        """Refuse what would cost too much, before it is computed."""
        sizes = [a.size for a in args if isinstance(a, np.ndarray) or is_traced(a)]
        if not sizes or max(sizes) < _SMALL:
            return
        largest = max(sizes)
        self.budget.work(largest**2 if path.startswith("linalg.") else largest)
        if len(sizes) > 1 and path in ENTRYWISE:
            shapes = [a.shape for a in args if isinstance(a, np.ndarray) or is_traced(a)]
            self.budget.elements(math.prod(np.broadcast_shapes(*shapes)))
        elif len(sizes) > 1:
            self.budget.work(math.prod(sizes))

    # Choices ----------------------------------------------------------------------------------

    def decide(self, value: Value) -> Value:
        """The value of a choice on the present path.

        Raises:
            Undecided: the path does not say; `resolving` forks and tries again.
        """
        while isinstance(value, Choice):
            known = self.branching.known(value.condition)
            if known is None:
                raise Undecided(value.condition)
            value = value.then if known else value.other
        return value

    def resolving(self, operation: Callable[[], Value]) -> Value:
        """Run an operation; where it meets a choice, run it for both values and select."""
        try:
            return operation()
        except Undecided as undecided:
            condition = undecided.condition
        return self.branching.fork(
            condition, lambda: self.resolving(operation), lambda: self.resolving(operation)
        )

    def content(self, cell: Cell) -> Any:
        """The decided content of a list, dict, set or record."""
        content = self.decide(cell.content)
        if isinstance(content, tuple) and any(isinstance(item, Maybe) for item in content):
            return tuple(
                item.value if isinstance(item, Maybe) else item
                for item in content
                if not isinstance(item, Maybe) or self._is_there(item)
            )
        return content

    def _is_there(self, item: Maybe) -> bool:
        known = self.branching.known(item.condition)
        if known is None:
            raise Undecided(item.condition)
        return known

    def entries(self, value: Value) -> tuple[tuple[Value, Value], ...]:
        """The items that a loop visits, each with the condition that it is there (None: always)."""
        value = self.decide(value)
        if isinstance(value, Masked) and value.content.ndim == 1:
            mask, content = self.wrap(value.mask), self.wrap(value.content)
            return tuple(zip(self.items(mask), self.items(content), strict=True))
        if isinstance(value, ListValue):
            self.budget.work(len(self.decide(value.content)))
            return tuple(
                (item.condition, item.value) if isinstance(item, Maybe) else (None, item)
                for item in self.decide(value.content)
            )
        return tuple((None, item) for item in self.items(value))

    def append(self, target: ListValue, value: Value) -> None:
        """Add an item to the end of a list."""
        content = self.decide(target.content)
        self.budget.elements(len(content) + 1, "a list")
        self.write(target, (*content, value))

    def selection(self, value: Value) -> Value:
        """A list of numbers some of which may not be there, as a selection by a mask."""
        value = self.decide(value)
        if not isinstance(value, ListValue):
            return value
        entries = self.entries(value)
        if all(condition is None for condition, _ in entries):
            return value
        present = [True if condition is None else condition for condition, _ in entries]
        return Masked(self._stack([self.array(item) for _, item in entries]), self._stack(present))

    # Merging (the branching's Select) -----------------------------------------------------------

    def both(self, left: Value, right: Value) -> Value:
        for known, other in ((left, right), (right, left)):
            if not is_traced(known):
                return other if known else False
        return self.backend.apply("logical_and", left, right)

    def either(self, left: Value, right: Value) -> Value:
        for known, other in ((left, right), (right, left)):
            if not is_traced(known):
                return True if known else other
        return self.backend.apply("logical_or", left, right)

    def negate(self, condition: Value) -> Value:
        return self.backend.apply("logical_not", condition)

    def merge(self, condition: Value, then: Value, other: Value) -> Value:
        """`then` in lanes where the condition holds, `other` elsewhere."""
        self.budget.step(_MERGE_STEPS)
        if then is other or other is UNDEFINED:
            return then
        if then is UNDEFINED:  # lanes that use it would raise NameError
            return other
        if is_number(then) and is_number(other):
            return self._merge_numbers(condition, then, other)
        if isinstance(then, Array) and isinstance(other, Array) and then.shape == other.shape:
            return self.wrap(self.backend.select(condition, then.read(), other.read()))
        if _is_content(then) and _is_content(other):
            if np.shape(then) == np.shape(other):
                return self.backend.select(condition, then, other)
        elif type(then) is type(other):
            merged = self._merge_containers(condition, then, other)
            if merged is not None:
                return merged
        return Choice(condition, then, other)

    def merge_contents(self, cell: Cell, condition: Value, then: Value, other: Value) -> Value:
        """Merge what two arms have left in a cell.

        A list that is longer in one arm ends with items that may not be there.
        """
        lists = isinstance(cell, ListValue) and isinstance(then, tuple) and isinstance(other, tuple)
        if not lists or then is other:
            return self.merge(condition, then, other)
        common = min(len(then), len(other))
        shared = [
            self._merge_items(condition, a, b)
            for a, b in zip(then[:common], other[:common], strict=True)
        ]
        if len(then) > common:
            return (*shared, *(self._maybe(condition, item) for item in then[common:]))
        if len(other) > common:
            absent = self.negate(condition)
            return (*shared, *(self._maybe(absent, item) for item in other[common:]))
        return tuple(shared)

    def _merge_items(self, condition: Value, then: Value, other: Value) -> Value:
        if then is other or not (isinstance(then, Maybe) or isinstance(other, Maybe)):
            return self.merge(condition, then, other)
        first, second = (
            item if isinstance(item, Maybe) else Maybe(True, item) for item in (then, other)
        )
        present = self.merge(condition, first.condition, second.condition)
        return Maybe(present, self.merge(condition, first.value, second.value))

    def _maybe(self, condition: Value, item: Value) -> Maybe:
        if isinstance(item, Maybe):
            return Maybe(self.both(condition, item.condition), item.value)
        return Maybe(condition, item)

    def _merge_numbers(self, condition: Value, then: Value, other: Value) -> Value:
        if not is_traced(then) and not is_traced(other):
            same_kind = isinstance(then, bool | np.bool_) == isinstance(other, bool | np.bool_)
            if same_kind and (then == other or (then != then and other != other)):
                return then
        if _is_bool(then) and _is_bool(other):
            if not is_traced(then) and not is_traced(other):
                return condition if then else self.negate(condition)
            if then is condition or (not is_traced(then) and then):
                return self.either(condition, other)
            if other is condition or (not is_traced(other) and not other):
                return self.both(condition, then)
            if not is_traced(then):
                return self.both(self.negate(condition), other)
            if not is_traced(other):
                return self.either(self.negate(condition), then)
        return self.backend.select(condition, then, other)

    def _merge_containers(self, condition: Value, then: Value, other: Value) -> Value | None:
        if isinstance(then, tuple):
            if len(then) == len(other):
                return tuple(self.merge(condition, a, b) for a, b in zip(then, other, strict=True))
        elif isinstance(then, dict):
            if list(then) == list(other):
                return {key: self.merge(condition, then[key], other[key]) for key in then}
        elif isinstance(then, Record):
            if then.type is other.type:
                content = self.merge(condition, then.content, other.content)
                return Record(then.type, content, self.branching.birth())
        elif isinstance(then, ListValue | DictValue):
            merged = self.merge_contents(then, condition, then.content, other.content)
            return type(then)(merged, self.branching.birth())
        elif isinstance(then, Masked):
            if np.shape(then.content) == np.shape(other.content):
                return Masked(
                    self.backend.select(condition, then.content, other.content),
                    self.backend.select(condition, then.mask, other.mask),
                )
        elif isinstance(then, str | range | frozenset | slice) and then == other:
            return then
        return None

    # Truth ------------------------------------------------------------------------------------

    def truth(self, value: Value) -> Any:
        """Whether a value counts as true: a bool, or a traced bool of no dimensions."""
        value = self.decide(value)
        if isinstance(value, Array):
            content = value.read()
            if content.size > 1:
                raise ValueError(
                    f"the truth of an array of {content.size} entries is ambiguous; "
                    "use np.any or np.all"
                )
            value = False if content.size == 0 else self.backend.apply("reshape", content, ())
            value = value[()] if isinstance(value, np.ndarray) else value
        if is_traced(value):
            return value if value.dtype == bool else self.backend.apply("!=", value, 0)
        if isinstance(value, ListValue):
            entries = self.entries(value)
            return self.any_of(True if there is None else there for there, _ in entries)
        if isinstance(value, DictValue | SetValue):
            return bool(self.content(value))
        if isinstance(value, Record):
            return not value.type.is_tuple or bool(value.type.fields)
        if value is None or is_number(value) or isinstance(value, str | tuple | range):
            return bool(value)
        if isinstance(value, Masked):
            self.array(value)
        return True

    def any_of(self, truths: Iterable[Value]) -> Value:
        """Whether one of several truths holds."""
        result: Value = False
        for truth in truths:
            if is_traced(truth):
                result = self.merge(truth, True, result)
            elif truth:
                return True
        return result

    def all_of(self, truths: Iterable[Value]) -> Value:
        """Whether all of several truths hold."""
        result: Value = True
        for truth in truths:
            if is_traced(truth):
                result = self.merge(truth, result, False)
            elif not truth:
                return False
        return result

    def not_(self, value: Value) -> Value:
        truth = self.truth(value)
        return self.negate(truth) if is_traced(truth) else not truth

    # Operators --------------------------------------------------------------------------------

    def unary(self, operator: str, value: Value) -> Value:
        """-x, +x, ~x."""
        value = self.decide(value)
        if isinstance(value, Masked):
            return Masked(self.backend.apply(operator, value.content), value.mask)
        if not is_number(value) and not isinstance(value, Array):
            raise TypeError(f"bad operand for {operator}: {kind_of(value)}")
        return self.apply(operator, self.array(value))

    def binary(self, operator: str, left: Value, right: Value) -> Value:
        """An arithmetic, bitwise or comparison operator."""
        self.budget.step()
        left, right = self.decide(left), self.decide(right)
        if is_number(left) and is_number(right):
            if not is_traced(left) and not is_traced(right):
                return self._known_numbers(operator, left, right)
            return self._emit_binary(operator, left, right)
        if isinstance(left, Masked) or isinstance(right, Masked):
            return self._masked(operator, left, right)
        if isinstance(left, Array) or isinstance(right, Array):
            if left is None or right is None or isinstance(left, str) or isinstance(right, str):
                if operator == "==":
                    return False
                if operator == "!=":
                    return True
            return self._emit_binary(operator, self.array(left), self.array(right))
        if operator in _COMPARISONS:
            return self._compare_others(operator, left, right)
        return self._combine_others(operator, left, right)

    def _emit_binary(self, operator: str, left: Any, right: Any) -> Value:
        if operator == "**" and isinstance(right, float) and right in (2.0, 3.0, 4.0):
            right = int(right)  # the same value, without a logarithm
        if not is_traced(left) and not is_traced(right):
            operator = _ARITHMETIC_NAMES.get(operator, operator)
        return self.apply(operator, left, right)

    def _known_numbers(self, operator: str, left: Any, right: Any) -> Value:
        if isinstance(left, int | np.integer) and isinstance(right, int | np.integer):
            left, right = _python_int(left), _python_int(right)
            bits = left.bit_length(), right.bit_length()
            if operator == "**" and right > 0:
                self.budget.integer_bits(bits[0] * right)
            elif operator == "<<":
                self.budget.integer_bits(bits[0] + max(right, 0))
            elif operator == "*":
                self.budget.integer_bits(bits[0] + bits[1])
        if operator == "**" and left < 0 and right != int(right):
            return float("nan")
        return self.backend.apply(operator, left, right)

    def _masked(self, operator: str, left: Value, right: Value) -> Masked:
        masks = [side.mask for side in (left, right) if isinstance(side, Masked)]
        if len(masks) == 2 and masks[0] is not masks[1]:
            raise ShapeError(
                "two selections by different masks cannot be combined entry by entry; "
                "use np.where on the whole arrays"
            )
        operands = []
        for side in (left, right):
            if not isinstance(side, Masked) and not is_number(side):
                raise ShapeError(
                    "a selection by a mask that depends on the state combines with numbers only; "
                    "use np.where on the whole arrays"
                )
            operands.append(side.content if isinstance(side, Masked) else side)
        return Masked(self.backend.apply(operator, *operands), masks[0])

    def _combine_others(self, operator: str, left: Value, right: Value) -> Value:
        if operator == "+":
            if isinstance(left, str) and isinstance(right, str):
                self.budget.elements(len(left) + len(right), "a string")
                return left + right
            if isinstance(left, tuple) and isinstance(right, tuple):
                self.budget.elements(len(left) + len(right), "a tuple")
                return left + right
            if isinstance(left, ListValue) and isinstance(right, ListValue):
                first, second = self.content(left), self.content(right)
                self.budget.elements(len(first) + len(second), "a list")
                return self.make_list(first + second)
        if operator == "*":
            if is_static_int(left):
                left, right = right, left
            if isinstance(left, str | tuple | ListValue) and is_static_int(right):
                content = self.content(left) if isinstance(left, ListValue) else left
                self.budget.elements(len(content) * max(int(right), 0), "a sequence")
                repeated = content * int(right)
                return self.make_list(repeated) if isinstance(left, ListValue) else repeated
        if operator == "%" and isinstance(left, str):
            return left
        if isinstance(left, SetValue) and isinstance(right, SetValue) and operator in "&|^-":
            return self.make_set(self.backend.apply(operator, left.content, right.content))
        if isinstance(left, DictValue) and isinstance(right, DictValue) and operator == "|":
            return self.make_dict(self.content(left) | self.content(right))
        raise TypeError(f"`{operator}` is not defined between {kind_of(left)} and {kind_of(right)}")

    def _compare_others(self, operator: str, left: Value, right: Value) -> Value:
        if operator == "!=":
            return self.not_(self._compare_others("==", left, right))
        if operator == "==":
            if isinstance(left, ListValue | tuple) and type(left) is type(right):
                first, second = self.items(left), self.items(right)
                if len(first) != len(second):
                    return False
                pairs = zip(first, second, strict=True)
                return self.all_of([self.truth(self.binary("==", a, b)) for a, b in pairs])
            if isinstance(left, Cell) or isinstance(right, Cell):
                return left is right
            return bool(left == right) if not is_traced(left) and not is_traced(right) else False
        if isinstance(left, str) and isinstance(right, str):
            return bool(self.backend.apply(operator, left, right))
        raise TypeError(f"`{operator}` is not defined between {kind_of(left)} and {kind_of(right)}")

    def contains(self, item: Value, container: Value) -> Value:
        """`item in container`."""
        container = self.decide(container)
        if isinstance(container, str):
            return isinstance(item, str) and item in container
        if isinstance(container, DictValue | SetValue):
            return self.key(item) in self.content(container)
        entries = self.items(container)
        return self.any_of([self.truth(self.binary("==", item, entry)) for entry in entries])

    def is_(self, left: Value, right: Value) -> Value:
        """`left is right`."""
        left, right = self.decide(left), self.decide(right)
        if isinstance(left, bool) and isinstance(right, bool):
            return left == right
        return left is right

    def key(self, value: Value) -> Any:
        """A value as the key of a dict or the member of a set."""
        self.budget.step()
        value = self.decide(value)
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple):
            return tuple(self.key(item) for item in value)
        if is_traced(value):
            raise ShapeError(
                "a key that depends on the state is not admitted; use if/elif, or index an array"
            )
        raise TypeError(f"{kind_of(value)} cannot be a key")

    def integer(self, value: Value, what: str) -> int:
        """An integer that must be known: a size, a length, an axis."""
        value = self.decide(value)
        if is_static_int(value):
            return int(value)
        if is_traced(value):
            raise ShapeError(
                f"{what} depends on the state; it must be known before the program runs"
            )
        raise TypeError(f"{what} must be an integer, not {kind_of(value)}")

    # Iteration --------------------------------------------------------------------------------

    def items(self, value: Value) -> tuple[Value, ...]:
        """The items that a loop over a value visits."""
        value = self.decide(value)
        if isinstance(value, tuple | str | range):
            self.budget.elements(len(value), "a sequence")
            self.budget.work(len(value))
            return tuple(value)
        if isinstance(value, ListValue | SetValue | DictValue):
            content = self.content(value)
            self.budget.work(len(content))
            if isinstance(value, SetValue):
                return tuple(sorted(content, key=repr))
            return tuple(content)
        if isinstance(value, Record) and value.type.is_tuple:
            return tuple(self.content(value))
        if isinstance(value, Array):
            return tuple(self.entry(value, index) for index in range(value.shape[0]))
        if isinstance(value, Masked):
            raise ShapeError(
                "a loop over a selection whose size depends on the state is not admitted; "
                "loop over the whole array and test inside"
            )
        raise TypeError(f"{kind_of(value)} cannot be iterated over")

    def entry(self, array: Array, index: int) -> Value:
        """The entry or row of an array at a known place along its first axis."""
        if len(array.shape) == 1:
            return self.apply("index", array.read(), index)
        return self.view(
            array,
            lambda content: self.backend.apply("index", content, index),
            lambda content, new: self.backend.apply(
                "concatenate", [content[:index], new[None], content[index + 1 :]]
            ),
        )

    def view(
        self,
        base: Array,
        get: Callable[[Any], Any],
        put: Callable[[Any, Any], Any],
    ) -> View:
        """An array that shows a part, or another shape, of `base`."""
        view = View(base, get, put, self.branching.birth())
        self.budget.step(2 * view.depth)  # a view of a view of ... is read through all of them
        return view

    # Changing in place --------------------------------------------------------------------------

    def write(self, cell: Cell, content: Value) -> None:
        """Change the content of a variable or container."""
        if isinstance(cell, View):
            self.write(cell.base, cell.put(cell.base.read(), content))
            return
        if cell.birth < self.module_end:
            raise SyntaxNotAdmitted(
                "a function may not change a module-level value, because a reward must depend on "
                "its arguments only; make a copy, or return the new value"
            )
        if isinstance(content, tuple | dict | frozenset):
            self.budget.work(len(content))
        self.branching.write(cell, content)

    # Exceptions -------------------------------------------------------------------------------

    def fail(self, name: str, message: str, *, explicit: bool = False) -> None:
        """A program exception in all lanes of the present path.

        A `try` that catches it is entered. An explicit `raise` or `assert` on a path that only
        some lanes take ends these lanes. What is left fails for every state.

        Raises:
            Unwind: the exception is caught, or ends the present lanes.
            RewardCodeError: it is not, and the program is refused.
        """
        kind = f"raise:{name}"
        if self.branching.catches(kind):
            self.branching.exit(kind, ExceptionValue(ExceptionType(name), message))
        message = shorten(message, 200)
        if not self.strict or (explicit and self.branching.forked):
            self.failure = f"{name}: {message}"
            self.branching.exit("failed")
        if explicit:
            raise VerificationError(f"the program always raises {name}: {message or 'no message'}")
        if name in ("NameError", "AttributeError", "KeyError"):
            raise NameNotAdmitted(message)
        raise ShapeError(f"{message} ({name})")

    def fail_where(self, condition: Value, name: str, message: str) -> None:
        """A program exception in the lanes where the condition holds."""

        def failing() -> None:
            self.fail(name, message, explicit=True)

        if is_traced(condition):
            self.branching.fork(condition, failing, lambda: None)
        elif condition:
            failing()

    def end_endless_loop(self, line: int) -> None:
        """A loop has reached its bound."""
        if self.strict:
            raise BudgetExceeded(
                "this loop takes more than "
                f"{UNROLLED_ITERATIONS + MAX_LOOP_ITERATIONS:,} iterations"
            )
        self.endless_loop = line
        self.failure = "a loop did not end"
        self.branching.exit("failed")


def _is_content(value: Value) -> bool:
    """Whether a value is what an array's cell holds."""
    return isinstance(value, np.ndarray) or is_traced(value)


def _is_bool(value: Value) -> bool:
    if is_traced(value):
        return value.dtype == bool
    return isinstance(value, bool | np.bool_)


def _python_int(value: Any) -> Any:
    return value if isinstance(value, bool) else int(value)
