"""Record a finished run's recoveries: `python -m lamour_jax.recoveries RUN --out FILE`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro

import envs
from envs import RecoveryEnv, State
from lamour_jax.errors import UserError
from lamour_jax.evaluate import load_run
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.networks import Agent


@dataclass(frozen=True)
class Arguments:
    """Record how a trained robot comes back."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished recovery run."""
    out: Path
    """The .npz file to write."""
    start: str = "ood-noisy"
    """Where the episodes begin."""
    episodes: int = 16
    """How many; those that do not come back are left out."""
    states: int = 12
    """Of each recovery, at even distances in time."""
    seed: int = 0
    """Of the starts."""


def record(
    env: RecoveryEnv, controller: Actor, agent: Agent, episodes: int, states: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Records recoveries with mean actions.

    Returns:
        Positions `(recoveries, states, nq)` and velocities `(recoveries, states, nv)`.

    Raises:
        UserError: no episode came back.
    """

    def run(agent: Agent, keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def step(state: State, _: None) -> tuple[State, tuple[jax.Array, jax.Array, jax.Array]]:
            seen = state.data.qpos, state.data.qvel, state.episode.healthy
            return jax.vmap(env.step)(state, controller(agent, state).action), seen

        return jax.lax.scan(step, jax.vmap(env.reset)(keys), length=env.time_limit)[1]

    seen = jax.jit(run)(agent, jax.random.split(jax.random.key(seed), episodes))
    qpos, qvel, healthy = (np.asarray(part).swapaxes(0, 1) for part in seen)
    paths = []
    for episode in range(episodes):
        fallen = np.flatnonzero(~healthy[episode])
        if len(fallen) > 0 and fallen[-1] + 1 < env.time_limit:
            # Up to the first state after the last fallen one: from there on it stayed healthy.
            path = np.linspace(0, fallen[-1] + 1, states).round().astype(int)
            paths.append((qpos[episode, path], qvel[episode, path]))
    if not paths:
        raise UserError(f"none of {episodes} episodes of {env.name} came back")
    return np.stack([q for q, _ in paths]), np.stack([v for _, v in paths])


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m lamour_jax.recoveries", args=argv)
    try:
        if arguments.out.suffix != ".npz" or not arguments.out.parent.is_dir():
            raise UserError(f"--out {arguments.out} must be an .npz file in a folder that exists")
        for name in ("episodes", "states"):
            if (count := getattr(arguments, name)) < 2:
                raise UserError(f"--{name} must be at least 2, not {count}")
        config, controller, agent = load_run(arguments.run)
        known = envs.registry.get(config.env).all_starts()
        if arguments.start not in known:
            raise UserError(f"unknown --start {arguments.start!r}; known: {', '.join(known)}")
        env = envs.load(config.env, start=arguments.start, engine="mujoco", terminate=False)
        qpos, qvel = record(
            env, controller, agent, arguments.episodes, arguments.states, arguments.seed
        )
    except (UserError, envs.EnvironmentUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    np.savez_compressed(arguments.out, qpos=qpos.astype("f4"), qvel=qvel.astype("f4"))
    print(f"{len(qpos)} of {arguments.episodes} episodes came back; written to {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
