"""Policy files: what is saved comes back bit by bit; nothing else is accepted or executed."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.mirror import Mirror, Reflection
from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.policies import PolicyHeader, originals
from lamour_jax.ppo.acting import Actor
from lamour_jax.run.evaluation import Evaluator

HEADER = PolicyHeader(
    env="hopper",
    observation_size=11,
    action_size=3,
    hidden_sizes=(8, 4),
    activation="elu",
    provenance={"command": "by hand", "ordinary_return": 12.5},
)
MIRROR = Mirror(
    observation=Reflection.by_name(
        [f"left_{i}" for i in range(5)] + [f"right_{i}" for i in range(5)] + ["y"], ["y", "2"]
    ),
    action=Reflection.by_name(["turn", "left_knee", "right_knee"], ["turn"], {"turn": 0.25}),
)
AGENT = HEADER.network().init(jax.random.key(3), 0.4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "policy.npz"
    policies.save(file, HEADER, AGENT)
    return file


def rewrite(path: Path, **changes: Any) -> None:
    """Replaces arrays of a policy file; None removes one."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(path, **kept)


def header_with(**changes: Any) -> np.ndarray:
    fields = {
        "env": "hopper",
        "observation_size": 11,
        "action_size": 3,
        "hidden_sizes": [8, 4],
        "activation": "elu",
        "provenance": {},
        "format_version": policies.FORMAT_VERSION,
    }
    return np.array(json.dumps(fields | changes))


def test_what_is_saved_comes_back(path: Path) -> None:
    header, agent = policies.load(path)
    assert header == HEADER
    assert jax.tree.structure(agent) == jax.tree.structure(AGENT)
    assert jax.tree.all(jax.tree.map(np.array_equal, agent, AGENT))
    obs = jnp.linspace(-1.0, 1.0, 11)
    network, restored = HEADER.network(), header.network()
    np.testing.assert_array_equal(
        restored.mean(agent.params, restored.normalize(agent, obs)),
        network.mean(AGENT.params, network.normalize(AGENT, obs)),
    )


def test_a_policy_that_is_alike_on_both_sides_stays_so(tmp_path: Path) -> None:
    mirror = MIRROR
    saved = dataclasses.replace(HEADER, mirror=mirror)
    agent = saved.network().init(jax.random.key(3), 0.4)
    policies.save(tmp_path / "policy.npz", saved, agent)
    header, agent = policies.load(tmp_path / "policy.npz")
    assert header == saved and policies.with_shape_of(header, RunConfig()).ppo.mirror
    obs = jnp.linspace(-1.0, 1.0, 11)
    here, there = (
        header.network().mean(agent.params, seen) for seen in (obs, mirror.observation(obs))
    )
    np.testing.assert_allclose(there, mirror.action(here), atol=1e-7)
    assert np.abs(here).max() > 1e-3


def test_same_policy_same_bytes(path: Path, tmp_path: Path) -> None:
    policies.save(tmp_path / "again.npz", *policies.load(path))
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_a_run_takes_over_the_policys_shape(path: Path) -> None:
    header, _ = policies.load(path)
    config = policies.with_shape_of(header, RunConfig())
    assert (config.ppo.hidden_sizes, config.ppo.activation) == ((8, 4), "elu")


def test_policies_that_ship() -> None:
    assert originals.names() == originals.names(dropout=True) == envs.names()
    for name, dropout in itertools.product(envs.names(), (False, True)):
        env = envs.load(name, engine="mujoco")
        header, agent = originals.load(name, dropout=dropout)
        assert (header.observation_size, header.action_size) == (
            env.observation_size,
            env.action_size,
        )
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(agent))
        assert header.provenance, f"{name}.npz does not say where it comes from"


# The least that they earn in their first 100 steps, on average: three quarters of what they did
# when they were put here. Standing still is worth 100 at most.
LEAST_RETURN = {
    "ant": 420,
    "half_cheetah": 500,
    "hopper": 168,
    "humanoid": 32,
    "push_chair": 190,
    "walker2d": 115,
}


