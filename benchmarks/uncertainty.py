"""How SeRO's uncertainty changes along a recovery: what its reward has to go by.

    python -m benchmarks.uncertainty [--envs hopper,ant]

prints, for each robot, the mean uncertainty over the recoveries that ship with it, from the OOD
start to the first healthy state, and that of ordinary starts.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import jax
import numpy as np
import tyro

import envs
from lamour_jax import policies, recoveries
from lamour_jax.errors import UserError
from lamour_jax.methods.sero import uncertainty

_ORDINARY_STARTS = 64


def along_recoveries(name: str) -> tuple[np.ndarray, float]:
    """Returns the mean uncertainty at each recorded moment `(moments,)`, and in ordinary starts.

    Raises:
        UserError: there are no recordings of the robot, or no original policy with dropout.
    """
    recorded = recoveries.load(name)
    if recorded is None:
        raise UserError(f"no recoveries of {name!r} ship; known: {', '.join(recoveries.names())}")
    header, agent = policies.load_original(name, dropout=True)
    network, env = header.network(), envs.load(name, engine="mujoco")

    @jax.jit
    @jax.vmap
    def measure(qpos: jax.Array, qvel: jax.Array) -> jax.Array:
        return uncertainty(network, agent, env.observe(env.engine.init(qpos, qvel)))

    ordinary = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), _ORDINARY_STARTS)).data
    qpos, qvel = recorded
    moments = [measure(qpos[:, index], qvel[:, index]) for index in range(qpos.shape[1])]
    return np.mean(moments, axis=1), float(measure(ordinary.qpos, ordinary.qvel).mean())


@dataclass(frozen=True)
class Arguments:
    """Print SeRO's uncertainty along the recoveries that ship, and in ordinary starts."""

    envs: str = "all"
    """all, or robots: ant,hopper."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.uncertainty", args=argv)
    known = recoveries.names()
    try:
        for name in known if arguments.envs == "all" else arguments.envs.split(","):
            moments, ordinary = along_recoveries(name.strip())
            figures = " ".join(f"{value:.2f}" for value in moments)
            print(f"{name}: recovery {figures}; ordinary starts {ordinary:.2f}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
