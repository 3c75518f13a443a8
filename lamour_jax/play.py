"""Watch a run's policy in MuJoCo's viewer: `python -m lamour_jax.play RUN [--start ...]`.

The policy acts live, in C MuJoCo; without a display, `--record FILE` writes a video instead.
"""

from __future__ import annotations

import copy
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import mujoco
import numpy as np
import tyro

import envs
from envs import RecoveryEnv, State
from envs.physics.interface import EngineUnavailable
from envs.pictures.render_process import beautify, camera_for
from envs.pictures.rendering import VIDEO_FORMATS, RenderingUnavailable, render_frames, write_video
from lamour_jax.config import read_config
from lamour_jax.errors import UserError
from lamour_jax.evaluate import load_run
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.networks import Agent
from lamour_jax.report import recordings
from lamour_jax.report.page import FILE as REPORT

_VIDEO_FPS = 25.0
_VIDEO_SIZE = (640, 480)


@dataclass(frozen=True)
class Arguments:
    """Watch a run's policy act, live in MuJoCo's viewer or in a video."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    start: str | None = None
    """Where episodes begin: ood, ood-noisy, ood-wide, ordinary, ...; the run's by default."""
    episode: str | None = None
    """Begin as the best, median or worst of the run's evaluation (median by default), or a seed of
    new starts."""
    record: Path | None = None
    """Write the first episode as a video (.gif or .mp4) instead of opening a window."""
    seconds: float | None = None
    """Stop after this much simulated time; by default at the time limit, in a window never."""


def play(arguments: Arguments) -> None:
    """Shows the run's policy until the window is closed, or writes the video.

    Raises:
        UserError: no such run, a wrong option, or neither a display nor a video is possible.
        EngineUnavailable: C MuJoCo cannot run here.
    """
    config = read_config(arguments.run)
    start = arguments.start or config.start
    known = list(envs.registry.get(config.env).all_starts())
    if start not in known:
        raise UserError(f"unknown --start {start!r}; known: {', '.join(known)}")
    if arguments.seconds is not None and not 0.0 < arguments.seconds < float("inf"):
        raise UserError(f"--seconds must be more than 0, not {arguments.seconds}")
    chosen, seed = _episode(arguments)
    if arguments.record is None:
        _check_display(arguments.run)
    else:
        _check_video(arguments.record)
    config, actor, agent = load_run(arguments.run)
    env = envs.load(config.env, start=start, engine="mujoco", terminate=False)
    states = _states(env, actor, agent, chosen, seed)
    if arguments.record is not None:
        _record(env, states, arguments.record, arguments.seconds)
    else:
        _show(env, states, arguments.seconds)


def _episode(arguments: Arguments) -> tuple[recordings.RecordedEpisode | None, int]:
    """The recorded episode to begin as, if one was named, and the seed of new starts."""
    name, file = arguments.episode, arguments.run / recordings.FILE
    if name is None:
        if arguments.start is not None or not file.exists():
            return None, 0
        name = "median"
    if name.isdecimal() and int(name) < 2**31:
        return None, int(name)
    if name not in recordings.CHOICES:
        raise UserError(
            f"unknown --episode {name!r}; known: {', '.join(recordings.CHOICES)}, or a seed"
        )
    if arguments.start is not None:
        raise UserError(f"--episode {name} has its own start; leave --start out, or give a seed")
    return next(found for found in recordings.load(file) if name in found.names), 0


