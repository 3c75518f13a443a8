"""Policies as small files: arrays and a JSON header in one `.npz`, nothing executable.

A robot's original policy is `policy.npz` among its own files, the one trained with dropout
`policy-dropout.npz`. How each was trained stands in its header (`command`, `env_steps`,
`ordinary_return`, ...) and in `envs/robots/README.md`.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs.mirror import Mirror
from lamour_jax.config import RunConfig, changed
from lamour_jax.errors import UserError
from lamour_jax.files import write_bytes
from lamour_jax.methods.sero import DropoutPolicy
from lamour_jax.ppo.networks import ActorCritic, Agent, PolicyNetwork

FORMAT_VERSION = 1
_HEADER = "header"


@dataclass(frozen=True)
class PolicyHeader:
    """What a policy file says of itself.

    Attributes:
        env: robot it was trained for.
        observation_size, action_size, hidden_sizes, activation: its networks' shape.
        dropout: share of hidden units that was left out while it was trained.
        output: what its mean actions pass through, `linear` or `tanh`.
        mirror: by which it treats both sides alike, if it does.
        critic_observation_size: of what its critic sees; 0 where that is what the policy sees.
        provenance: how it came to be and what it was measured at, as plain JSON.
        format_version: of this file format.
    """

    env: str
    observation_size: int
    action_size: int
    hidden_sizes: tuple[int, ...]
    activation: str
    provenance: dict[str, Any]
    dropout: float = 0.0
    output: str = "linear"
    mirror: Mirror | None = None
    critic_observation_size: int = 0
    format_version: int = FORMAT_VERSION

    def network(self) -> ActorCritic:
        """Returns the networks that the parameters belong to."""
        shape = (self.observation_size, self.action_size, self.hidden_sizes)
        layers = (*shape, self.activation, self.output)
        policy = (
            DropoutPolicy(*layers, dropout=self.dropout) if self.dropout else PolicyNetwork(*layers)
        )
        return ActorCritic(policy, self.mirror, self.critic_observation_size)

    def derived(self, provenance: dict[str, Any]) -> PolicyHeader:
        """Returns the header of a policy trained further from this one."""
        return dataclasses.replace(self, provenance=provenance)


def save(path: Path, header: PolicyHeader, agent: Agent) -> None:
    """Writes a policy file, whole or not at all; the same content gives the same bytes."""
    arrays = {_HEADER: np.array(json.dumps(dataclasses.asdict(header), indent=1))}
    for name, leaf in _named_leaves(agent).items():
        arrays[name] = np.array(jnp.asarray(leaf), order="C")
    # As `np.savez_compressed` does, but without the time of day in each entry.
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
    write_bytes(path, whole.getvalue())


def load(path: Path) -> tuple[PolicyHeader, Agent]:
    """Reads a policy file.

    Raises:
        UserError: no such file, damaged, of another format version, or not a policy.
    """
    try:
        if path.is_file() and is_pickle(path):
            raise UserError(
                f"policy file {path} is a pickle, as brax.io.model.save_params writes: loading one "
                "would run code from it. Give a checkpoint's folder instead, as "
                "brax.training.agents.ppo.checkpoint.save writes (docs/bring_your_own.md)"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = _read_header(path, json.loads(str(arrays.pop(_HEADER))))
        return header, _read_agent(header, arrays)
    except FileNotFoundError:
        raise UserError(f"policy file {path} does not exist") from None
    except _DAMAGE as error:
        raise UserError(
            f"policy file {path} is damaged or not a policy file ({type(error).__name__}: {error})"
        ) from None


# What reading a file raises that is not a policy file.
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def _read_header(path: Path, fields: Any) -> PolicyHeader:
    if not isinstance(fields, dict):
        raise ValueError("its header is not an object")
    version = fields.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"policy file {path} has format version {version}; this release reads {FORMAT_VERSION}"
        )
    fields["hidden_sizes"] = tuple(fields["hidden_sizes"])
    if fields.get("mirror") is not None:
        fields["mirror"] = Mirror.from_json(fields["mirror"])
    return PolicyHeader(**fields)


def _read_agent(header: PolicyHeader, arrays: dict[str, np.ndarray]) -> Agent:
    template = jax.eval_shape(lambda: header.network().init(jax.random.key(0), 1.0))
    leaves = []
    for name, expected in _named_leaves(template).items():
        if arrays[name].shape != expected.shape:
            raise ValueError(name)
        leaves.append(jnp.asarray(arrays[name], expected.dtype))
    agent: Agent = jax.tree.unflatten(jax.tree.structure(template), leaves)
    return agent


def with_shape_of(header: PolicyHeader, config: RunConfig) -> RunConfig:
    """Returns the settings of a run that starts from a policy: its networks are the policy's."""
    shape = {
        "hidden_sizes": header.hidden_sizes,
        "activation": header.activation,
        "dropout": header.dropout,
        "output": header.output,
        "mirror": header.mirror is not None,
    }
    return changed(config, {f"ppo.{name}": value for name, value in shape.items()})


def fresh_header(env: envs.RecoveryEnv, config: RunConfig) -> PolicyHeader:
    """Returns the header of policies for `env` that are trained from scratch.

    Raises:
        UserError: both sides are to be treated alike, and the robot does not say how.
    """
    ppo = config.ppo
    return PolicyHeader(
        env=env.name,
        observation_size=env.observation_size,
        action_size=env.action_size,
        hidden_sizes=ppo.hidden_sizes,
        activation=ppo.activation,
        dropout=ppo.dropout,
        output=ppo.output,
        mirror=mirror_of(env) if ppo.mirror else None,
        critic_observation_size=env.critic_observation_size,
        provenance={},
    )


def mirror_of(robot: envs.RecoveryEnv | type[envs.RecoveryEnv]) -> Mirror:
    """Returns what `ppo.mirror` needs to know of a robot.

    Raises:
        UserError: it does not say.
    """
    mirror = robot.mirror()
    if mirror is None:
        raise UserError(
            f"ppo.mirror: {robot.name} does not say what it looks like in a mirror "
            "(RecoveryEnv.mirror); set it to false"
        )
    return mirror


def with_dropout(header: PolicyHeader, agent: Agent, dropout: float) -> tuple[PolicyHeader, Agent]:
    """Returns a policy as one that is trained on with a share of hidden units left out."""
    header = dataclasses.replace(header, dropout=dropout)
    if not dropout:
        return header, agent.replace(auxiliary=None)
    known = agent.auxiliary or header.network().policy.statistics()
    return header, agent.replace(auxiliary=known)


def is_pickle(path: Path) -> bool:
    """Returns whether a file begins as pickles of protocol 2 and later do."""
    with path.open("rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def _named_leaves(agent: Agent) -> dict[str, Any]:
    """Returns the agent's leaves by dotted path, in the order of `jax.tree.leaves`.

    What a policy's network keeps is named by itself.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(agent)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    leaves = [leaf for _, leaf in paths]
    return {name.removeprefix("auxiliary."): leaf for name, leaf in zip(names, leaves, strict=True)}
