"""What others run on the same robot: Brax's PPO and EnvPool, each in a process of its own."""

from __future__ import annotations

import atexit
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks import compare_venv
from benchmarks.subjects import Subject, Workload, mjx_steps
from envs.physics.mujoco_engine import available_cores
from envs.physics.xla_threads import environment_of_others
from lamour_jax.errors import UserError

# The same robot in EnvPool: Gymnasium's model and original task.
ENVPOOL_NAMES = {
    "ant": "Ant-v5",
    "half_cheetah": "HalfCheetah-v5",
    "hopper": "Hopper-v5",
    "humanoid": "Humanoid-v5",
    "walker2d": "Walker2d-v5",
}


def brax_ppo(workload: Workload) -> Subject:
    """Brax's PPO over MJX on the same environment, with our sizes of networks and batches.

    Raises:
        UserError: the comparison environment is missing, or the rival does not run.
    """
    ppo = workload.config.ppo
    return _remote(
        "brax",
        rival="brax",
        env=workload.env.name,
        start="ood",
        engine="mjx",
        episode_length=workload.env.time_limit,
        num_envs=ppo.num_envs,
        unroll_length=mjx_steps(ppo.unroll_length),
        minibatch_size=ppo.minibatch_size,
        epochs=ppo.epochs,
        hidden_sizes=ppo.hidden_sizes,
        activation=ppo.activation,
        precision=workload.config.precision,
    )


def envpool(workload: Workload) -> Subject:
    """EnvPool's environment of the same robot, on all cores.

    Raises:
        UserError: it has no such robot, or its package is not there.
    """
    name = workload.env.name
    if name not in ENVPOOL_NAMES:
        raise UserError(f"--compare envpool: it has no {name}; known: {', '.join(ENVPOOL_NAMES)}")
    ppo = workload.config.ppo
    return _remote(
        "envpool",
        rival="envpool",
        envpool_name=ENVPOOL_NAMES[name],
        num_envs=ppo.num_envs,
        unroll_length=ppo.unroll_length,
        threads=available_cores(),
    )


def _remote(name: str, **settings: Any) -> Subject:
    """Starts a rival and waits until it is ready; it idles between measurements."""
    worker = subprocess.Popen(
        [compare_venv.python(), "-m", "benchmarks.rival_worker", json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment_of_others() | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    atexit.register(worker.kill)
    assert worker.stdin and worker.stdout
    to_worker, from_worker = worker.stdin, worker.stdout

    def answer() -> dict[str, Any]:
        line = from_worker.readline()
        content: dict[str, Any] = json.loads(line) if line else {"error": "it ended"}
        if "error" in content:
            raise UserError(f"--compare {name} failed: {content['error']}")
        return content

    def run() -> None:
        to_worker.write("run\n")
        to_worker.flush()
        answer()

    def close() -> None:
        to_worker.close()
        worker.kill()
        worker.wait()
        from_worker.close()
        atexit.unregister(worker.kill)

    ready = answer()
    return Subject(name, ready["env_steps"], run, ready.get("compile_seconds"), close=close)
