"""What there is to see of a robot: its geoms, and where its bodies are along a trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from envs.pictures.render_process import geom_color

_SHOWN_GROUPS = 3  # MuJoCo's viewers show the geom groups 0, 1 and 2
_MOST_FACES = 20_000  # of all meshes together; further ones are shown as their boxes

_TYPES = {
    mujoco.mjtGeom.mjGEOM_PLANE: "plane",
    mujoco.mjtGeom.mjGEOM_SPHERE: "sphere",
    mujoco.mjtGeom.mjGEOM_CAPSULE: "capsule",
    mujoco.mjtGeom.mjGEOM_ELLIPSOID: "ellipsoid",
    mujoco.mjtGeom.mjGEOM_CYLINDER: "cylinder",
    mujoco.mjtGeom.mjGEOM_BOX: "box",
    mujoco.mjtGeom.mjGEOM_MESH: "mesh",
}


@dataclass(frozen=True)
class Geom:
    """A shape that is fixed to a body.

    Attributes:
        kind: plane, sphere, capsule, ellipsoid, cylinder, box or mesh.
        body: index of the body.
        size: as in MuJoCo: radius, half length, or half sizes [m]; `(3,)`.
        position, quaternion: in the body's frame, `(3,)` [m] and `(4,)`, w first.
        color: RGBA in 0..1, `(4,)`.
        vertices, faces: of a mesh, `(n, 3)` [m] and `(m, 3)`; else empty.
    """

    kind: str
    body: int
    size: np.ndarray
    position: np.ndarray
    quaternion: np.ndarray
    color: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray


def visible_geoms(model: mujoco.MjModel) -> list[Geom]:
    """Returns the geoms that MuJoCo's own viewer shows by default.

    A shape that no kind fits (a height field, a mesh of very many faces) is given as its box.
    """
    geoms = []
    faces_left = _MOST_FACES
    for index in range(model.ngeom):
        color = geom_color(model, index)
        if model.geom_group[index] >= _SHOWN_GROUPS or color[3] == 0.0:
            continue
        kind = _TYPES.get(mujoco.mjtGeom(model.geom_type[index]), "box")
        size, position = model.geom_size[index].copy(), model.geom_pos[index].copy()
        vertices, faces = np.zeros((0, 3)), np.zeros((0, 3), int)
        if kind == "mesh":
            mesh = model.geom_dataid[index]
            first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
            faces_left -= count
            if faces_left >= 0:
                faces = model.mesh_face[first : first + count].copy()
                first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
                vertices = model.mesh_vert[first : first + count].copy()
        quaternion = model.geom_quat[index].copy()
        if (kind == "box" and model.geom_type[index] != mujoco.mjtGeom.mjGEOM_BOX) or (
            kind == "mesh" and not len(faces)
        ):
            kind = "box"
            center, size = model.geom_aabb[index, :3], model.geom_aabb[index, 3:].copy()
            offset = np.zeros(3)
            mujoco.mju_rotVecQuat(offset, center, quaternion)
            position += offset
        body = int(model.geom_bodyid[index])
        geoms.append(Geom(kind, body, size, position, quaternion, color, vertices, faces))
    return geoms


@dataclass(frozen=True)
class BodyPoses:
    """Where bodies are along a trajectory.

    Attributes:
        center: the whole's centre of mass, `(T, 3)` [m].
        position: of each body, `(T, nbody, 3)` [m].
        quaternion: of each body, `(T, nbody, 4)`, w first.
    """

    center: np.ndarray
    position: np.ndarray
    quaternion: np.ndarray


def body_poses(model: mujoco.MjModel, qpos: np.ndarray) -> BodyPoses:
    """Returns where the bodies are at positions `qpos` `(T, nq)`.

    Positions that are not finite (an exploded simulation) are shown as the last finite ones.
    """
    data = mujoco.MjData(model)
    center = np.zeros((len(qpos), 3))
    position = np.zeros((len(qpos), model.nbody, 3))
    quaternion = np.zeros((len(qpos), model.nbody, 4))
    for index, pose in enumerate(qpos):
        if np.isfinite(pose).all():
            data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        center[index] = data.subtree_com[0]
        position[index], quaternion[index] = data.xpos, data.xquat
    return BodyPoses(center, position, quaternion)
