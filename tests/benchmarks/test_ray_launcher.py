"""The grid on a cluster of two nodes, one of which dies half-way; nothing really trains."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid import GridRun, Together, all_runs
from benchmarks.ray_launcher import RayRunner, run_group

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

# Like a training: settings first, then work, then the result. A node that dies takes its processes
# with it; here they see to that themselves.
PRETENDER = """
import json, os, sys, time
from pathlib import Path
node, env, method, seed, folder, resumed = sys.argv[1:]
folder = Path(folder)
parent = os.getppid()
with open(folder.parent / "begun", "a") as begun:
    print(seed, node, "on" if resumed == "True" else "new", file=begun)
if seed == "7":
    sys.exit("MemoryError: out of memory")
folder.mkdir(exist_ok=True)
(folder / "config.yaml").write_text("")
for _ in range(40):
    time.sleep(0.05)
    if os.getppid() != parent:
        os._exit(1)
result = {"env": env, "method": method, "seed": int(seed), "evaluations": {}}
(folder / "result.json").write_text(json.dumps(result))
"""


def command_line(runs: Together, resumed: bool) -> list[str]:
    (run,) = runs
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
    words = (node, run.env, run.method, str(run.seed), str(run.folder), str(resumed))
    return [sys.executable, "-S", "-c", PRETENDER, *words]


class KillsANode:
    """An observer that takes a node away once it has finished a run and begun another."""

    def __init__(self, cluster: Any, node: Any, grid: Path) -> None:
        self._cluster, self._node, self._begun = cluster, node, grid / "ant" / "env" / "begun"
        self.killed: str | None = None
        self.events: list[tuple[str, str]] = []

    def begins(self, run: GridRun, *, resumed: bool) -> None:
        self.events.append(("begins", run.name))

    def finished(self, run: GridRun) -> None:
        self.events.append(("finished", run.name))

    def failed(self, run: GridRun, reason: str) -> None:
        self.events.append((f"failed: {reason}", run.name))

    def moved(self, run: GridRun, to: Path) -> None: ...

    def tick(self, running: list[GridRun]) -> None:
        if self.killed is None and self._begun.exists():
            begun = [line.split() for line in self._begun.read_text().splitlines()]
            seeds = [line[0] for line in begun if line[1] == self._node.node_id]
            settings = self._begun.parent / f"seed_{seeds[-1] if seeds else None}" / "config.yaml"
            # Not before the second run has its settings: until then it would begin anew.
            if len(seeds) >= 2 and settings.exists():
                self.killed = self._node.node_id
                self._cluster.remove_node(self._node, allow_graceful=False)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise it ends workers where other processes need the memory, and lets all others go first.
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore")
def test_a_grid_survives_the_death_of_a_node(cluster: Any, tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    runs = all_runs(tmp_path, ["ant"], ["env"], [0, 1, 2, 3, 4, 5, 7])
    notes = KillsANode(cluster, doomed, tmp_path)
    failures = RayRunner(command_line, notes, jobs=1).run([(run,) for run in runs])
    assert notes.killed, "the second node never had a second run"
    assert {run.seed: reason for run, reason in failures.items()} == {
        7: "MemoryError: out of memory"
    }
    assert all(run.result() for run in runs if run.seed != 7)
    # What was on the dead node went on elsewhere; all else ran once.
    begun = [line.split() for line in (tmp_path / "ant/env/begun").read_text().splitlines()]
    again = [line for line in begun if line[2] == "on"]
    assert len(again) == 1
    assert again[0][1] != notes.killed
    assert sorted(line[0] for line in begun if line[2] == "new") == list("0123457")
    assert sorted(name for event, name in notes.events if event == "finished") == [
        run.name for run in runs if run.seed != 7
    ]


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    (run,) = all_runs(tmp_path, ["ant"], ["env"], [0])
    begin = time.monotonic()
    run_group(command_line, (run,))
    assert run.result()
    begun = (run.folder.parent / "begun").read_text()
    run_group(command_line, (run,))
    assert (run.folder.parent / "begun").read_text() == begun
    assert time.monotonic() - begin < 60
    assert os.path.exists(run.log)