def _check_display(run: Path) -> None:
    """Opens a window that is never seen: MuJoCo's viewer would wait for ever for one that fails.

    Raises:
        UserError: there is no display, or it cannot draw.
    """
    instead = f"open {run / REPORT} in a browser, or write a video by --record FILE.gif"
    try:
        import glfw
    except ImportError:
        raise UserError(f"MuJoCo's viewer needs the package glfw; else {instead}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glfw warns of what is said below
        try:
            window = None
            if glfw.init():
                glfw.window_hint(glfw.VISIBLE, False)
                window = glfw.create_window(64, 64, "", None, None)
        except glfw.GLFWError:
            window = None
        if not window:
            raise UserError(f"no window can be opened here (no display, or no OpenGL); {instead}")
        glfw.destroy_window(window)
        glfw.terminate()


def _check_video(file: Path) -> None:
    if file.suffix not in VIDEO_FORMATS:
        raise UserError(f"--record {file} must end in {' or '.join(VIDEO_FORMATS)}")
    if file.exists():
        raise UserError(f"--record {file} exists already; give a new file")
    if not file.parent.is_dir():
        raise UserError(f"--record {file}: the folder {file.parent} does not exist")


def _states(
    env: RecoveryEnv,
    actor: Actor,
    agent: Agent,
    first: recordings.RecordedEpisode | None,
    seed: int,
) -> Iterator[State]:
    """Endless episodes, step by step; a step with `steps` 0 begins a new one."""

    def act(agent: Agent, state: State) -> State:
        batch = jax.tree.map(lambda leaf: leaf[None], state)
        return env.step(state, actor(agent, batch).action[0])

    reset, step = jax.jit(env.reset), jax.jit(act)
    key = jax.random.key(seed)
    while True:
        key, start_key = jax.random.split(key)
        state = reset(start_key)
        if first is not None:
            state = _begin_as(env, state, first)
            first = None
        yield state
        for _ in range(env.time_limit):
            state = step(agent, state)
            yield state


def _begin_as(env: RecoveryEnv, state: State, episode: recordings.RecordedEpisode) -> State:
    if episode.qpos.shape[1:] != (env.model.nq,) or episode.qvel.shape != (env.model.nv,):
        raise UserError(f"{recordings.FILE} in the run's folder was recorded of another robot")

    def begin(qpos: jax.Array, qvel: jax.Array) -> State:
        return env.begin_at(qpos, qvel).replace(key=state.key)

    return jax.jit(begin)(episode.qpos[0], episode.qvel)


def _show(env: RecoveryEnv, states: Iterator[State], seconds: float | None) -> None:
    from mujoco import viewer

    model = copy.deepcopy(env.model)
    beautify(model)
    data = mujoco.MjData(model)
    camera = camera_for(model, data)
    _put(model, data, next(states))
    print(f"{env.name}: close the window to stop", flush=True)
    end = float("inf") if seconds is None else seconds
    shown = 0.0
    others = set(threading.enumerate())
    with viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False) as window:
        window.cam.type, window.cam.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
        window.cam.azimuth, window.cam.elevation = camera.azimuth, camera.elevation
        window.cam.distance = camera.distance
        due = time.monotonic()
        for state in states:
            if not window.is_running() or shown >= end:
                break
            with window.lock():
                _put(model, data, state)
            window.sync()
            shown += env.control_timestep
            due += env.control_timestep
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - 0.2)  # a slow machine does not hurry afterwards
    # The viewer draws on in a thread of its own, under which the window must not be taken away.
    for thread in set(threading.enumerate()) - others:
        thread.join(timeout=10.0)


def _put(model: mujoco.MjModel, data: mujoco.MjData, state: State) -> None:
    qpos = np.asarray(state.data.qpos, np.float64)
    if np.isfinite(qpos).all():
        data.qpos[:] = qpos
        data.qvel[:] = np.asarray(state.data.qvel, np.float64)
    mujoco.mj_forward(model, data)


def _record(env: RecoveryEnv, states: Iterator[State], file: Path, seconds: float | None) -> None:
    steps = env.time_limit
    if seconds is not None:
        steps = min(steps, max(1, round(seconds / env.control_timestep)))
    recorded: list[Any] = [next(states).data.qpos for _ in range(steps + 1)]
    stride = max(1, round(1.0 / (_VIDEO_FPS * env.control_timestep)))
    try:
        frames = render_frames(env.model, np.stack(recorded[::stride]), *_VIDEO_SIZE)
        write_video(frames, file, 1.0 / (stride * env.control_timestep))
    except (RenderingUnavailable, ModuleNotFoundError) as reason:
        raise UserError(f"no video: {reason}") from None
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from None
    print(f"Written: {file}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m lamour_jax.play", args=argv)
    try:
        play(arguments)
    except (UserError, EngineUnavailable, envs.ModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