@pytest.mark.parametrize("name", originals.names())
def test_policies_that_ship_still_know_their_robots(name: str) -> None:
    env = envs.load(name, engine="mujoco", terminate=False, episode_length=100)
    header, agent = originals.load(name)
    measured = Evaluator(Actor(header.network()), episodes=64)(env, agent, 0).summary()
    assert measured["recovery_rate_strict"] >= 0.8, "it falls"
    assert measured["return"] >= LEAST_RETURN[name]
    if env.has_goal:
        assert measured["success_rate"] >= 0.7


def refused(path: Path) -> str:
    """Returns the message with which `path` is refused, which must be a single line."""
    with pytest.raises(UserError) as error:
        policies.load(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nothing.npz")


def test_folder(tmp_path: Path) -> None:
    assert "not a policy file" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"reward = 1\n", b"PK\x03\x04 not a zip archive"])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "policy.npz"
    file.write_bytes(content)
    assert "damaged or not a policy file" in refused(file)


def test_plain_array(tmp_path: Path) -> None:
    np.save(tmp_path / "policy.npy", np.zeros(3))
    assert "damaged or not a policy file" in refused(tmp_path / "policy.npy")


class Trap:
    """Would write a file if it were ever unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_pickles_are_refused_and_never_run(path: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    raw = tmp_path / "raw.npz"
    raw.write_bytes(pickle.dumps(Trap(sprung)))
    refused(raw)
    for name in ("header", "params.log_std"):
        policies.save(path, HEADER, AGENT)
        rewrite(path, **{name: np.array([Trap(sprung)], dtype=object)})
        refused(path)
    assert not sprung.exists()


def test_every_truncation_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        assert "damaged or not a policy file" in refused(path)


def test_flipped_bits_are_refused_or_harmless(path: Path) -> None:
    content = path.read_bytes()
    for position in range(0, len(content), 41):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            _, agent = policies.load(path)
        except UserError:
            continue
        # What is still accepted was hit where it carries no content, such as in a date.
        assert jax.tree.all(jax.tree.map(np.array_equal, agent, AGENT)), position


@pytest.mark.parametrize(
    "header",
    [
        np.array("not JSON"),
        np.array("[]"),
        np.array("null"),
        np.zeros(3),
        header_with(hidden_sizes=None),
        header_with(hidden_sizes=[8, "four"]),
        header_with(activation="sigmoid"),
        header_with(observation_size=12),
        header_with(hidden_sizes=[8, 5]),
        header_with(colour="red"),
        header_with(mirror="red"),
        header_with(mirror={"observation": {"index": [0]}}),
        header_with(mirror=dataclasses.asdict(MIRROR), action_size=4),
        None,
    ],
    ids=lambda header: str(header)[:30],
)
def test_bad_headers_are_refused(path: Path, header: np.ndarray | None) -> None:
    rewrite(path, header=header)
    assert "damaged or not a policy file" in refused(path)


def test_missing_array_is_named(path: Path) -> None:
    rewrite(path, **{"params.log_std": None})
    assert "params.log_std" in refused(path)


def test_other_format_version_is_named(path: Path) -> None:
    rewrite(path, header=header_with(format_version=99))
    assert "format version 99; this release reads 1" in refused(path)


def test_archive_of_other_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "policy.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "damaged or not a policy file" in refused(tmp_path / "policy.npz")


def test_policy_of_another_robot(path: Path) -> None:
    with pytest.raises(UserError, match="is for 'hopper', not for 'ant'"):
        originals.load("ant", str(path))


def test_robot_without_a_policy_is_told_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(originals, "_shipped_file", lambda env, dropout: tmp_path / "none")
    with pytest.raises(UserError, match="no original policy ships for 'ant'") as raised:
        originals.load("ant")
    assert "`python -m lamour_jax.train --stage original --env ant`" in str(raised.value)
