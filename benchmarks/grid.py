"""A grid of runs: each robot, method and seed a training process of its own, in one folder.

A run whose result is complete is not repeated, a broken one is continued, and one that cannot be
continued is moved aside and started anew. The folder remembers the settings of its runs and
refuses others; robots, methods and seeds may be added.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from lamour_jax.errors import UserError
from lamour_jax.files import write_json

FORMAT_VERSION = 1
# How often children are looked after [s], and how long they get to end when told to.
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
# Without a terminal, a line of progress at most this often [s].
_PLAIN_INTERVAL = 60.0
# Exit status by which a training says that its input, here the folder, was wrong.
_REFUSED = 2


@dataclass(frozen=True)
class GridRun:
    """One run of the grid and where it lies, in a folder of a robot and a method."""

    env: str
    method: str
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.env}/{self.method}/{self.folder.name}"

    @property
    def settings(self) -> str:
        """The name of its settings, which all seeds share."""
        shared = f"{self.env}/{self.method}"
        return shared if self.folder.name.startswith("seed_") else self.name

    @property
    def log(self) -> Path:
        """What the run printed, beside its folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def result(self) -> dict[str, Any] | None:
        """Returns the content of a complete `result.json`, or None."""
        try:
            result = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
            identity = (result["env"], result["method"], result["seed"])
            complete = isinstance(result["evaluations"], dict)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return result if complete and identity == (self.env, self.method, self.seed) else None

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the rows of `metrics.jsonl` that are whole."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        rows = []
        for line in lines:
            # The last line may be half written.
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows


def all_runs(path: Path, envs: list[str], methods: list[str], seeds: list[int]) -> list[GridRun]:
    """Returns the runs of a grid: every first seed before the second ones."""
    return [
        GridRun(env, method, seed, path / env / method / f"seed_{seed}")
        for seed in seeds
        for env in envs
        for method in methods
    ]


class GridFolder:
    """The folder of a grid, held by one process and its children at a time.

    Attributes:
        path: the folder.
        content: of its `grid.json`: `configs` (settings without seed, by `GridRun.settings`) and
            `invocations` (command, date and machine of each call).
    """

    def __init__(self, path: Path):
        """Opens the folder, creating it if need be.

        Raises:
            UserError: it holds something else, another format, or is in use.
        """
        self.path = path
        self._file = path / "grid.json"
        try:
            path.mkdir(parents=True, exist_ok=True)
            held = {entry.name for entry in path.iterdir()} - {".lock"}
            if held and self._file.name not in held:
                raise UserError(f"--out {path} is not empty and holds no grid; give a new folder")
            self._lock = (path / ".lock").open("w")
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"--out {path} is a file; give a folder") from None
        except OSError as error:
            raise UserError(f"--out {path} cannot be written: {error.strerror}") from None
        self.content: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "configs": {},
            "invocations": [],
        }
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._file.exists():
                self.content = _read(self._file)
        except BlockingIOError:
            self.close()
            raise UserError(f"another process is running the grid in {path}; wait for it") from None
        except UserError:
            self.close()
            raise

    @property
    def lock_descriptor(self) -> int:
        """Children inherit it: while an orphan is training, nobody else may write here."""
        return self._lock.fileno()

    def agree(self, configs: dict[str, dict[str, Any]]) -> None:
        """Takes the settings of further runs in, or refuses them.

        Args:
            configs: settings without seed, by `GridRun.settings`.

        Raises:
            UserError: the grid was made with other ones.
        """
        for name, config in configs.items():
            before = self.content["configs"].get(name)
            if before is None or before == config:
                continue
            old, new = _flat(before), _flat(config)
            changed = [key for key in old | new if old.get(key) != new.get(key)]
            key, more = changed[0], len(changed) - 1
            made_by = self.content["invocations"]
            raise UserError(
                f"the grid in {self.path} was made with other settings: {name} had "
                f"{key} = {old.get(key)!r}, not {new.get(key)!r}"
                + (f" (and {more} more)" if more else "")
                + "; give --out a new folder"
                + (f", or go on by: {made_by[0]['command']}" if made_by else "")
            )
        self.content["configs"] |= configs

    def runs(self) -> list[GridRun]:
        """Returns all runs that have a folder here, of this call and of earlier ones."""
        found = []
        for name in self.content["configs"]:
            env, _, method = name.partition("/")
            for folder in (self.path / env / method).glob("seed_*"):
                seed = folder.name.removeprefix("seed_")
                if folder.is_dir() and seed.isdecimal():
                    found.append(GridRun(env, method, int(seed), folder))
        return found

    def place(self, run: GridRun) -> tuple[int, int]:
        """Returns where `run` stands in a report: robots and methods as they were first named."""
        return list(self.content["configs"]).index(run.settings), run.seed

    def note(self, invocation: dict[str, Any]) -> None:
        """Writes `grid.json`, with this call in it."""
        self.content["invocations"].append(invocation)
        write_json(self._file, self.content)

    def close(self) -> None:
        """Lets go of the folder."""
        self._lock.close()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = content["format_version"]
        if version == FORMAT_VERSION:
            return {name: content[name] for name in ("format_version", "configs", "invocations")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}); give --out a new folder") from None
    raise UserError(
        f"{file} has format version {version}; this release reads {FORMAT_VERSION}; "
        "give --out a new folder"
    )


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return flat


