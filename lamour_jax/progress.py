"""Training's progress: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lamour_jax.compilation import Compilation

Say = Callable[[str], None]


class Pace:
    """Tells how much time is left, by how fast it went since the first measurement.

    Not since the beginning: that is compilation, and a run that goes on did not begin at 0.
    """

    def __init__(self, total: int):
        self.total = total
        self._first: tuple[int, float] | None = None

    def seconds_left(self, steps: int, steps_per_second: float) -> float:
        """Returns the seconds left after `steps`; `steps_per_second` is for the first answer."""
        now = time.monotonic()
        if self._first is None:
            self._first = (steps, now)
        done, since = steps - self._first[0], now - self._first[1]
        speed = done / since if done and since else steps_per_second
        return (self.total - steps) / speed if speed else float("nan")


class Bar:
    """What a terminal shows below the printed lines: two lines that change in place."""

    def __init__(self, total: int):
        self._total = total
        self._completed = 0
        self._beside = self._below = ""

    def update(self, completed: int, beside: str, below: str) -> None:
        """Moves the bar; `beside` stands right of it, `below` under it."""
        self._completed, self._beside, self._below = completed, beside, below

    def __rich__(self) -> RenderableType:
        bar = ProgressBar(total=self._total, completed=self._completed, width=24)
        line = Table.grid(padding=(0, 2, 0, 0))
        percent = f"{100 * self._completed / self._total:3.0f} %"
        line.add_row("", bar, Text(percent), Text(self._beside, no_wrap=True))
        below = [Text(f"  {self._below}", no_wrap=True, overflow="ellipsis")] if self._below else []
        return Group(line, *below)


class TrainingProgress:
    """Steps, steps per second, time left and what else there is to say of them."""

    def update(
        self,
        steps: int,
        steps_per_second: float,
        facts: dict[str, str],
        latest: dict[str, float] | None = None,
    ) -> None:
        """Moves on to `steps`.

        Args:
            steps: environment steps so far.
            steps_per_second: of all iterations so far.
            facts: for people, shown as `name value`.
            latest: for machines, the newest value of each metric.
        """


class BarProgress(TrainingProgress):
    """On a terminal."""

    def __init__(self, bar: Bar, pace: Pace):
        self._bar = bar
        self._pace = pace

    def update(
        self,
        steps: int,
        steps_per_second: float,
        facts: dict[str, str],
        latest: dict[str, float] | None = None,
    ) -> None:
        left = self._pace.seconds_left(steps, steps_per_second)
        self._bar.update(steps, _speed(steps, steps_per_second, left), show(facts))


class LineProgress(TrainingProgress):
    """Where lines are kept: one at the first measurement, then one every 5 %."""

    LINES = 20
    # Of a run of days also one this often [s].
    INTERVAL = 600.0

    def __init__(self, say: Say, pace: Pace, compilation: Compilation):
        self._say = say
        self._pace = pace
        self._compilation = compilation
        self._written = -1
        self._last = time.monotonic()

    def update(
        self,
        steps: int,
        steps_per_second: float,
        facts: dict[str, str],
        latest: dict[str, float] | None = None,
    ) -> None:
        left = self._pace.seconds_left(steps, steps_per_second)
        total, now = self._pace.total, time.monotonic()
        if self._written < 0:
            self._say(f"  compiled in {duration(self._compilation.seconds)}")
        reached = self.LINES * steps // total
        if reached == self._written and now - self._last < self.INTERVAL:
            return
        self._written, self._last = reached, now
        speed = _speed(steps, steps_per_second, left)
        self._say(f"  {100 * steps / total:3.0f} %  {speed}  {show(facts)}")


def loss_facts(latest: dict[str, float]) -> dict[str, str]:
    """Returns the losses among the metrics, to be shown."""
    names = {"value loss": "training/value_loss", "policy loss": "training/policy_loss"}
    return {k: f"{latest[name]:.3g}" for k, name in names.items() if name in latest}


def _speed(steps: int, steps_per_second: float, left: float) -> str:
    """The first iteration tells neither speed nor time left: it was mostly compiled."""
    speed = f"  {steps_per_second:,.0f}/s" if steps_per_second else ""
    return f"{steps:,} steps{speed}" + ("" if math.isnan(left) else f"  {duration(left)} left")


def show(facts: dict[str, str]) -> str:
    """Returns the facts as a line."""
    return "  ".join(f"{name} {value}" for name, value in facts.items())


def duration(seconds: float) -> str:
    """Returns a time as people read it.

    >>> duration(42.4), duration(3723)
    ('42 s', '1:02:03')
    """
    return f"{seconds:.0f} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))
