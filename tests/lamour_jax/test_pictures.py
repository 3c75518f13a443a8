"""Pictures of an episode, with graphics and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import envs
from envs import RecoveryEnv
from envs.pictures import rendering
from lamour_jax.report import pictures
from lamour_jax.report.pictures import render_episode


@pytest.fixture(scope="module")
def hopper() -> RecoveryEnv:
    return envs.load("hopper", engine="mujoco")


def rising(env: RecoveryEnv, steps: int = 100) -> tuple[np.ndarray, np.ndarray]:
    first, last = (np.atleast_2d(env.starts()[name].qpos)[0] for name in ("ood", "ordinary"))
    share = np.linspace(0.0, 1.0, steps)[:, None]
    return first + share * (last - first), np.arange(steps) >= steps // 2


def test_stills_and_the_best_video(
    hopper: RecoveryEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "video_format", lambda: ".gif")
    line = render_episode(hopper, *rising(hopper), tmp_path / "episode.gif", stills=True)
    if "no rendered episode" in line:
        pytest.skip(line)
    assert line == "episode.gif: the first 10 s of an episode, healthy after 0.4 s"
    assert {file.name for file in tmp_path.iterdir()} == {
        "episode.gif",
        "start.png",
        "recovery.png",
    }
    with Image.open(tmp_path / "recovery.png") as sheet:
        assert sheet.size == (720, 360)
        first, last = sheet.crop((0, 0, 240, 180)), sheet.crop((480, 180, 720, 360))
        assert first.tobytes() != last.tobytes()


def test_without_graphics_one_line_says_what_to_install(
    hopper: RecoveryEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EGL and OSMesa both fail; nothing is written, and nothing else happens."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "BACKENDS", ("no-egl", "no-osmesa"))
    line = render_episode(hopper, *rising(hopper), tmp_path / "episode.gif", stills=True)
    assert line.startswith("no rendered episode: no graphics library works here; on Debian")
    assert "\n" not in line
    assert not list(tmp_path.iterdir())
