"""The grid on a cluster of two nodes, one of which dies half-way; nothing really trains."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid import GridRun, Observer, all_runs
from benchmarks.ray_launcher import RayRunner, Share, run_on_node, shares

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


def command_line(run: GridRun, resumed: bool) -> list[str]:
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
    words = (node, run.env, run.method, str(run.seed), str(run.folder), str(resumed))
    return [sys.executable, "-S", "-c", PRETENDER, *words]


class KillsANode(Observer):
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
    failures = RayRunner(command_line, notes, jobs=1).run(runs)
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


@pytest.mark.parametrize(
    ("resources", "jobs", "expected"),
    [
        ({"CPU": 64.0}, 4, (4, 16, 0.0, 0)),
        ({"CPU": 2.0, "GPU": 0.0}, 4, (2, 1, 0.0, 0)),  # no more runs than cores
        ({"memory": 1e9}, 1, None),  # a head that shall not work
        ({"CPU": 16.0, "GPU": 8.0}, 1, (1, 16, 8.0, 0)),
        ({"CPU": 16.0, "GPU": 8.0}, 3, (3, 5, 2.0, 0)),  # 8 / 3, which Ray would refuse
        ({"CPU": 16.0, "GPU": 1.0}, 4, (4, 4, 0.25, 0)),
        ({"CPU": 16.0, "GPU": 3.0}, 4, (4, 4, 0.5, 0)),  # 3 / 4 on each would be room for 3
        ({"CPU": 16.0, "GPU": 1.0}, 3, (3, 5, 0.3333, 0)),
        ({"CPU": 96.0, "TPU": 4.0}, 1, (1, 96, 0.0, 4)),
        ({"CPU": 96.0, "TPU": 8.0}, 3, (3, 32, 0.0, 2)),
        ({"CPU": 96.0, "TPU": 1.0}, 4, (1, 96, 0.0, 1)),  # a chip is one process's
    ],
)
def test_shares_of_a_node(
    resources: dict[str, float], jobs: int, expected: tuple[int, int, float, int] | None
) -> None:
    found = shares(resources, jobs)
    if expected is None:
        assert found == []
        return
    slots, cpus, gpus, tpus = expected
    assert found == [Share(slot, slots, cpus, gpus, tpus) for slot in range(slots)]
    # All of them fit on the node at once.
    whole = {"CPU": slots * cpus, "TPU": slots * tpus}
    if gpus < 1 and gpus:
        assert int(1 / gpus) * resources["GPU"] >= slots
    else:
        whole["GPU"] = slots * gpus
    assert all(used <= resources.get(name, 0.0) for name, used in whole.items())


def test_what_a_share_asks_for() -> None:
    assert Share(0, 4, 4, 0.25, 0).options() == {"num_cpus": 4, "num_gpus": 0.25, "resources": {}}
    assert Share(0, 4, 4, 0.25, 0).environment() == {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.225"}
    assert Share(0, 2, 4, 1.0, 0).environment() == {}
    assert Share(0, 1, 8, 0.0, 4).options()["resources"] == {"TPU": 4}


def test_runs_on_a_node_have_cores_of_their_own(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    runs = all_runs(tmp_path, ["ant"], ["env"], [0, 1])
    tells = "import os, sys; print(sorted(os.sched_getaffinity(0)))"
    for slot, run in enumerate(runs):
        share = Share(slot, 2, 1, 0.0, 0)
        run_on_node(lambda run, resumed: [sys.executable, "-S", "-c", tells], run, share)
        assert json.loads(run.log.read_text()) == (cores[slot::2] or cores[:1])
    assert sorted(os.sched_getaffinity(0)) == cores


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    (run,) = all_runs(tmp_path, ["ant"], ["env"], [0])
    begin = time.monotonic()
    whole = Share(slot=0, slots=1, cpus=1, gpus=0.0, tpus=0)
    run_on_node(command_line, run, whole)
    assert run.result()
    begun = (run.folder.parent / "begun").read_text()
    run_on_node(command_line, run, whole)
    assert (run.folder.parent / "begun").read_text() == begun
    assert time.monotonic() - begin < 60
    assert os.path.exists(run.log)
