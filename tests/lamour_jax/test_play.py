"""Watching a run's policy: a video, a window, or a line that says why neither."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3
import numpy as np
import pytest

from envs.pictures import rendering
from lamour_jax.play import main
from tests.lamour_jax import made_up_run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_run.write(tmp_path_factory.mktemp("play") / "run")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--start", "moon"], "unknown --start 'moon'; known: ordinary, perturbed, ood"),
        (["--episode", "bets"], "unknown --episode 'bets'; known: worst, median, best, or a seed"),
        (["--episode", "best", "--start", "ood"], "--episode best has its own start"),
        (["--seconds", "0"], "--seconds must be more than 0"),
        (["--record", "video.avi"], "must end in .gif or .mp4"),
        (["--record", "no/such/folder/video.gif"], "the folder no/such/folder does not exist"),
        ([], "no window can be opened here"),
    ],
)
def test_mistakes_get_one_line(
    run: Path,
    options: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main([str(run), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert complaint in line
    if not options:
        assert f"open {run / 'report.html'} in a browser" in line


def test_no_run_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing"), "--record", str(tmp_path / "a.gif")]) == 2
    assert "no run in" in capsys.readouterr().err


def test_record_begins_as_the_episode_began(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "worst.gif"
    status = main([str(run), "--episode", "worst", "--record", str(file), "--seconds", "1"])
    if status == 2:
        pytest.skip("nothing can be drawn here")
    frames = imageio.v3.imread(file)
    assert len(frames) == 21  # the start, and 20 steps of 0.05 s
    assert (frames[0] != frames[-1]).any()
    assert main([str(run), "--record", str(file)]) == 2  # nothing is overwritten


def test_record_without_graphics(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "BACKENDS", ("none",))
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    file = tmp_path / "video.gif"
    assert main([str(run), "--record", str(file), "--seconds", "0.1", "--episode", "5"]) == 2
    assert "error: no video: no graphics library works here" in capsys.readouterr().err
    assert not file.exists()


def test_a_window_shows_the_policy_live(run: Path, tmp_path: Path) -> None:
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        pytest.skip("needs Xvfb (Debian: apt-get install xvfb)")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        [xvfb, "-displayfd", str(writer), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(writer)
        with os.fdopen(reader) as answer:
            display = f":{answer.readline().strip()}"
        environment = os.environ | {"DISPLAY": display, "PYTHONPATH": str(REPOSITORY)}
        environment.pop("MUJOCO_GL", None)
        player = subprocess.Popen(
            [sys.executable, "-m", "lamour_jax.play", str(run), "--seconds", "6"],
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        pictures = []
        while player.poll() is None:
            time.sleep(0.3)
            pictures.append(_screen(display))
        output, errors = player.communicate()
    finally:
        server.terminate()
        server.wait()
    if "no window can be opened here" in errors:
        pytest.skip("Xvfb has no OpenGL here")
    assert player.returncode == 0, errors
    assert output == "half_cheetah: close the window to stop\n"
    seen = {picture.tobytes() for picture in pictures if picture is not None and picture.any()}
    assert len(seen) > 2, "nothing moves"


def _screen(display: str) -> np.ndarray | None:
    from PIL import ImageGrab

    with contextlib.suppress(OSError):  # not yet, or no longer
        return np.asarray(ImageGrab.grab(xdisplay=display))
    return None
