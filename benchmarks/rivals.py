"""What others run on the same robot: Brax's PPO and EnvPool, each in a process of its own.

    python -m benchmarks.rivals        # once: makes the Python environment that they need

Brax 0.14.2, the newest, calls a function that JAX 0.10 has removed, so its PPO runs on the newest
JAX that still has it. Versions are pinned: a comparison means little if the rival drifts.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.subjects import Subject, Workload, mjx_steps
from envs.physics.mujoco_engine import available_cores
from envs.physics.xla_threads import environment_of_others
from lamour_jax.errors import UserError

PACKAGES = (
    "jax==0.9.2",
    "brax==0.14.2",
    "flax==0.12.6",
    "mujoco==4.0.0",
    "mujoco-mjx==3.17.0",
    "gymnasium==1.4.0",
    "dm-control==1.0.50",
)
# For --compare envpool; it may not install everywhere, and nothing else needs it.
OPTIONAL_PACKAGES = ("envpool==1.2.5",)
_ROOT = Path(__file__).parents[1]


def folder() -> Path:
    """Returns where the environment is: `$LAMOUR_COMPARE_VENV`, or `.venv-compare` in here."""
    given = os.environ.get("LAMOUR_COMPARE_VENV")
    return Path(given) if given else _ROOT / ".venv-compare"


def python() -> Path:
    """Returns the environment's interpreter.

    Raises:
        UserError: it has not been made yet; the message says how to.
    """
    interpreter = folder() / "bin" / "python"
    if not interpreter.exists():
        raise UserError(
            "comparing with brax or envpool needs an environment of its own (Brax's PPO does not "
            "run on this JAX); make it by: python -m benchmarks.rivals"
        )
    return interpreter


def make() -> list[str]:
    """Makes the environment, or completes it; returns the optional packages that did not install.

    Raises:
        UserError: it cannot be made.
    """
    interpreter = folder() / "bin" / "python"
    install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        if not interpreter.exists():
            subprocess.run([sys.executable, "-m", "venv", folder()], check=True)
        subprocess.run([*install, *PACKAGES], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"the comparison environment cannot be made: {error}") from None
    return [
        package
        for package in OPTIONAL_PACKAGES
        if subprocess.run([*install, package], check=False).returncode
    ]


def brax_ppo(workload: Workload) -> Subject:
    """Brax's PPO over MJX on the same environment, with our sizes of networks and batches.

    Raises:
        UserError: the comparison environment is missing, or the rival does not run.
    """
    ppo = workload.config.ppo
    return _remote(
        "brax",
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
    """EnvPool's environment of the same robot (Gymnasium's model and task), on all cores.

    Raises:
        UserError: it has no such robot, or its package is not there.
    """
    ppo = workload.config.ppo
    words = workload.env.name.split("_")
    return _remote(
        "envpool",
        # As Gymnasium names its tasks: HalfCheetah-v5.
        envpool_name="".join(word[:1].upper() + word[1:] for word in words) + "-v5",
        num_envs=ppo.num_envs,
        unroll_length=ppo.unroll_length,
        threads=available_cores(),
    )


def _remote(name: str, **settings: Any) -> Subject:
    """Starts a rival and waits until it is ready; it idles between measurements."""
    described = json.dumps({"rival": name, **settings})
    worker = subprocess.Popen(
        [python(), "-m", "benchmarks.rival_worker", described],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment_of_others() | {"PYTHONPATH": str(_ROOT)},
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


def main() -> int:
    """Makes the environment; returns the exit status."""
    summary = "Make the Python environment in which Brax's PPO and EnvPool run."
    argparse.ArgumentParser("python -m benchmarks.rivals", description=summary).parse_args()
    print(f"Installing {', '.join(PACKAGES + OPTIONAL_PACKAGES)} into {folder()} ...", flush=True)
    try:
        missing = make()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for package in missing:
        print(f"{package} did not install here: --compare envpool will not run")
    print(f"Ready: {folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
