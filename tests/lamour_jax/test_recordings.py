"""Which episodes are kept, and how the page shows them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs import RecoveryEnv
from envs.pictures.scene import body_poses
from lamour_jax.errors import UserError
from lamour_jax.report import recordings
from lamour_jax.report.replay import replay
from tests.lamour_jax.made_up_run import RETURNS, STEPS, episodes


@pytest.fixture(scope="module")
def cheetah() -> RecoveryEnv:
    return envs.load("half_cheetah", engine="mujoco")


def test_worst_median_best_and_the_original(cheetah: RecoveryEnv) -> None:
    chosen = recordings.choose(episodes(cheetah), episodes(cheetah, seed=1, moves=False))
    names = [episode.names for episode in chosen]
    assert names == [("worst",), ("median",), ("best",), ("original policy",)]
    # Not recovered, 60, 40 and 20 steps: the upper of the two in the middle.
    assert [episode.index for episode in chosen] == [2, 0, 1, 0]
    worst, _, best, original = chosen
    assert (worst.recovered, best.recovered) == (False, True)
    assert (best.steps_to_recovery, best.full_return) == (STEPS[1], RETURNS[1])
    assert not np.array_equal(original.qpos, chosen[1].qpos)


def test_equal_steps_are_told_apart_by_return(cheetah: RecoveryEnv) -> None:
    equal = episodes(cheetah).replace(recovered=np.ones(4, bool), steps_to_recovery=np.full(4, 7))
    assert [episode.index for episode in recordings.choose(equal)] == [2, 0, 1]


def test_equal_episodes_are_kept_once(cheetah: RecoveryEnv) -> None:
    all_one = episodes(cheetah)
    same = np.repeat(np.asarray(all_one.recording.qpos)[:1], 4, axis=0)
    all_one = all_one.replace(recording=all_one.recording.replace(qpos=same))
    (episode,) = recordings.choose(all_one)
    assert episode.names == ("worst", "median", "best")
    assert recordings.distinct_episodes(all_one) == 1
    assert recordings.distinct_episodes(episodes(cheetah)) == 4


def test_what_is_saved_is_read_again(cheetah: RecoveryEnv, tmp_path: Path) -> None:
    chosen = recordings.choose(episodes(cheetah))
    recordings.save(chosen, tmp_path / "episodes.npz")
    for one, other in zip(chosen, recordings.load(tmp_path / "episodes.npz"), strict=True):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"nothing of the kind"])
def test_damaged_files_get_one_line(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "episodes.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match="does not exist|is damaged"):
        recordings.load(file)


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_poses_survive_the_journey_into_the_page(cheetah: RecoveryEnv) -> None:
    """500 m away, still to a tenth of a millimetre, and as it was in each frame that is kept."""
    recorded = recordings.choose(episodes(cheetah))[0]
    sent = json.loads(json.dumps(replay(cheetah.model, cheetah.control_timestep, [recorded])))
    (episode,) = sent["episodes"]
    assert episode["timestep"] == cheetah.control_timestep  # 20 frames per second as they are
    frames, bodies = episode["frames"], 1 + max(geom["body"] for geom in sent["geoms"])
    poses = decoded(episode["poses"], "<i2").reshape(frames, bodies, 7).astype(float)
    center = decoded(episode["center"], "<f4").reshape(frames, 1, 3)
    expected = body_poses(cheetah.model, recorded.qpos)
    position = center + poses[..., :3] * episode["scale"]
    assert np.abs(position - expected.position[:, 1:]).max() < 1e-4
    assert np.abs(poses[..., 3:] / 32_767 - expected.quaternion[:, 1:]).max() < 1e-4
    assert episode["healthy"] == "".join("01"[int(entry)] for entry in recorded.healthy)


@pytest.mark.parametrize("name", envs.names())
def test_a_page_stays_small_for_every_robot(name: str) -> None:
    env = envs.load(name, engine="mujoco")
    starts = env.starts()
    pose = np.atleast_2d(starts["ood"].qpos)[0].astype(np.float32)
    length = env.episode_length + 1
    long = recordings.RecordedEpisode(
        ("median",),
        0,
        np.tile(pose, (length, 1)),
        np.zeros(length, bool),
        np.zeros(env.model.nv, np.float32),
        False,
        length,
        0.0,
    )
    sent: dict[str, Any] = replay(env.model, env.control_timestep, [long] * 4)
    assert len(json.dumps(sent)) < 2_000_000
    assert sent["floor"] == 0.0
    assert all(geom["color"][3] > 0 for geom in sent["geoms"])
