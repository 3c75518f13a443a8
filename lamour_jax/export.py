"""Write a finished run's policies for use without this package: `python -m lamour_jax.export RUN`.

The recovered and the original policy, each deterministic and with its normaliser, as serialised
`jax.export` and as ONNX; `is_recovered`, which switches between them; the robot's model. What is
written is read again and compared with the run's own policies on random observations.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import tyro

import envs
from lamour_jax import policies
from lamour_jax.config import RunConfig, read_config
from lamour_jax.console import Console
from lamour_jax.errors import UserError
from lamour_jax.evaluate import load_program
from lamour_jax.methods import METHODS
from lamour_jax.policies import PolicyHeader, originals
from lamour_jax.ppo.acting import act
from lamour_jax.ppo.networks import Agent
from lamour_jax.run.folder import RunFolder, read_result
from lamour_jax.system import system_facts

FORMAT_VERSION = 1
TOLERANCE = 1e-5  # actions are shares of what the motors can do, -1 to 1
PLATFORMS = ("cpu", "cuda", "tpu")
_OBSERVATIONS = 4096  # compared

Function = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Arguments:
    """Write a finished run's policies for deployment, and check what was written."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    out: Path | None = None
    """New folder for the files; RUN/export by default."""


def policy_function(header: PolicyHeader, agent: Agent) -> Function:
    """Returns the deterministic policy: observations `(batch, size)` to actions in -1..1."""
    network = header.network()

    def clipped(obs: jax.Array) -> jax.Array:
        exploring = jnp.zeros(obs.shape[:1], bool)
        return jnp.clip(act(network, agent, obs, exploring).action, -1.0, 1.0)

    return clipped


def serialise(function: Function, size: int) -> bytes:
    """Returns a function of `(batch, size)` float32, for any batch, as serialised `jax.export`."""
    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, size), jnp.float32)
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(shape)
    return bytes(exported.serialize())


def random_observations(agent: Agent) -> np.ndarray:
    """Returns observations `(_OBSERVATIONS, size)` from common ones to beyond the clipping."""
    rng = np.random.default_rng(0)
    statistics = agent.observation_statistics
    mean, std = np.asarray(statistics.mean), np.asarray(statistics.std)
    spread = np.geomspace(0.3, 60.0, _OBSERVATIONS)[:, None]
    drawn = mean + std * spread * rng.normal(size=(_OBSERVATIONS, len(mean)))
    return drawn.astype(np.float32)


def export(run: Path, out: Path, console: Console) -> dict[str, Any]:
    """Writes and checks the files.

    Args:
        run: folder of a finished run.
        out: a new folder.
        console: is told what was written and how far it is from the original.

    Returns:
        The content of `export.json`.

    Raises:
        UserError: no finished run, a policy or reward that cannot be read, a folder that is not
            new, or a file that does not do what the run's policy does.
    """
    config = read_config(run)
    read_result(run)
    env = envs.load(config.env, engine="mujoco")
    program = None if config.stage == "original" else load_program(run, env)
    named = _policies(run, config)
    folder = RunFolder(out)
    onnx = None if missing_for_onnx() else _Onnx()
    differences: dict[str, float] = {}
    for name, (header, agent) in named.items():
        function, observations = policy_function(header, agent), random_observations(agent)
        expected = np.asarray(jax.jit(function)(observations))
        content = serialise(function, header.observation_size)
        (out / f"{name}.jax_export").write_bytes(content)
        again = jax.export.deserialize(bytearray(content)).call(observations)
        results = {f"{name}.jax_export": np.asarray(again)}
        if onnx is not None:
            file = out / f"{name}.onnx"
            onnx.write(file, header, agent, {"robot": env.name, "policy": name})
            results[file.name] = onnx.run(file, observations)
        differences |= {key: float(np.abs(r - expected).max()) for key, r in results.items()}
    if program is not None:
        recovered = jax.vmap(lambda state: program.is_recovered(state) == 1)
        content = serialise(recovered, env.recovery_state_size)
        (out / "is_recovered.jax_export").write_bytes(content)
    mujoco.mj_saveModel(env.model, str(out / "robot.mjb"))
    facts = {
        "format_version": FORMAT_VERSION,
        "robot": env.name,
        "observation_size": env.observation_size,
        "action_size": env.action_size,
        "recovery_state_size": env.recovery_state_size,
        "control_timestep": env.control_timestep,
        "physics_steps": round(env.control_timestep / env.model.opt.timestep),
        "onnx_opset": None if onnx is None else onnx.opset,
        "jax_export_platforms": list(PLATFORMS),
        "reward_sha256": None if program is None else program.sha256,
        "largest_difference": differences,
        "tolerance": TOLERANCE,
        "versions": system_facts()["versions"],
    }
    folder.write_json("export.json", facts)
    folder.release()
    for name, difference in differences.items():
        console.say(f"  {name}: largest difference {difference:.1e} from the run's own policy")
    wrong = [name for name, difference in differences.items() if not difference <= TOLERANCE]
    if wrong:
        raise UserError(
            f"{', '.join(wrong)}: further than {TOLERANCE:g} from the run's own policy; do not use"
        )
    return facts


def missing_for_onnx() -> list[str]:
    """Returns the packages that ONNX files need and that are not installed."""
    return [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]


class _Onnx:
    """Writes ONNX files and runs them; the packages are there."""

    def __init__(self) -> None:
        from lamour_jax import onnx_graph

        self.opset = onnx_graph.OPSET
        self._model = onnx_graph.policy_model

    def write(self, file: Path, header: PolicyHeader, agent: Agent, about: dict[str, str]) -> None:
        file.write_bytes(self._model(header, agent, about).SerializeToString())

    def run(self, file: Path, observations: np.ndarray) -> np.ndarray:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (action,) = session.run(["action"], {"observation": observations})
        return np.asarray(action)


def _policies(run: Path, config: RunConfig) -> dict[str, tuple[PolicyHeader, Agent]]:
    named = {"policy": policies.load(run / "policy.npz")}
    if config.stage == "recovery":
        needs_dropout = METHODS[config.method].needs_dropout
        named["original"] = originals.load(config.env, config.policy, needs_dropout)
    return named


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m lamour_jax.export", args=argv)
    out = arguments.out or arguments.run / "export"
    console = Console()
    try:
        with console.stage(f"Export of {arguments.run}"):
            facts = export(arguments.run, out, console)
    except (UserError, envs.EnvironmentUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if facts["onnx_opset"] is None:
        console.say(
            f"no ONNX files: {' and '.join(missing_for_onnx())} not installed; "
            "pip install 'lamour-jax[export]', then export into another --out"
        )
    console.say(f"Everything is in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
