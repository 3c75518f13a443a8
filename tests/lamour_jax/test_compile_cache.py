"""What is compiled: once in a process, and once on a machine. And that memory stays where it is."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import envs
from lamour_jax import compile_cache
from lamour_jax.objective import original_task
from lamour_jax.policies import originals
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import ActorCritic, Agent, PolicyNetwork
from lamour_jax.run.evaluation import Evaluator
from tests.compilations import CompilationCounter

SECOND_START = """
import json
from lamour_jax import compile_cache
from tests.compilations import CompilationCounter
compile_cache.enable()
from tests.lamour_jax import tiny_run
with CompilationCounter() as counter:
    digest = tiny_run.run()
print(json.dumps([counter.compiled, counter.loaded, digest]))
"""


def start(cache: Path) -> tuple[int, int, str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", SECOND_START],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cache" not in done.stderr.lower()
    compiled, loaded, digest = json.loads(done.stdout)
    return compiled, loaded, digest


def test_the_second_start_compiles_nothing_and_gives_the_same_bits(tmp_path: Path) -> None:
    compiled, _, digest = start(tmp_path)
    assert compiled > 0
    again, loaded, same_digest = start(tmp_path)
    assert again == 0
    assert loaded >= compiled
    assert same_digest == digest


@pytest.fixture(scope="module")
def learner() -> Learner:
    env = envs.load("hopper", start="ood", engine="mujoco")
    config = PPOConfig(num_envs=4, unroll_length=8, minibatch_size=16, epochs=1)
    policy = PolicyNetwork(env.observation_size, env.action_size, config.hidden_sizes)
    return Learner(env, original_task(), config, 1000, ActorCritic(policy))


def agent_of(learner: Learner, seed: int) -> Agent:
    """Returns the first agent of a population of one."""
    agent: Agent = jax.tree.map(lambda leaf: leaf[0], learner.init(seed).agent)
    return agent


def test_only_the_first_iteration_compiles(learner: Learner) -> None:
    state, _ = learner.iterate(learner.init(0))
    with CompilationCounter() as counter:
        for _ in range(3):
            state, metrics = learner.iterate(state)
        jax.device_get(metrics)
    assert counter.compiled + counter.loaded == 0


def test_only_the_first_evaluation_compiles(learner: Learner) -> None:
    env = envs.load("hopper", engine="mujoco", episode_length=5)
    evaluator = Evaluator(Actor(learner.network), episodes=3)
    agent = agent_of(learner, 0)
    evaluator(env, agent, 0).summary()
    other = jax.tree.map(lambda leaf: leaf + 0, agent_of(learner, 1))
    with CompilationCounter() as counter:
        evaluator(env, other, 1, sampled=True).summary()
    assert counter.compiled + counter.loaded == 0


def test_a_loaded_and_a_trained_policy_share_the_program_of_an_evaluation() -> None:
    env = envs.load("hopper", engine="mujoco", episode_length=5)
    header, loaded = originals.load("hopper")
    evaluator = Evaluator(Actor(header.network()), episodes=3)
    evaluator(env, loaded, 0).summary()
    trained = jax.device_put(loaded, jax.local_devices()[0])
    with CompilationCounter() as counter:
        evaluator(env, trained, 0).summary()
    assert counter.compiled + counter.loaded == 0


def test_starts_share_the_program_of_an_evaluation(learner: Learner) -> None:
    evaluator = Evaluator(Actor(learner.network), episodes=3)
    agent = agent_of(learner, 0)
    for start in ("ordinary", "ood", "ood-noisy"):
        env = envs.load("hopper", start=start, engine="mujoco", episode_length=5)
        evaluator(env, agent, 0).summary()
    [program] = evaluator._programs.values()
    assert program._cache_size() == 1


def test_memory_does_not_grow_over_iterations(learner: Learner) -> None:
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    state = learner.init(0)
    for _ in range(30):  # allocators and thread pools settle
        state, _ = learner.iterate(state)
    jax.block_until_ready(state)
    gc.collect()
    arrays, before = len(jax.live_arrays()), resident()
    for _ in range(150):
        state, metrics = learner.iterate(state)
        jax.device_get(metrics)
    del metrics
    gc.collect()
    assert len(jax.live_arrays()) <= arrays
    # 14 KiB an iteration would be too much.
    assert resident() - before < 2 * 2**20


def test_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compile_cache.default_folder().parent == tmp_path / "lamour_jax" / "programs"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert compile_cache.default_folder().is_relative_to(Path.home() / ".cache")


def test_what_was_used_longest_ago_is_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for age, name in enumerate("abc"):
        file = tmp_path / f"{name}-cache"
        file.write_bytes(np.zeros(100, np.uint8).tobytes())
        os.utime(file, (1e9 - age, 1e9))
    monkeypatch.setattr(compile_cache, "_MAX_BYTES", 250)
    compile_cache._prune(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-cache", "b-cache"]
