"""Pictures and videos."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from envs import RecoveryEnv, registry
from envs.pictures import rendering
from envs.pictures.rendering import RenderingUnavailable, render_frames, render_image, write_video

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def walker() -> RecoveryEnv:
    return registry.load("walker2d", engine="mujoco")


def drawn(robot: RecoveryEnv | type[RecoveryEnv], *starts: str, shift: float = 0.0) -> np.ndarray:
    """Returns small pictures of a robot's starts, moved along x; skips where none can be drawn."""
    qpos = np.stack([robot.starts()[start].qpos for start in starts]).astype(float)
    qpos[:, 0] += shift
    try:
        model = robot.make_model() if isinstance(robot, type) else robot.model
        return render_frames(model, qpos, WIDTH, HEIGHT)
    except RenderingUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.mark.parametrize("name", registry.names())
def test_shows_each_robot_on_the_floor(name: str) -> None:
    frames = drawn(registry.get(name), "ordinary", "ood")
    assert frames.shape == (2, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    for frame in frames.astype(int):
        colorful = np.ptp(frame, axis=2) > 50  # sky and floor are nearly grey, robots are not
        assert 0.005 < colorful.mean() < 0.5
        edge = np.concatenate([colorful[0], colorful[-1], colorful[:, 0], colorful[:, -1]])
        assert not edge.any(), "the robot is cut off"
    assert np.abs(frames[0].astype(int) - frames[1]).max() > 50


def test_one_picture(walker: RecoveryEnv) -> None:
    expected = drawn(walker, "ood")[0]
    picture = render_image(walker.model, walker.starts()["ood"].qpos, WIDTH, HEIGHT)
    np.testing.assert_array_equal(picture, expected)


def test_camera_follows_and_the_floor_has_no_end(walker: RecoveryEnv) -> None:
    here, far = drawn(walker, "ordinary"), drawn(walker, "ordinary", shift=1000.0)
    assert np.abs(here.astype(int) - far).mean() < 3.0


def test_leaves_the_model_alone(walker: RecoveryEnv) -> None:
    fields = ("geom_size", "geom_rgba", "geom_matid", "tex_data", "light_dir")
    before = {field: getattr(walker.model, field).copy() for field in fields}
    drawn(walker, "ordinary")
    for field, value in before.items():
        np.testing.assert_array_equal(getattr(walker.model, field), value, err_msg=field)


def test_says_in_one_line_what_to_install(
    walker: RecoveryEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "BACKENDS", ("first", "second"))
    with pytest.raises(RenderingUnavailable) as raised:
        render_image(walker.model, walker.starts()["ood"].qpos)
    message = str(raised.value)
    assert "\n" not in message
    for part in ("apt-get install libegl1", "libosmesa6", "first: ", "second: "):
        assert part in message


def test_refuses_wrong_shapes(walker: RecoveryEnv) -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 5\), not \(T, 9\)"):
        render_frames(walker.model, np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"not \(T, 9\)"):
        render_image(walker.model, np.zeros((2, 9)))
    with pytest.raises(ValueError, match="0 x 480 pixels"):
        render_image(walker.model, np.zeros(9), width=0)


@pytest.fixture
def flashes() -> np.ndarray:
    """Ten frames of one colour each."""
    shades = np.linspace(0, 250, 10).astype(np.uint8)
    return np.tile(shades[:, None, None, None], (1, HEIGHT, WIDTH, 3))


def test_gif(flashes: np.ndarray, tmp_path: Path) -> None:
    write_video(flashes, tmp_path / "video.gif", fps=20)
    with Image.open(tmp_path / "video.gif") as video:
        assert (video.n_frames, video.size) == (10, (WIDTH, HEIGHT))
        assert video.info["duration"] == 50
        assert video.info["loop"] == 0
        for i, frame in enumerate(flashes):
            video.seek(i)
            assert np.abs(np.asarray(video.convert("RGB")).astype(int) - frame).max() <= 4


@pytest.fixture
def ffmpeg(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, told not to fork when it reads: JAX's threads may not survive that."""
    monkeypatch.setenv("IMAGEIO_FFMPEG_NO_PREVENT_SIGINT", "1")
    return pytest.importorskip("imageio_ffmpeg")


def test_mp4(flashes: np.ndarray, tmp_path: Path, ffmpeg: Any) -> None:
    write_video(flashes, tmp_path / "video.mp4", fps=20)
    about = next(ffmpeg.read_frames(str(tmp_path / "video.mp4")))
    assert (about["size"], about["fps"]) == ((WIDTH, HEIGHT), 20)


def test_mp4_of_odd_sizes(flashes: np.ndarray, tmp_path: Path, ffmpeg: Any) -> None:
    write_video(flashes[:, 1:, 1:], tmp_path / "video.mp4", fps=20)
    about = next(ffmpeg.read_frames(str(tmp_path / "video.mp4")))
    assert about["size"] == (WIDTH, HEIGHT)


def test_best_format(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.util.find_spec("imageio_ffmpeg") is not None
    assert rendering.video_format() == (".mp4" if installed else ".gif")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # imports fail
    assert rendering.video_format() == ".gif"


def test_mp4_says_what_to_install(
    flashes: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install imageio-ffmpeg"):
        write_video(flashes, tmp_path / "video.mp4", fps=20)


def test_refuses_videos_that_cannot_be(flashes: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'\.avi'; known: \.gif, \.mp4"):
        write_video(flashes, tmp_path / "video.avi", fps=20)
    with pytest.raises(ValueError, match="0 frames"):
        write_video(flashes[:0], tmp_path / "video.gif", fps=20)
    with pytest.raises(ValueError, match="at 0 per second"):
        write_video(flashes, tmp_path / "video.gif", fps=0)
