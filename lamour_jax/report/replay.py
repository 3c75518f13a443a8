"""What the 3-D replay of a report shows, small enough to travel inside the page."""

from __future__ import annotations

import base64
from typing import Any

import mujoco
import numpy as np

from envs.pictures.render_process import reach
from envs.pictures.scene import BodyPoses, Geom, body_poses, visible_geoms
from lamour_jax.report.recordings import RecordedEpisode

_FRAMES_PER_SECOND = 25.0  # the page interpolates between them
_MOST_FRAMES = 1_200  # of one episode
_INTEGERS = 32_767


def replay(
    model: mujoco.MjModel, control_timestep: float, episodes: list[RecordedEpisode]
) -> dict[str, Any]:
    """Returns geoms and poses as JSON that the page's viewer (`web/replay.js`) reads.

    Each frame has the centre of mass as float32, and per body position (from there) and orientation
    as 16-bit integers: a tenth of a millimetre for a robot whose limbs reach 3 m.

    Args:
        model: of the robot.
        control_timestep: seconds between recorded positions.
        episodes: to show.
    """
    geoms = visible_geoms(model)
    bodies = sorted({geom.body for geom in geoms if geom.kind != "plane"})
    return {
        "radius": reach(model, mujoco.MjData(model)),
        "floor": _floor(model, geoms),
        "geoms": [_geom(geom, bodies) for geom in geoms if geom.kind != "plane"],
        "episodes": [_episode(model, control_timestep, bodies, episode) for episode in episodes],
    }


def _floor(model: mujoco.MjModel, geoms: list[Geom]) -> float | None:
    """The height of the level floor, if there is one."""
    heights = [geom.position[2] for geom in geoms if geom.kind == "plane" and geom.body == 0]
    return float(min(heights)) if heights else None


def _geom(geom: Geom, bodies: list[int]) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "kind": geom.kind,
        "body": bodies.index(geom.body),
        "size": _rounded(geom.size),
        "position": _rounded(geom.position),
        "quaternion": _rounded(geom.quaternion),
        "color": _rounded(geom.color),
    }
    if len(geom.faces):
        shape["vertices"] = _encoded(geom.vertices, "<f4")
        shape["faces"] = _encoded(geom.faces, "<u4")
    return shape


def _episode(
    model: mujoco.MjModel, control_timestep: float, bodies: list[int], episode: RecordedEpisode
) -> dict[str, Any]:
    count = len(episode.qpos)
    stride = max(1, round(1.0 / (_FRAMES_PER_SECOND * control_timestep)), -(-count // _MOST_FRAMES))
    poses = body_poses(model, episode.qpos[::stride])
    position, scale = _relative(poses, bodies)
    quaternion = np.rint(_INTEGERS * poses.quaternion[:, bodies])
    return {
        "names": list(episode.names),
        "recovered": episode.recovered,
        "recoveryTime": episode.steps_to_recovery * control_timestep,
        "return": round(episode.full_return, 1),
        "timestep": control_timestep * stride,
        "frames": len(poses.center),
        "center": _encoded(poses.center, "<f4"),
        "scale": scale,
        "poses": _encoded(np.concatenate([position, quaternion], axis=2), "<i2"),
        "healthy": "".join("1" if entry else "0" for entry in episode.healthy[::stride]),
    }


def _relative(poses: BodyPoses, bodies: list[int]) -> tuple[np.ndarray, float]:
    """Positions from the centre of mass as integers, and the metres of one."""
    position = poses.position[:, bodies] - poses.center[:, None]
    scale = float(np.abs(position).max(initial=1e-3)) / _INTEGERS
    return np.rint(position / scale), scale


def _encoded(array: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array.astype(kind)).tobytes()).decode()


def _rounded(array: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in array]
