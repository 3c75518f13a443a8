"""Recorded recoveries: what ships, and recording one's own."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import envs
from lamour_jax.errors import UserError
from lamour_jax.policies import originals
from lamour_jax.ppo.acting import Actor
from lamour_jax.recoveries import main, record
from lamour_jax.reward_task import recorded_recoveries


@pytest.mark.parametrize("name", envs.names())
def test_they_lead_from_the_ground_to_health(name: str) -> None:
    env = envs.load(name, start="ood", engine="mujoco")
    found = recorded_recoveries(env)
    assert found is not None
    qpos, qvel = found
    assert qpos.shape == (len(qpos), 12, env.model.nq)
    assert qvel.shape == (len(qpos), 12, env.model.nv)
    healthy = jax.vmap(jax.vmap(lambda q, v: env.is_healthy(env.engine.init(q, v))))(qpos, qvel)
    assert len(qpos) >= 8
    assert not healthy[:, 0].any()
    assert healthy[:, -1].all()


def test_only_what_comes_back_is_recorded() -> None:
    header, agent = originals.load("hopper")
    fallen = envs.load("hopper", start="ood", engine="mujoco", terminate=False, episode_length=8)
    with pytest.raises(UserError, match="none of 2 episodes of hopper came back"):
        record(fallen, Actor(header.network()), agent, episodes=2, states=4, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "recoveries.json"], "must be an .npz file"),
        (["--out", "no/where.npz"], "in a folder that exists"),
        (["--out", "a.npz", "--states", "1"], "--states must be at least 2, not 1"),
        (["--out", "a.npz"], "no run in"),
    ],
)
def test_bad_input_is_one_clear_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ") and message in said and "\n" not in said


def test_the_files_are_plain_arrays() -> None:
    file = envs.registry.get("hopper").file("recoveries.npz")
    with np.load(file, allow_pickle=False) as arrays:
        assert {name: arrays[name].dtype for name in arrays} == {"qpos": "f4", "qvel": "f4"}
