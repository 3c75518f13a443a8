"""What a run leaves to look at without a display: its start, a recovery in stills, a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from envs import RecoveryEnv
from envs.pictures.rendering import RenderingUnavailable, render_frames, video_format, write_video

START, STILLS = "start.png", "recovery.png"

_SECONDS = 10.0
_FPS = 20.0
_SIZE = (480, 360)
_STILLS = (2, 3)  # rows and columns


def render_episode(
    env: RecoveryEnv, qpos: np.ndarray, healthy: np.ndarray, path: Path, stills: bool = False
) -> str:
    """Renders the first seconds of an episode, or says in one line why that is not possible.

    Args:
        env: gives the model and the time between positions.
        qpos: positions, `(steps, nq)`.
        healthy: health at each of them, `(steps,)`.
        path: of the video, whose suffix becomes that of the best format that can be written.
        stills: write the start and a recovery in stills beside it as well.
    """
    stride = max(1, round(1.0 / (_FPS * env.control_timestep)))
    frame_rate = 1.0 / (stride * env.control_timestep)
    chosen = slice(0, round(_SECONDS / env.control_timestep) + 1, stride)
    try:
        frames = render_frames(env.model, qpos[chosen], *_SIZE)
    except RenderingUnavailable as reason:
        return f"no rendered episode: {reason}"
    path = path.with_suffix(video_format())
    write_video(frames, path, frame_rate)
    if stills:
        Image.fromarray(frames[0]).save(path.with_name(START), optimize=True)
        _stills(frames, healthy[chosen], frame_rate).save(path.with_name(STILLS), optimize=True)
    seconds = int(np.argmax(healthy)) * env.control_timestep
    when = f"healthy after {seconds:.1f} s" if healthy.any() else "never healthy"
    return f"{path.name}: the first {_SECONDS:.0f} s of an episode, {when}"


def _stills(frames: np.ndarray, healthy: np.ndarray, frame_rate: float) -> Image.Image:
    """Frames side by side, from the start to a while after the first healthy one."""
    rows, columns = _STILLS
    first = int(np.argmax(healthy)) if healthy.any() else len(frames) - 1
    last = min(len(frames) - 1, round(2 * first + 0.5 * frame_rate))
    chosen = np.rint(np.linspace(0, last, rows * columns)).astype(int)
    width, height = _SIZE[0] // 2, _SIZE[1] // 2
    sheet = Image.new("RGB", (columns * width, rows * height))
    for place, index in enumerate(chosen):
        still = Image.fromarray(frames[index]).resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(still, (place % columns * width, place // columns * height))
    return sheet