class Observer:
    """Is told what happens in the grid; does nothing about it."""

    def begins(self, run: GridRun, *, resumed: bool) -> None: ...

    def finished(self, run: GridRun) -> None: ...

    def failed(self, run: GridRun, reason: str) -> None: ...

    def moved(self, run: GridRun, to: Path) -> None: ...

    def tick(self, running: list[GridRun]) -> None: ...


# Returns the command line of a run; the second argument says whether its folder is continued.
CommandLine = Callable[[GridRun, bool], list[str]]


def has_begun(run: GridRun) -> bool:
    """Returns whether a run has settings to be continued with."""
    return (run.folder / "config.yaml").exists()


class GridProgress(Observer):
    """Tells the person at the terminal: live there, plain lines elsewhere."""

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


@dataclass
class _Child:
    run: GridRun
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    resumed: bool
    slot: int


class GridRunner:
    """Runs what is not finished yet, some runs at a time."""

    def __init__(
        self, command_line: CommandLine, observer: Observer, jobs: int, lock_descriptor: int
    ):
        """Prepares the grid; `jobs` runs share the machine's cores evenly."""
        self._command_line = command_line
        self._observer = observer
        self._jobs = jobs
        self._lock_descriptor = lock_descriptor
        self._running: list[_Child] = []

    def run(self, runs: list[GridRun]) -> dict[GridRun, str]:
        """Runs `runs`; returns why those failed that did.

        Raises:
            KeyboardInterrupt: the user, or SIGTERM, stopped it; no child is left.
        """
        pending, failures = deque(runs), dict[GridRun, str]()
        with _termination_interrupts():
            try:
                while pending or self._running:
                    while pending and len(self._running) < self._jobs:
                        self._begin(pending.popleft())
                    time.sleep(_POLL_SECONDS)
                    for child in [c for c in self._running if c.process.poll() is not None]:
                        self._running.remove(child)
                        child.output.close()
                        self._end(child, failures)
                    self._observer.tick([child.run for child in self._running])
            finally:
                self._stop()
        return failures

    def _begin(self, run: GridRun) -> None:
        # Without its settings, a folder cannot be continued.
        resumed = has_begun(run)
        if not resumed and run.folder.exists() and any(run.folder.iterdir()):
            self._move_aside(run)
        self._start(run, resumed)

    def _start(self, run: GridRun, resumed: bool) -> None:
        slot = min(set(range(self._jobs)) - {child.slot for child in self._running})
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        output = run.log.open("wb")
        with share_of_cores(slot, self._jobs):
            process = subprocess.Popen(
                self._command_line(run, resumed),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | share_of_accelerators(slot, self._jobs, _nvidia_devices()),
                pass_fds=(self._lock_descriptor,),
                # Ctrl-C reaches this process alone, which then ends its children.
                start_new_session=True,
            )
        self._running.append(_Child(run, process, output, resumed, slot))
        self._observer.begins(run, resumed=resumed)

    def _end(self, child: _Child, failures: dict[GridRun, str]) -> None:
        status, run = child.process.returncode, child.run
        if status == _REFUSED and child.resumed:
            self._move_aside(run)
            self._start(run, resumed=False)
        elif run.result() is not None:
            self._observer.finished(run)
        else:
            failures[run] = _reason(status, run.log) if status else "it ended without a result"
            self._observer.failed(run, failures[run])

    def _move_aside(self, run: GridRun) -> None:
        number = 1
        while (to := run.folder.with_name(f"{run.folder.name}.broken-{number}")).exists():
            number += 1
        run.folder.rename(to)
        self._observer.moved(run, to)

    def _stop(self) -> None:
        for child in self._running:
            child.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for child in self._running:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.output.close()
        self._running.clear()


def _reason(status: int, log: Path) -> str:
    """Returns the last line of what a failed run printed, or what ended it."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"exit status {status}"


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM, which would leave orphans, is treated like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def share_of_cores(slot: int, jobs: int) -> Iterator[None]:
    """Children begun in here may use one of `jobs` even shares of this process's cores.

    The affinity is the calling thread's own, and children inherit it: unlike with a function run
    between fork and exec, nothing can hang.
    """
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[slot::jobs] or [cores[slot % len(cores)]])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def share_of_accelerators(slot: int, jobs: int, devices: list[str]) -> dict[str, str]:
    """Returns settings of the environment by which one of `jobs` processes keeps to its share.

    Left to themselves, all would take all of the NVIDIA GPUs, and most of their memory at once.

    Args:
        slot: which process.
        jobs: how many.
        devices: the GPUs' names; without any, what accelerator there is has its memory shared.
    """
    if jobs == 1:
        return {}
    own = devices[slot::jobs] or devices[slot % len(devices) :][:1] if devices else []
    on_one = -(-jobs // len(devices)) if devices else jobs
    settings = {"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else {}
    if on_one > 1 and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
        settings["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / on_one:.3f}"
    return settings


def _nvidia_devices() -> list[str]:
    """Returns the GPUs that a child may use; JAX, which knows, would take them for itself."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]
