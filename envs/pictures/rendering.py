"""Pictures and videos of a robot, without a display."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
from PIL import Image

# Both draw without a display; EGL uses a GPU where there is one.
BACKENDS = ("egl", "osmesa") if sys.platform == "linux" else ("",)

VIDEO_FORMATS = (".gif", ".mp4")


class RenderingUnavailable(RuntimeError):
    """This machine cannot draw; the message says in one line what to install."""


def render_image(
    model: mujoco.MjModel, qpos: np.ndarray, width: int = 640, height: int = 480
) -> np.ndarray:
    """Returns a picture `(height, width, 3)` uint8 of the robot at `qpos` `(nq,)`.

    Raises:
        RenderingUnavailable: no graphics library works here.
        ValueError: `qpos` has the wrong shape, or the picture has no pixels.
    """
    return render_frames(model, np.asarray(qpos)[None], width, height)[0]


def render_frames(
    model: mujoco.MjModel, qpos: np.ndarray, width: int = 640, height: int = 480
) -> np.ndarray:
    """Returns pictures `(T, height, width, 3)` uint8 of the robot along `qpos` `(T, nq)`.

    The camera follows the robot sideways and stays level. The model itself is not changed. If the
    environment variable MUJOCO_GL is set, only the graphics library that it names is tried.

    Raises:
        RenderingUnavailable: no graphics library works here.
        ValueError: `qpos` has the wrong shape, or the pictures have no pixels.
    """
    qpos = np.asarray(qpos, dtype=np.float64)
    if qpos.ndim != 2 or qpos.shape[1] != model.nq:
        raise ValueError(f"qpos has shape {qpos.shape}, not (T, {model.nq})")
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels cannot be drawn")
    chosen = os.environ.get("MUJOCO_GL")
    failures = []
    for backend in BACKENDS if chosen is None else (chosen,):
        pixels, failure = _draw(backend, (model, qpos, width, height))
        if not failure:
            return np.frombuffer(pixels, np.uint8).reshape(len(qpos), height, width, 3)
        failures.append(f"{backend or 'default'}: {failure}")
    raise RenderingUnavailable(
        "no graphics library works here; on Debian or Ubuntu: apt-get install libegl1 "
        f"libgl1-mesa-dri, or libosmesa6 ({'; '.join(failures)})"
    )


def _draw(backend: str, job: tuple[mujoco.MjModel, np.ndarray, int, int]) -> tuple[bytes, str]:
    """Returns the pixels, or why this backend could not draw them."""
    environment = os.environ | {"MUJOCO_GL": backend}
    environment.pop("PYOPENGL_PLATFORM", None)  # MuJoCo sets it to what the backend needs
    process = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("render_process.py"))],
        input=pickle.dumps(job),
        capture_output=True,
        env=environment,
        check=False,
    )
    if process.returncode == 0:
        return process.stdout, ""
    complaint = process.stderr.decode(errors="replace").strip().splitlines()
    return b"", complaint[-1] if complaint else f"stopped with status {process.returncode}"


def video_format() -> str:
    """Returns the best format that can be written here: `.mp4` with imageio-ffmpeg, or `.gif`."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        get_ffmpeg_exe()
    except (ImportError, RuntimeError):  # not installed, or without a program for this machine
        return ".gif"
    return ".mp4"


def write_video(frames: np.ndarray, path: str | Path, fps: float) -> None:
    """Writes `frames` `(T, height, width, 3)` uint8 as a `.gif`, or as an `.mp4`.

    For a video at the speed of life, render every n-th control step such that `fps` is
    1 / (n x control step); GIF viewers show at most 50 frames per second.

    Raises:
        ModuleNotFoundError: `.mp4` without the package imageio-ffmpeg.
        ValueError: another suffix, no frames, or a frame rate that is not positive.
    """
    path = Path(path)
    if len(frames) == 0 or fps <= 0:
        raise ValueError(f"a video of {len(frames)} frames at {fps} per second cannot be written")
    if path.suffix == ".gif":
        _write_gif(frames, path, fps)
    elif path.suffix == ".mp4":
        _write_mp4(frames, path, fps)
    else:
        raise ValueError(f"unknown video format {path.suffix!r}; known: {', '.join(VIDEO_FORMATS)}")


def _write_gif(frames: np.ndarray, path: Path, fps: float) -> None:
    # One palette for all frames, undithered: small, and still parts of the picture stay still.
    sample = frames[:: max(1, len(frames) // 8)]
    palette = Image.fromarray(sample.reshape(-1, *frames.shape[2:])).quantize(256)
    first, *rest = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / fps), loop=0)


def _write_mp4(frames: np.ndarray, path: Path, fps: float) -> None:
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ModuleNotFoundError(
            "writing .mp4 needs imageio-ffmpeg: pip install imageio-ffmpeg, or choose a .gif"
        )
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width = frames.shape[1:3]
    # Not by imageio_ffmpeg's own writer: it forks, which JAX's threads may not survive.
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps} -i -"
    # The format that every player reads has an even number of pixels each way.
    target = "-vf pad=ceil(iw/2)*2:ceil(ih/2)*2 -c:v libx264 -pix_fmt yuv420p -crf 20"
    command = [get_ffmpeg_exe(), "-y", "-v", "error", *source.split(), *target.split()]
    subprocess.run(
        [*command, "-movflags", "+faststart", str(path.absolute())],
        input=np.ascontiguousarray(frames).tobytes(),
        capture_output=True,
        check=True,
    )
