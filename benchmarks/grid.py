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
from typing import IO, Any, Protocol

from lamour_jax.errors import UserError

FORMAT_VERSION = 1
# How often children are looked after [s], and how long they get to end when told to.
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 10.0
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
        content: of its `grid.json`: `configs` (settings without seed, by `env/method`) and
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
            configs: settings without seed, by `env/method`.

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
        return list(self.content["configs"]).index(f"{run.env}/{run.method}"), run.seed

    def note(self, invocation: dict[str, Any]) -> None:
        """Writes `grid.json`, with this call in it."""
        self.content["invocations"].append(invocation)
        temporary = self._file.with_name(".grid.json.partial")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self._file)

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


class Observer(Protocol):
    """Is told what happens in the grid."""

    def begins(self, run: GridRun, *, resumed: bool) -> None: ...

    def finished(self, run: GridRun) -> None: ...

    def failed(self, run: GridRun, reason: str) -> None: ...

    def moved(self, run: GridRun, to: Path) -> None: ...

    def tick(self, running: list[GridRun]) -> None: ...


# Runs that one process trains: seeds of one robot and method, mostly a single one.
Together = tuple[GridRun, ...]

# Returns the command line of a process; the second argument says whether its (then only) run's
# folder is continued.
CommandLine = Callable[[Together, bool], list[str]]


def side_by_side(runs: list[GridRun]) -> list[Together]:
    """Groups new runs that one program can train: consecutive seeds of a robot and a method."""
    groups: list[Together] = []
    for run in sorted(runs, key=lambda run: (runs.index(_first(run, runs)), run.seed)):
        last = groups[-1][-1] if groups else None
        follows = (
            last is not None
            and (last.env, last.method, last.seed + 1) == (run.env, run.method, run.seed)
            and not has_begun(last)
            and not has_begun(run)
        )
        if follows:
            groups[-1] += (run,)
        else:
            groups.append((run,))
    return groups


def _first(run: GridRun, runs: list[GridRun]) -> GridRun:
    return next(r for r in runs if (r.env, r.method) == (run.env, run.method))


def has_begun(run: GridRun) -> bool:
    """Returns whether a run has settings to be continued with."""
    return (run.folder / "config.yaml").exists()


@dataclass
class _Child:
    runs: Together
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

    def run(self, runs: list[Together]) -> dict[GridRun, str]:
        """Runs `runs`, each group in a process; returns why those failed that did.

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
                    self._observer.tick([run for child in self._running for run in child.runs])
            finally:
                self._stop()
        return failures

    def _begin(self, runs: Together) -> None:
        # Without its settings, a folder cannot be continued.
        resumed = has_begun(runs[0])
        for run in runs:
            if not resumed and run.folder.exists() and any(run.folder.iterdir()):
                self._move_aside(run)
        self._start(runs, resumed)

    def _start(self, runs: Together, resumed: bool) -> None:
        slot = min(set(range(self._jobs)) - {child.slot for child in self._running})
        runs[0].folder.parent.mkdir(parents=True, exist_ok=True)
        output = runs[0].log.open("wb")
        with share_of_cores(slot, self._jobs):
            process = subprocess.Popen(
                self._command_line(runs, resumed),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | share_of_accelerators(slot, self._jobs, _nvidia_devices()),
                pass_fds=(self._lock_descriptor,),
                # Ctrl-C reaches this process alone, which then ends its children.
                start_new_session=True,
            )
        self._running.append(_Child(runs, process, output, resumed, slot))
        for run in runs:
            self._observer.begins(run, resumed=resumed)

    def _end(self, child: _Child, failures: dict[GridRun, str]) -> None:
        status, log = child.process.returncode, child.runs[0].log
        if status == _REFUSED and child.resumed:
            self._move_aside(child.runs[0])
            self._start(child.runs, resumed=False)
            return
        for run in child.runs:
            if run.result() is not None:  # written last: of a group, some may have got so far
                self._observer.finished(run)
            else:
                failures[run] = _reason(status, log) if status else "it ended without a result"
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
