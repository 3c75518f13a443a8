"""The grid's runs on many machines, through Ray: `--launcher ray`.

Every run is a Ray task on a whole node, or on a part of one; nodes need not be alike. All
see the grid's folder under the same path, have this Python environment, and lock files across
machines (as NFS 4 does). A node that dies takes its tasks with it; they are sent elsewhere, where a
finished run is left alone and a broken one goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.util
import math
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.grid import (
    CommandLine,
    GridRun,
    GridRunner,
    Observer,
    has_begun,
    share_of_cores,
)
from lamour_jax.errors import UserError

# How often runs are looked after [s], how long cancelled ones get to end, how long a node is left
# alone on which one went down (it may be dead, which takes a while to be known), and how often such
# a run is sent again.
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 15.0
_REST_SECONDS = 20.0
_RETRIES = 5
# Numbers of a host's TPU chips that one process may have, as Ray allows them.
_TPU_CHIPS = (8, 4, 2, 1)


@dataclass(frozen=True)
class Share:
    """A part of a node that one run at a time has.

    Attributes:
        slot: which part, from 0.
        slots: how many the node has.
        cpus, gpus, tpus: what is asked of Ray for it. Of GPUs a whole number, or a part of one.
    """

    slot: int
    slots: int
    cpus: int
    gpus: float
    tpus: int

    def options(self) -> dict[str, Any]:
        """Returns what a Ray task asks for."""
        others = {"TPU": self.tpus} if self.tpus else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": others}

    def environment(self) -> dict[str, str]:
        """Returns settings of the environment for those who share a GPU."""
        shared = 0 < self.gpus < 1
        return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * self.gpus:.3f}"} if shared else {}


def shares(resources: Mapping[str, float], jobs: int) -> list[Share]:
    """Returns the parts of a node for `jobs` runs at a time: fewer if it has fewer cores or chips.

    Args:
        resources: of the node, as Ray counts them. Without a core it takes no runs.
        jobs: how many are asked for.
    """
    cpus, gpus, tpus = (int(resources.get(name, 0)) for name in ("CPU", "GPU", "TPU"))
    slots = min(jobs, cpus, tpus or jobs)
    if not slots:
        return []
    # Runs on one GPU are as many on each: a part that is left on several is of no use to any.
    of_gpus = float(gpus // slots) if gpus >= slots else 0.0
    if 0 < gpus < slots:
        of_gpus = math.floor(1e4 / math.ceil(slots / gpus)) / 1e4  # Ray counts to four digits
    of_tpus = next((count for count in _TPU_CHIPS if count <= tpus // slots), 0)
    return [Share(slot, slots, cpus // slots, of_gpus, of_tpus) for slot in range(slots)]


@dataclass
class _Outcome:
    """What a task brings back.

    Attributes:
        failure: why the run failed; empty if it did not.
        moved: where folders were moved to.
    """

    failure: str = ""
    moved: list[Path] = field(default_factory=list)


class _Recorder(Observer):
    """The observer on a node: the one that prints is elsewhere."""

    def __init__(self, outcome: _Outcome):
        self._outcome = outcome

    def failed(self, run: GridRun, reason: str) -> None:
        self._outcome.failure = reason

    def moved(self, run: GridRun, to: Path) -> None:
        self._outcome.moved.append(to)


def run_on_node(command_line: CommandLine, run: GridRun, share: Share) -> _Outcome:
    """Runs on a node what is not finished; a dead node's orphan is waited for."""
    outcome = _Outcome()
    # The process is Ray's, and has this grid's tasks alone.
    for name, value in share.environment().items():
        os.environ.setdefault(name, value)
    with _lock(run) as descriptor, share_of_cores(share.slot, share.slots):
        if run.result() is None:
            GridRunner(command_line, _Recorder(outcome), 1, descriptor).run([run])
    return outcome


