"""What the person at the terminal sees of a grid: each run's news, and the time left for all."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from benchmarks.grid import GridRun

# Without a terminal, a line of progress at most this often [s].
_PLAIN_INTERVAL = 60.0


class GridProgress:
    """Live on a terminal, plain lines elsewhere (an `Observer` of a `GridRunner`)."""

    def __init__(self, console: Console, runs: list[GridRun], steps: dict[GridRun, int], jobs: int):
        """Prepares the display.

        Args:
            console: where to print.
            runs: all of the grid, finished ones included.
            steps: environment steps that each trains for.
            jobs: how many run at a time.
        """
        self._console = console
        self._runs = runs
        self._steps = steps
        self._jobs = jobs
        self._done = {run for run in runs if run.result() is not None}
        self._failed: set[GridRun] = set()
        # When each began in this call, and the steps that it had then.
        self._began: dict[GridRun, tuple[float, int]] = {}
        self._seconds_per_step: dict[str, float] = {}
        for run in self._done:
            result = run.result() or {}
            if result.get("wall_seconds") and result.get("env_steps"):
                rate = float(result["wall_seconds"]) / float(result["env_steps"])
                self._seconds_per_step[run.env] = rate
        self._last_plain = time.monotonic()
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None

    def __enter__(self) -> GridProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update("")
            self._live.stop()

    def begins(self, run: GridRun, *, resumed: bool) -> None:
        self._began[run] = (time.monotonic(), _steps_so_far(run) if resumed else 0)
        self._say(f"▸ {run.name} {'goes on' if resumed else 'begins'}")

    def finished(self, run: GridRun) -> None:
        result = run.result() or {}
        began, steps_then = self._began[run]
        seconds = time.monotonic() - began
        self._seconds_per_step[run.env] = seconds / max(1, self._steps[run] - steps_then)
        self._done.add(run)
        rate, retention = result.get("recovery_rate"), result.get("retention")
        self._say(
            f"  [green]✓[/green] {run.name} in {seconds:.0f} s: recovery rate {_figure(rate)}, "
            f"retention {_figure(retention)}  {self._summary([])}"
        )

    def failed(self, run: GridRun, reason: str) -> None:
        self._failed.add(run)
        # What a run prints may hold brackets, which are no markup here.
        said = escape(f"{reason} (all it said: {run.log})")
        self._say(f"  [red]✗[/red] {run.name} failed: {said}")

    def moved(self, run: GridRun, to: Path) -> None:
        self._say(escape(f"  {run.folder} cannot be continued; it is now {to.name}"))

    def tick(self, running: list[GridRun]) -> None:
        if self._live:
            self._live.update(self._table(running))
        elif time.monotonic() - self._last_plain > _PLAIN_INTERVAL and running:
            parts = [f"{run.name} {self._share(run):.0%}" for run in running]
            self._say(f"  {', '.join(parts)}  {self._summary(running)}")

    def seconds_left(self, running: list[GridRun]) -> float | None:
        """Estimates the time until all runs are done; None before anything is known."""
        now = time.monotonic()
        rates = dict(self._seconds_per_step)
        left = dict[GridRun, int]()
        for run in self._runs:
            if run in self._done | self._failed:
                continue
            left[run] = self._steps[run]
            if run in running:
                steps = _steps_so_far(run)
                began, steps_then = self._began[run]
                left[run] -= steps
                if steps > steps_then:
                    rates.setdefault(run.env, (now - began) / (steps - steps_then))
        if not rates:
            return None
        # A robot that has not run yet is taken for an average one.
        typical = sum(rates.values()) / len(rates)
        seconds = [steps * rates.get(run.env, typical) for run, steps in left.items()]
        return max(sum(seconds) / self._jobs, max(seconds, default=0.0))

    def _summary(self, running: list[GridRun]) -> str:
        left = self.seconds_left(running)
        failed = f", {len(self._failed)} failed" if self._failed else ""
        when = "" if left is None else f", about {_duration(left)} left"
        return f"\\[{len(self._done)} of {len(self._runs)}{failed}{when}]"

    def _share(self, run: GridRun) -> float:
        return _steps_so_far(run) / self._steps[run]

    def _table(self, running: list[GridRun]) -> Table:
        table = Table.grid(padding=(0, 2))
        for run in running:
            filled = round(24 * self._share(run))
            bar = f"[cyan]{'━' * filled}[/cyan][dim]{'━' * (24 - filled)}[/dim]"
            table.add_row(f"  {run.name}", bar, f"{self._share(run):4.0%}")
        table.add_row(f"  {self._summary(running)}")
        return table

    def _say(self, text: str) -> None:
        self._last_plain = time.monotonic()
        self._console.print(text)


def _steps_so_far(run: GridRun) -> int:
    rows = run.metrics()
    return int(rows[-1].get("env_steps", 0)) if rows else 0


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
