"""Control flow on conditions that are only known at run time.

A *fork* evaluates both arms, each against its own view of all cells, and selects between what they
leave behind. An *exit* (return, break, continue, raise) remembers the condition under which it is
reached and what the cells held there; the *region* that catches it selects between its exits and
the ordinary end. Lanes that have left go on being computed and are never looked at again, so where
one arm always leaves, nothing needs to be selected at all.

With no traced condition there is no fork, every exit holds for all lanes, and this is ordinary
Python control flow.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Protocol

from reward_codegen.values import Cell, Value


class Unwind(Exception):
    """All lanes of the present arm have left it."""


class Select(Protocol):
    """How values of two arms become one, and how conditions combine."""

    def merge(self, condition: Value, then: Value, other: Value) -> Value: ...

    def merge_contents(self, cell: Cell, condition: Value, then: Value, other: Value) -> Value: ...

    def both(self, left: Value, right: Value) -> Value: ...

    def either(self, left: Value, right: Value) -> Value: ...

    def negate(self, condition: Value) -> Value: ...


Changes = dict[Cell, Value]


@dataclass(frozen=True)
class Outcome:
    """One way out of a region: `condition` (None: all lanes that are left), value and cells."""

    condition: Value | None
    value: Value
    changes: Changes


@dataclass
class Journal:
    """What the cells held before the present arm or region changed them."""

    start: int
    before: Changes = field(default_factory=dict)


@dataclass
class Region:
    """A catcher of exits."""

    kinds: frozenset[str]
    journal: int
    path: int
    exits: list[tuple[str, Outcome]] = field(default_factory=list)
    left: Value | None = None  # whether a lane has left by one of the first `counted` exits
    counted: int = 0


class Branching:
    """The state of control: open journals, regions and the conditions of the present path."""

    def __init__(self, select: Select) -> None:
        self._select = select
        self._clock = 0
        self._journals: list[Journal] = []
        self._regions: list[Region] = []
        self._path: list[tuple[Value, bool]] = []
        self.partings = 0  # exits so far that only some lanes took

    # Cells ----------------------------------------------------------------------------------

    def birth(self) -> int:
        """A time stamp for a new cell."""
        self._clock += 1
        return self._clock

    def write(self, cell: Cell, content: Value) -> None:
        """Change a cell, so that the change can be undone, or selected against another arm's."""
        if self._journals:
            journal = self._journals[-1]
            if cell.birth < journal.start and cell not in journal.before:
                journal.before[cell] = cell.content
        cell.content = content

    def _open_journal(self) -> None:
        self._journals.append(Journal(self.birth()))

    def _close_journal(self) -> Changes:
        """End the present journal: undo its changes and return them."""
        before = self._journals.pop().before
        changes = {cell: cell.content for cell in before}
        for cell, content in before.items():
            cell.content = content
        return changes

    def apply(self, changes: Changes) -> None:
        """Make changes that an arm or an exit has left behind."""
        for cell, content in changes.items():
            self.write(cell, content)

    # Forks ----------------------------------------------------------------------------------

    @property
    def forked(self) -> bool:
        """Whether the present code runs only in some lanes."""
        return bool(self._path)

    def known(self, condition: Value) -> bool | None:
        """What the present path says about a traced condition."""
        for taken, polarity in self._path:
            if taken is condition:
                return polarity
        return None

    def fork(
        self, condition: Value, then: Callable[[], Value], other: Callable[[], Value]
    ) -> Value:
        """Evaluate `then` and `other`, each for its lanes; returns the selected value.

        Raises:
            Unwind: both arms leave in all lanes.
        """
        known = self.known(condition)
        if known is not None:
            return then() if known else other()
        first = self._arm(condition, True, then)
        second = self._arm(condition, False, other)
        if first is None and second is None:
            raise Unwind
        outcomes = []
        if first is not None:
            outcomes.append(Outcome(condition if second is not None else None, *first))
        if second is not None:
            outcomes.append(Outcome(None, *second))
        return self.join(outcomes)

    def _arm(
        self, condition: Value, polarity: bool, body: Callable[[], Value]
    ) -> tuple[Value, Changes] | None:
        self._path.append((condition, polarity))
        self._open_journal()
        alive, value = True, None
        try:
            value = body()
        except Unwind:
            alive = False
        finally:
            self._path.pop()
            changes = self._close_journal()
        return (value, changes) if alive else None

    def join(self, outcomes: list[Outcome]) -> Value:
        """Select between outcomes, the earliest that holds first; applies their changes."""
        last = outcomes[-1]
        value = last.value
        cells = dict.fromkeys(cell for outcome in outcomes for cell in outcome.changes)
        contents = {cell: last.changes.get(cell, cell.content) for cell in cells}
        for outcome in reversed(outcomes[:-1]):
            value = self._select.merge(outcome.condition, outcome.value, value)
            for cell in cells:
                changed = outcome.changes.get(cell, cell.content)
                contents[cell] = self._select.merge_contents(
                    cell, outcome.condition, changed, contents[cell]
                )
        self.apply(contents)
        return value

    # Regions and exits ------------------------------------------------------------------------

    def region(
        self, kinds: frozenset[str], body: Callable[[], Value]
    ) -> tuple[list[tuple[str, Outcome]], Outcome | None]:
        """Run `body` and catch its exits of the given kinds.

        Returns the exits in the order in which they are reached and the ordinary end, if there is
        one. No change has been applied yet: `join` what is to go on.
        """
        self._open_journal()
        region = Region(kinds, len(self._journals) - 1, len(self._path))
        self._regions.append(region)
        ended, value = True, None
        try:
            value = body()
        except Unwind:
            ended = False
        finally:
            self._regions.pop()
            changes = self._close_journal()
        return region.exits, Outcome(None, value, changes) if ended else None

    def catches(self, kind: str) -> bool:
        """Whether an exit of this kind would be caught."""
        return any(kind in region.kinds for region in self._regions)

    def open_kinds(self) -> frozenset[str]:
        """All kinds of exits that would be caught."""
        return frozenset().union(*(region.kinds for region in self._regions))

    def rehearse(self, body: Callable[[], tuple[Value, ...]]) -> tuple[Value, ...]:
        """Run `body`, undo its changes, and return what it returned with these changes."""
        self._open_journal()
        try:
            result = body()
        finally:
            changes = self._close_journal()
        return (*result, changes)

    def exit(self, kind: str, value: Value = None) -> None:
        """Leave the innermost region for `kind` with all lanes of the present path.

        Raises:
            Unwind: always.
        """
        place = max(i for i, region in enumerate(self._regions) if kind in region.kinds)
        region = self._regions[place]
        start = self._journals[region.journal].start
        changed = dict.fromkeys(
            cell
            for journal in self._journals[region.journal :]
            for cell in journal.before
            if cell.birth < start
        )
        condition = None
        for taken, polarity in self._path[region.path :]:
            reached = taken if polarity else self._select.negate(taken)
            condition = reached if condition is None else self._select.both(condition, reached)
        # Lanes that have left a region further in, to go on behind it, are not here any more.
        for inner in self._regions[place + 1 :]:
            left = self._left(inner)
            if left is not None:
                here = self._select.negate(left)
                condition = here if condition is None else self._select.both(condition, here)
        self.partings += condition is not None
        changes = {cell: cell.content for cell in changed}
        region.exits.append((kind, Outcome(condition, value, changes)))
        raise Unwind

    def _left(self, region: Region) -> Value | None:
        """Whether a lane has left by an exit of this region; None if it has none."""
        for _, outcome in region.exits[region.counted :]:
            region.left = (
                outcome.condition
                if region.left is None
                else self._select.either(region.left, outcome.condition)
            )
        region.counted = len(region.exits)
        return region.left

    def present(self) -> Value | None:
        """Whether a lane is really here; None if all are."""
        conditions = [
            taken if polarity else self._select.negate(taken) for taken, polarity in self._path
        ]
        lefts = [left for left in map(self._left, self._regions) if left is not None]
        conditions += [self._select.negate(left) for left in lefts]
        return reduce(self._select.both, conditions) if conditions else None

    def settle(self, exits: list[tuple[str, Outcome]], end: Outcome | None) -> Value:
        """Join caught exits with the ordinary end and go on from there.

        Raises:
            Unwind: there is nothing to go on from.
        """
        outcomes = [outcome for _, outcome in exits]
        if end is not None:
            outcomes.append(end)
        if not outcomes:
            raise Unwind
        for index, outcome in enumerate(outcomes):
            if outcome.condition is None:
                outcomes = outcomes[: index + 1]
                break
        return self.join(outcomes)
