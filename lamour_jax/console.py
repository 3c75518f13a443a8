"""What is printed: for the person at the terminal, for a log, or for another program."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lamour_jax.compilation import Compilation
from lamour_jax.files import json_line
from lamour_jax.progress import (
    Bar,
    BarProgress,
    LineProgress,
    Pace,
    TrainingProgress,
)

# Compiling is worth a word when it has taken this long [s].
_LONG = 1.0


class Console:
    """Prints to standard output: live on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._rich = RichConsole(highlight=False, soft_wrap=True)
        self._status: _Status | None = None

    def announce(self, facts: dict[str, Any]) -> None:
        """Says what a run is and where it runs (see `system.run_facts`)."""
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        self.say(f"{facts['env']}, seed {facts['seed']}, in {facts['folder']}")
        self.say(f"{facts['device']}; engine {facts['engine']}; {facts['precision']}")
        self.say(versions)

    def say(self, text: str) -> None:
        """Prints a line."""
        self._rich.print(text, markup=False)

    def conclude(self, text: str) -> None:
        """Prints a line about what came of it all."""
        self._rich.print(text, markup=False)

    def result(self, result: dict[str, Any], folder: Path) -> None:
        """Hands on what `result.json` holds. People read the table."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announces a stage, and how long it took when it ends well."""
        begin = time.monotonic()
        self._rich.print(f"[bold]▸ {escape(name)}[/bold]")
        with self._watching() as status:
            yield
        compiling = status.compilation.seconds
        of_it = f", {compiling:.1f} s of it compiling" if compiling > _LONG else ""
        self._rich.print(f"  [green]✓[/green] {time.monotonic() - begin:.1f} s{of_it}")

    @contextmanager
    def progress(self, total_steps: int) -> Iterator[TrainingProgress]:
        """Shows training's progress over `total_steps` environment steps."""
        pace = Pace(total_steps)
        with ExitStack() as stack:
            status = self._status or stack.enter_context(self._watching())
            if not self._rich.is_terminal:
                yield LineProgress(self.say, pace, status.compilation)
                return
            status.bar = Bar(total_steps)
            try:
                yield BarProgress(status.bar, pace)
            finally:
                # What it showed last stays.
                self._rich.print(status.bar)
                status.bar = None

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Prints a table."""
        table = Table(title=title, title_justify="left")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self._rich.print(table)

    @contextmanager
    def _watching(self) -> Iterator[_Status]:
        """Says, while something is compiled, that it is and for how long."""
        with Compilation() as compilation:
            outer, self._status = self._status, _Status(compilation)
            try:
                if self._rich.is_terminal and outer is None:
                    with Live(
                        get_renderable=self._status.__rich__,
                        console=self._rich,
                        refresh_per_second=5,
                        transient=True,
                    ):
                        yield self._status
                else:
                    with _told_once(compilation, lambda: self.say("  compiling ...")):
                        yield self._status
            finally:
                self._status = outer


class QuietConsole(Console):
    """Prints only what came of it all."""

    def say(self, text: str) -> None:
        """Says nothing."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Says nothing."""
        yield

    @contextmanager
    def progress(self, total_steps: int) -> Iterator[TrainingProgress]:
        """Shows nothing."""
        yield TrainingProgress()


class JsonConsole(Console):
    """Prints one JSON object a line.

    Its `event` is start, stage, compiling, progress, message or result.
    """

    def __init__(self, stream: TextIO):
        """Takes the stream to print to."""
        super().__init__()
        self._stream = stream

    def announce(self, facts: dict[str, Any]) -> None:
        self._emit("start", **facts)

    def say(self, text: str) -> None:
        self._emit("message", text=text.strip())

    def conclude(self, text: str) -> None:
        self._emit("message", text=text.strip())

    def result(self, result: dict[str, Any], folder: Path) -> None:
        self._emit("result", folder=str(folder), result=result)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        self._emit("stage", name=name, state="begin")
        with (
            Compilation() as compilation,
            _told_once(compilation, lambda: self._emit("compiling", stage=name)),
        ):
            yield
        seconds = round(time.monotonic() - begin, 3)
        compiling = round(compilation.seconds, 3)
        self._emit("stage", name=name, state="end", seconds=seconds, compile_seconds=compiling)

    @contextmanager
    def progress(self, total_steps: int) -> Iterator[TrainingProgress]:
        yield _JsonProgress(self, Pace(total_steps))

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Prints nothing: the result has it all."""

    def _emit(self, event: str, **content: Any) -> None:
        # In one piece: another thread may write, too.
        self._stream.write(json_line({"event": event, **content}) + "\n")
        self._stream.flush()


def make_console(quiet: bool = False, json: bool = False) -> Console:
    """Returns the console that the command line asks for; with `json` for standard output."""
    if json:
        return JsonConsole(sys.stdout)
    return QuietConsole() if quiet else Console()


class _JsonProgress(TrainingProgress):
    def __init__(self, console: JsonConsole, pace: Pace):
        self._console = console
        self._pace = pace

    def update(
        self,
        steps: int,
        steps_per_second: float,
        facts: dict[str, str],
        latest: dict[str, float] | None = None,
    ) -> None:
        self._console._emit(
            "progress",
            env_steps=steps,
            total_steps=self._pace.total,
            env_steps_per_second=steps_per_second,
            seconds_left=self._pace.seconds_left(steps, steps_per_second),
            metrics=latest or {},
        )


class _Status:
    """What changes in place below the printed lines: the bar, and a word about compiling."""

    def __init__(self, compilation: Compilation):
        self.compilation = compilation
        self.bar: Bar | None = None

    def __rich__(self) -> RenderableType:
        running = self.compilation.running()
        compiling = [Text(f"  compiling ... {running:.0f} s")] if running > _LONG else []
        return Group(*([self.bar] if self.bar else []), *compiling)


@contextmanager
def _told_once(compilation: Compilation, tell: Callable[[], None]) -> Iterator[None]:
    """Calls `tell`, from another thread, as soon as something takes long to compile."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LONG / 2):
            if compilation.running() > _LONG:
                tell()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
