"""Checkpoints of a whole training state, by orbax: in the background, whole or not at all.

Beside the state each holds what it belongs to: settings, reward code, the policy that training
began from. Nothing in it is code that anyone runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from envs import RecoveryEnv
from lamour_jax.config import RunConfig, differences
from lamour_jax.distributed import from_main, is_main, on_any
from lamour_jax.errors import UserError
from lamour_jax.placement import whole
from lamour_jax.ppo.learner import TrainState

# Of a checkpoint's content.
FORMAT_VERSION = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Identity:
    """What a training must have in common with its checkpoints to go on from them.

    Attributes:
        config: its settings.
        reward: its reward code, empty without any.
        policy: the digest of the policy that it began from, empty without one.
        robot: the digest of the robot's file and compiled model (see `robot_digest`).
    """

    config: RunConfig
    reward: str = ""
    policy: str = ""
    robot: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_plain(),
            "reward": self.reward,
            "reward_sha256": hashlib.sha256(self.reward.encode()).hexdigest(),
            "policy": self.policy,
            "robot": self.robot,
        }


class Damaged(Exception):
    """A checkpoint is not what was written."""


class Checkpoints:
    """The checkpoints of one run: the latest few, and that of its best evaluation."""

    def __init__(self, folder: Path, identity: Identity, say: Say):
        """Opens `folder`, creating it if need be; nothing in it is changed.

        Args:
            folder: of the checkpoints.
            identity: what they are of.
            say: is told in a line each what was left out.
        """
        # It reports what it raises as well, with a traceback.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder = folder
        self._identity = identity
        self._say = say
        self._preserve = _LatestAndBest(identity.config.checkpoints.keep)
        options = ocp.CheckpointManagerOptions(create=True, preservation_policy=self._preserve)
        with self._told():
            self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    @property
    def steps(self) -> set[int]:
        """The environment steps after which there is a checkpoint."""
        return set(self._manager.all_steps())

    def save(self, env_steps: int, state: TrainState, best: int | None = None) -> None:
        """Writes `state` in the background.

        Args:
            env_steps: name the checkpoint.
            state: may be overwritten as soon as this returns.
            best: environment steps of the best evaluation until now, whose checkpoint is kept.

        Raises:
            UserError: this one, or the one before, cannot be written.
        """
        self._preserve.best = best
        stored = _stored(state)
        about = {**self._identity.to_json(), "env_steps": env_steps, "sha256": digest(stored)}
        with self._told():
            self._manager.save(
                env_steps,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(stored), about=ocp.args.JsonSave(about)
                ),
            )

    def restore(self, env_steps: int, template: TrainState) -> TrainState:
        """Returns the state that was saved after `env_steps`; `template` has its shape.

        Raises:
            Damaged: it is not what was written.
            UserError: it is of another run.
        """
        try:
            about = self._manager.restore(
                env_steps, args=ocp.args.Composite(about=ocp.args.JsonRestore())
            )["about"]
        except Exception as error:  # orbax raises whatever its storage and its formats do
            raise Damaged(_reason(error)) from None
        self._check_same(about)
        stored = _stored(template)
        try:
            restored = self._manager.restore(
                env_steps, args=ocp.args.Composite(state=ocp.args.StandardRestore(stored))
            )["state"]
        except Exception as error:
            raise Damaged(_reason(error)) from None
        if digest(restored) != about.get("sha256"):
            raise Damaged("its content is not what was written")
        return _unstored(restored, template)

    def _check_same(self, about: dict[str, Any]) -> None:
        mine, found = self._identity.to_json(), []
        version = about.get("format_version")
        if version != FORMAT_VERSION:
            found = [f"their format version is {version}; this release reads {FORMAT_VERSION}"]
        elif changed := differences(about["config"], mine["config"]):
            found = [*changed[:3], *(["..."] if changed[3:] else [])]
        elif about["reward_sha256"] != mine["reward_sha256"]:
            found = [
                f"reward.py was changed (sha256 {about['reward_sha256'][:12]} there, "
                f"{mine['reward_sha256'][:12]} here)"
            ]
        elif about["policy"] != mine["policy"]:
            found = ["they began from another original policy (--policy)"]
        elif about["robot"] != mine["robot"]:
            found = ["the robot was changed: its file, or what its model is compiled to"]
        if found:
            raise UserError(
                f"the checkpoints in {self.folder} are of another training: {'; '.join(found)}. "
                "Put it back, or give --out a new folder (nothing was changed)"
            )

    def forget_after(self, env_steps: int) -> None:
        """Deletes what is newer than `env_steps`: training will come by there again."""
        with self._told():
            for newer in self.steps:
                if newer > env_steps:
                    self._manager.delete(newer)
            for half_written in self._half_written() if is_main() else ():
                shutil.rmtree(half_written, ignore_errors=True)
                self._say("a checkpoint was being written when the run was interrupted: left out")

    def _half_written(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if ".orbax-checkpoint-tmp" in path.name]

    def what_is_left(self) -> str:
        """Returns in words which checkpoint a training that has to end leaves behind."""
        self.wait()
        good = max(self.steps, default=None)
        if good is None:
            return "there is no checkpoint yet"
        return f"the last good checkpoint, after {good:,} steps, is in {self.folder}"

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            UserError: something cannot be.
        """
        with self._told():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Lets go of the folder; what is being written is finished, or else said before."""
        try:
            self._manager.close()
        except Exception as error:
            self._say(f"the last checkpoint in {self.folder} was not written: {_reason(error)}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # orbax raises whatever its storage does
            raise UserError(
                f"checkpoints cannot be written to {self.folder}: {_reason(error)}; those before "
                "are as they were"
            ) from None


def restore_newest(
    kept: Sequence[Checkpoints], templates: Sequence[TrainState], measured: set[int], say: Say
) -> tuple[int, list[TrainState]] | None:
    """Returns environment steps and states of the newest checkpoints that are good in all runs.

    Newer ones are deleted.

    Args:
        kept: the checkpoints of each run.
        templates: have the shape of their states.
        measured: environment steps whose metrics are there; only these can be gone on from.
        say: is told which were passed over, and why.

    Returns:
        None if a run has none yet.

    Raises:
        UserError: there are checkpoints, and none is good; or they are of another run.
    """
    # All processes try the same ones, and go on from one that is good for all.
    seen = json.loads(from_main(json.dumps([sorted(checkpoints.steps) for checkpoints in kept])))
    there = [set(steps) for steps in seen]
    for steps in sorted(set.intersection(*there) & measured, reverse=True):
        states, damage = [], ""
        try:
            states = [
                checkpoints.restore(steps, template)
                for checkpoints, template in zip(kept, templates, strict=True)
            ]
        except Damaged as error:
            damage = str(error)
        if any(on_any(bool(damage))):
            damage = damage or "for another process"
            say(f"the checkpoint after {steps:,} steps is damaged ({damage}): passed over")
            continue
        for checkpoints in kept:
            checkpoints.forget_after(steps)
        return steps, states
    if any(there):
        folders = ", ".join(str(checkpoints.folder) for checkpoints in kept)
        raise UserError(
            f"none of the checkpoints in {folders} can be gone on from; give --out a new folder"
        )
    for checkpoints in kept:
        checkpoints.forget_after(0)
    return None


def digest(tree: Any) -> str:
    """Returns the SHA-256 of a pytree's shapes and numbers."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = whole(leaf) if isinstance(leaf, jax.Array) else np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def robot_digest(env: RecoveryEnv) -> str:
    """Returns the SHA-256 of what a robot is: the file of its class, and its compiled model.

    Numbers count to six digits: the same model may be compiled with other roundings elsewhere.
    """
    found = hashlib.sha256()
    with contextlib.suppress(OSError, TypeError):  # a class that no file defines
        found.update(Path(inspect.getfile(type(env))).read_bytes())
    for name in sorted(dir(env.model)):
        value = None if name.startswith("_") else getattr(env.model, name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            digits = ",".join(f"{number:.6g}" for number in value.ravel().tolist())
            found.update(f"{name}:{digits};".encode())
    return found.hexdigest()


class _LatestAndBest:
    """Decides which checkpoints orbax keeps (a `PreservationPolicy`)."""

    def __init__(self, latest: int):
        self._latest = latest
        self.best: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        latest = {checkpoint.step for checkpoint in checkpoints[-self._latest :]}
        return [checkpoint.step in latest | {self.best} for checkpoint in checkpoints]


def _reason(error: Exception) -> str:
    """Returns what went wrong in one line: the storage wraps the system's words in its own."""
    text = str(error)
    for known in ("No space left on device", "Read-only file system", "Permission denied"):
        if known in text:
            return known
    lines = text.strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else f"{lines[0][:157]}..."


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _stored(tree: Any) -> Any:
    """Returns the tree as orbax stores it: random keys as integers, no arrays of size 0."""

    def stored(leaf: Any) -> Any:
        if _is_key(leaf):
            return jax.random.key_data(leaf)
        return leaf if leaf.size else None

    return jax.tree.map(stored, tree)


def _unstored(tree: Any, template: Any) -> Any:
    def restore(like: Any, leaf: Any) -> Any:
        if leaf is None:
            return like
        return jax.random.wrap_key_data(leaf) if _is_key(like) else leaf

    return jax.tree.map(restore, template, tree)