@contextlib.contextmanager
def _lock(run: GridRun) -> Iterator[int]:
    """The run is this task's alone; its process holds the lock as long as it runs."""
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    with run.folder.with_name(f".{run.folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@dataclass
class _Task:
    """A run that has been sent.

    Attributes:
        run: which.
        node: where to, by its identifier in Ray.
        share: of the node.
        resumed: whether it goes on.
        log_before: when its log was last written before that, if ever.
        begun: whether it has been seen to run.
    """

    run: GridRun
    node: str
    share: Share
    resumed: bool
    log_before: int | None
    begun: bool = False

    def writes(self) -> bool:
        return _written(self.run.log) != self.log_before


class RayRunner:
    """Runs what is not finished yet on a Ray cluster (the counterpart of `GridRunner`)."""

    def __init__(self, command_line: CommandLine, observer: Observer, jobs: int):
        """Connects to the cluster at `RAY_ADDRESS` or on this machine, or starts one here.

        Args:
            command_line: of a process that trains; it is called on the node.
            observer: is told what happens.
            jobs: runs that share a node.

        Raises:
            UserError: Ray is not installed, does not answer, or has no node with a core.
        """
        if importlib.util.find_spec("ray") is None:
            raise UserError("--launcher ray needs Ray: pip install -e '.[ray]'")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        if not ray.is_initialized():
            try:
                ray.init(log_to_driver=False, logging_level="error")
            except (ConnectionError, RuntimeError) as error:
                raise UserError(f"--launcher ray: no cluster: {error}") from None
        self._command_line = command_line
        self._observer = observer
        self._jobs = jobs
        self._remote = ray.remote(_on_node())
        self._resting: dict[str, float] = {}
        if not self._places():
            raise UserError("--launcher ray: no machine of the cluster has a core to run on")

    def _places(self) -> list[tuple[str, Share]]:
        """Returns the parts of all nodes that are there now; first parts of all come first."""
        found = [
            (node["NodeID"], share)
            for node in self._ray.nodes()
            if node["Alive"]
            for share in shares(node["Resources"], self._jobs)
        ]
        return sorted(found, key=lambda place: place[1].slot)

    def run(self, runs: list[GridRun]) -> dict[GridRun, str]:
        """Runs `runs`, each as a task; returns why those failed that did.

        Raises:
            KeyboardInterrupt: the user stopped it; the tasks have been told to end.
        """
        failures = dict[GridRun, str]()
        queue, sent = deque(runs), dict[Any, _Task]()
        tries = dict.fromkeys(runs, 0)
        try:
            while queue or sent:
                self._send(queue, sent)
                done, _ = self._wait(list(sent))
                for reference, task in sent.items():
                    if not task.begun and (reference in done or task.writes()):
                        task.begun = True
                        self._observer.begins(task.run, resumed=task.resumed)
                for reference in done:
                    task = sent.pop(reference)
                    outcome, lost = self._outcome(reference)
                    tries[task.run] += lost
                    if lost and tries[task.run] <= _RETRIES:
                        self._resting[task.node] = time.monotonic() + _REST_SECONDS
                        queue.appendleft(task.run)
                    else:
                        self._end(outcome, task.run, failures)
                self._observer.tick([task.run for task in sent.values() if task.begun])
        except KeyboardInterrupt:
            for reference in sent:
                self._ray.cancel(reference)
            if sent:
                self._ray.wait(list(sent), num_returns=len(sent), timeout=_GRACE_SECONDS)
            raise
        return failures

    def _send(self, queue: deque[GridRun], sent: dict[Any, _Task]) -> None:
        """Sends what waits to the parts of nodes that are free."""
        if not queue:
            return
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        taken = {(task.node, task.share.slot) for task in sent.values()}
        now = time.monotonic()
        for node, share in self._places():
            resting = self._resting.get(node, now) > now
            if resting or (node, share.slot) in taken or not queue:
                continue
            run = queue.popleft()
            # Before it is sent: a task may begin at once.
            task = _Task(run, node, share, has_begun(run), _written(run.log))
            # Nodes have working directories of their own.
            absolute = dataclasses.replace(run, folder=run.folder.resolve())
            remote = self._remote.options(
                **share.options(),
                max_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            sent[remote.remote(pickle.dumps((self._command_line, absolute, share)))] = task

    def _wait(self, references: list[Any]) -> tuple[list[Any], list[Any]]:
        if not references:  # until a node joins, or comes back
            time.sleep(_POLL_SECONDS)
            return [], []
        done, others = self._ray.wait(references, timeout=_POLL_SECONDS)
        return done, others

    def _outcome(self, reference: Any) -> tuple[_Outcome, bool]:
        """Returns what a task brought back, and whether it went down with its node or process."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference), False
        except errors.RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
            return _Outcome(reason), not isinstance(error, errors.RayTaskError)

    def _end(self, outcome: _Outcome, run: GridRun, failures: dict[GridRun, str]) -> None:
        for to in outcome.moved:
            self._observer.moved(run, to)
        if run.result() is not None:
            self._observer.finished(run)
        else:
            failures[run] = outcome.failure or "it ended without a result"
            self._observer.failed(run, failures[run])


def _on_node() -> Callable[[bytes], Any]:
    """Returns what a node runs; it is sent as it is, and finds the repository's folder there."""
    root = str(Path(__file__).parents[1])

    def on_node(content: bytes) -> Any:
        import os
        import pickle
        import sys

        if root not in sys.path:
            sys.path.insert(0, root)
        os.environ["PYTHONPATH"] = root
        from benchmarks.ray_launcher import run_on_node

        return run_on_node(*pickle.loads(content))

    return on_node


def _written(file: Path) -> int | None:
    """Returns when a file was last written, in the file system's own time; None if it is not."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
