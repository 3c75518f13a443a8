"""The grid's runs on many machines, through Ray: `--launcher ray`.

Every group of runs is a Ray task on a whole node, or on a part of one. All nodes see the grid's
folder under the same path, have this Python environment, and lock files across machines (as NFS 4
does). A node that dies takes its tasks with it; Ray starts them anew elsewhere, where a finished
run is left alone and a broken one goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.util
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.grid import CommandLine, GridRun, GridRunner, Observer, Together, has_begun
from lamour_jax.errors import UserError

# How often runs are looked after [s], how long cancelled ones get to end, and how often a run is
# started again that went down with its node.
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 15.0
_RETRIES = 5


@dataclass
class _Outcome:
    """What a task brings back.

    Attributes:
        failures: why those runs failed that did, by name.
        moved: folders that were moved aside, and where to, by the run's name.
    """

    failures: dict[str, str] = field(default_factory=dict)
    moved: list[tuple[str, Path]] = field(default_factory=list)


class _Recorder:
    """The observer on a node: the one that prints is elsewhere."""

    def __init__(self, outcome: _Outcome):
        self._outcome = outcome

    def begins(self, run: GridRun, *, resumed: bool) -> None: ...

    def finished(self, run: GridRun) -> None: ...

    def failed(self, run: GridRun, reason: str) -> None:
        self._outcome.failures[run.name] = reason

    def moved(self, run: GridRun, to: Path) -> None:
        self._outcome.moved.append((run.name, to))

    def tick(self, running: list[GridRun]) -> None: ...


def run_group(command_line: CommandLine, runs: Together) -> _Outcome:
    """Runs on a node what of a group is not finished; a dead node's orphans are waited for."""
    outcome = _Outcome()
    with _lock(runs[0]) as descriptor:
        todo = tuple(run for run in runs if run.result() is None)
        # Runs that have begun side by side go on one by one.
        alone = any(map(has_begun, todo))
        groups: list[Together] = [(run,) for run in todo] if alone else [todo]
        if todo:
            GridRunner(command_line, _Recorder(outcome), 1, descriptor).run(groups)
    return outcome


@contextlib.contextmanager
def _lock(run: GridRun) -> Iterator[int]:
    """The group is this task's alone; its children hold the lock as long as they run."""
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with run.folder.with_name(f".{run.folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@dataclass
class _Task:
    """A group that has been sent.

    Attributes:
        runs: the group.
        resumed: whether its first run goes on.
        log_before: when its log was last written before that, if ever.
        begun: whether it has been seen to run.
    """

    runs: Together
    resumed: bool
    log_before: int | None
    begun: bool = False

    def writes(self) -> bool:
        return _written(self.runs[0].log) != self.log_before


class RayRunner:
    """Runs what is not finished yet on a Ray cluster (the counterpart of `GridRunner`)."""

    def __init__(self, command_line: CommandLine, observer: Observer, jobs: int):
        """Connects to the cluster at `RAY_ADDRESS` or on this machine, or starts one here.

        Args:
            command_line: of a process that trains; it is called on the node.
            observer: is told what happens.
            jobs: runs that share a node.

        Raises:
            UserError: Ray is not installed, or does not answer.
        """
        if importlib.util.find_spec("ray") is None:
            raise UserError("--launcher ray needs Ray: pip install -e '.[ray]'")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray: Any = ray
        if not ray.is_initialized():
            try:
                ray.init(log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError) as error:
                raise UserError(f"--launcher ray: no cluster: {error}") from None
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._options = {
            "num_cpus": max(1, int(min(node.get("CPU", 1) for node in nodes)) // jobs),
            "num_gpus": min(node.get("GPU", 0) for node in nodes) / jobs,
            "max_retries": _RETRIES,
        }
        self._command_line = command_line
        self._observer = observer

    def run(self, groups: list[Together]) -> dict[GridRun, str]:
        """Runs `groups`, each as a task; returns why those runs failed that did.

        Raises:
            KeyboardInterrupt: the user stopped it; the tasks have been told to end.
        """
        ray, failures = self._ray, dict[GridRun, str]()
        root = str(Path(__file__).parents[1])

        def on_node(command_line: bytes, runs: bytes) -> Any:
            """Is sent as it is; what it works with is found in the repository's folder."""
            import os
            import pickle
            import sys

            if root not in sys.path:
                sys.path.insert(0, root)
            os.environ["PYTHONPATH"] = root
            from benchmarks.ray_launcher import run_group

            return run_group(pickle.loads(command_line), pickle.loads(runs))

        remote = ray.remote(on_node).options(**self._options)
        pending = {}
        for group in groups:
            # Nodes have working directories of their own.
            absolute = tuple(dataclasses.replace(run, folder=run.folder.resolve()) for run in group)
            # Before it is sent: a task may begin at once.
            task = _Task(group, has_begun(group[0]), _written(group[0].log))
            sent = remote.remote(pickle.dumps(self._command_line), pickle.dumps(absolute))
            pending[sent] = task
        try:
            while pending:
                done, _ = ray.wait(list(pending), timeout=_POLL_SECONDS)
                for reference, task in pending.items():
                    if not task.begun and (reference in done or task.writes()):
                        task.begun = True
                        for run in task.runs:
                            self._observer.begins(run, resumed=task.resumed)
                for reference in done:
                    self._end(reference, pending.pop(reference).runs, failures)
                running = [task for task in pending.values() if task.begun]
                self._observer.tick([run for task in running for run in task.runs])
        except KeyboardInterrupt:
            for reference in pending:
                ray.cancel(reference)
            ray.wait(list(pending), num_returns=len(pending), timeout=_GRACE_SECONDS)
            raise
        return failures

    def _end(self, reference: Any, group: Together, failures: dict[GridRun, str]) -> None:
        try:
            outcome: _Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
            outcome = _Outcome({run.name: reason for run in group})
        for run in group:
            for name, to in outcome.moved:
                if name == run.name:
                    self._observer.moved(run, to)
            if run.result() is not None:
                self._observer.finished(run)
            else:
                failures[run] = outcome.failures.get(run.name, "it ended without a result")
                self._observer.failed(run, failures[run])


def _written(file: Path) -> int | None:
    """Returns when a file was last written, in the file system's own time; None if it is not."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
