"""The original policies: those that ship with the robots, and those that the user has."""

from __future__ import annotations

from pathlib import Path

import envs
from lamour_jax import policies
from lamour_jax.errors import UserError
from lamour_jax.policies import PolicyHeader, brax_checkpoint
from lamour_jax.ppo.networks import Agent

_SET_DROPOUT = " --set ppo.dropout=0.1"


def names(dropout: bool = False) -> list[str]:
    """Returns the robots whose original policy ships, or the one trained with dropout."""
    return [name for name in envs.names() if _shipped_file(name, dropout).is_file()]


def file(env: str, path: str = "", dropout: bool = False) -> Path:
    """Returns where the original policy of a robot is: `path`, or the file that ships.

    Nothing is read, and no device is touched.

    Raises:
        UserError: nothing ships for this robot, or nothing is at `path`.
    """
    if path:
        if not Path(path).exists():
            raise UserError(f"policy file {path} does not exist")
        return Path(path)
    robot = envs.registry.get(env).name
    shipped = _shipped_file(env, dropout)
    if not shipped.exists():
        with_dropout, setting = (" trained with dropout", _SET_DROPOUT) if dropout else ("", "")
        raise UserError(
            f"no original policy{with_dropout} ships for {robot!r}; train one with `python -m "
            f"lamour_jax.train --stage original --env {env}{setting}` and pass it by --policy, or "
            f"--set policy=FILE"
        )
    return shipped


def load(env: str, path: str = "", dropout: bool = False) -> tuple[PolicyHeader, Agent]:
    """Reads the original policy of a robot: the one at `path`, or the one that ships.

    At `path` is a policy file, or the folder of a Brax or Playground PPO checkpoint.

    With `dropout`, it must be one that was trained with dropout.

    Raises:
        UserError: nothing ships for this robot, the file is bad, it is another robot's, or was
            trained without dropout though that is needed.
    """
    robot = envs.registry.get(env).name
    found = file(env, path, dropout)
    if found.is_dir():
        header, agent = brax_checkpoint.load(found, envs.load(env, engine="mujoco"))
    else:
        header, agent = policies.load(found)
    if header.env != robot:
        raise UserError(f"policy file {found} is for {header.env!r}, not for {robot!r}")
    if dropout and not header.dropout:
        raise UserError(
            f"policy file {found} was trained without dropout, which this method needs; train one "
            f"with `python -m lamour_jax.train --stage original --env {env}{_SET_DROPOUT}`"
        )
    return header, agent


def _shipped_file(env: str, dropout: bool) -> Path:
    return envs.registry.get(env).file("policy-dropout.npz" if dropout else "policy.npz")
