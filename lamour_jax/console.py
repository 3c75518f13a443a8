"""What the person at the terminal sees: stages, a progress bar, a closing table."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Console:
    """Prints to standard output: live on a terminal, plain lines elsewhere."""

    # Without a terminal, a line of progress at most this often [s].
    PLAIN_INTERVAL = 10.0

    def __init__(self) -> None:
        self._rich = RichConsole(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Prints a line."""
        self._rich.print(text, markup=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announces a stage, and how long it took when it ends well."""
        begin = time.monotonic()
        self._rich.print(f"[bold]▸ {name}[/bold]")
        yield
        self._rich.print(f"  [green]✓[/green] {time.monotonic() - begin:.1f} s")

    @contextmanager
    def progress(self, total_steps: int) -> Iterator[TrainingProgress]:
        """Shows training's progress over `total_steps` environment steps."""
        with TrainingProgress(self._rich, total_steps, self.PLAIN_INTERVAL) as progress:
            yield progress

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Prints a table."""
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self._rich.print(table)


class TrainingProgress:
    """A bar with steps, steps per second, return, recovery rate and time left."""

    def __init__(self, console: RichConsole, total_steps: int, plain_interval: float):
        self._console = console
        self._total = total_steps
        self._plain_interval = plain_interval
        self._begin = time.monotonic()
        self._last_plain = -plain_interval
        self._bar = Progress(
            TextColumn("  "),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %  {task.description}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("compiling ...", total=total_steps)
        self._live: Live | None = Live(self._bar, console=console) if console.is_terminal else None

    def __enter__(self) -> TrainingProgress:
        if self._live:
            self._live.start()
        else:
            self._console.print("  compiling ...")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, steps: int, steps_per_second: float, facts: dict[str, str]) -> None:
        """Moves the bar to `steps`; `facts` are shown as `name value`."""
        shown = "  ".join(f"{name} {value}" for name, value in facts.items())
        description = f"{steps:,} steps  {steps_per_second:,.0f}/s  {shown}"
        if self._live:
            self._bar.update(self._task, completed=steps, description=description)
            return
        elapsed = time.monotonic() - self._begin
        if elapsed - self._last_plain < self._plain_interval and steps < self._total:
            return
        self._last_plain = elapsed
        left = elapsed * (self._total - steps) / steps
        self._console.print(
            f"  {100 * steps / self._total:3.0f} %  {description}  {left:.0f} s left"
        )
