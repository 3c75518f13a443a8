"""A separate process that draws, so that a graphics driver cannot bring a training down.

`envs.pictures.rendering` starts it as a script, with the graphics library chosen in its
environment: MuJoCo and PyOpenGL settle on one when they are first imported, and cannot change
their mind afterwards.
Standard input is a pickled `(model, qpos, width, height)`, standard output the raw frames.
"""

from __future__ import annotations

import pickle
import sys

import mujoco
import numpy as np

HORIZON = np.array([0.93, 0.95, 0.97])
SKY = np.array([0.56, 0.70, 0.85])
TILES = np.array([[0.74, 0.78, 0.83], [0.88, 0.90, 0.93]])
DEFAULT_COLOR = 0.5, 0.5, 0.5, 1.0  # of a geom that leaves its colour to its material
TILE_PERIOD = 2.0  # metres after which the floor's pattern repeats


def beautify(model: mujoco.MjModel) -> None:
    """Gives `model` a quiet floor without an end, a daylight sky and lights that show shape."""
    for texture in range(model.ntex):
        if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            _remove_stars(model, texture)
            _recolor(model, texture, HORIZON, SKY)
    for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        model.geom_size[geom, :2] = 0.0  # infinite: robots run farther than a floor reaches
        model.geom_rgba[geom] = 1.0
        material = model.geom_matid[geom]
        if material >= 0:
            model.mat_reflectance[material] = 0.0
            model.mat_specular[material] = 0.0
            model.mat_texuniform[material] = True
            model.mat_texrepeat[material] = 1.0
            for texture in model.mat_texid[material]:
                if texture >= 0:
                    _recolor(model, texture, *TILES)
    for geom in np.flatnonzero(model.geom_bodyid > 0):  # plain colours, in which shape shows best
        model.geom_rgba[geom] = geom_color(model, int(geom))
        model.geom_matid[geom] = -1
    model.vis.headlight.ambient[:] = 0.35
    model.vis.headlight.diffuse[:] = 0.25
    model.vis.headlight.specular[:] = 0.0
    model.light_type[:] = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    model.light_dir[:] = np.array([0.3, 0.5, -1.0]) / np.linalg.norm([0.3, 0.5, -1.0])
    model.light_diffuse[:] = 0.55
    model.light_ambient[:] = 0.0
    model.light_specular[:] = 0.15
    model.vis.rgba.haze[:] = [*HORIZON, 1.0]
    model.vis.quality.shadowsize = 1024


def geom_color(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Returns a geom's RGBA `(4,)`: its own, or its material's where it leaves it to that."""
    material = model.geom_matid[geom]
    if material >= 0 and (model.geom_rgba[geom] == DEFAULT_COLOR).all():
        return np.array(model.mat_rgba[material])
    return np.array(model.geom_rgba[geom])


def _remove_stars(model: mujoco.MjModel, texture: int) -> None:
    """Gives each row of a sky, which is a gradient, the colour that most of it has."""
    width, channels = model.tex_width[texture], model.tex_nchannel[texture]
    start = model.tex_adr[texture]
    size = model.tex_height[texture] * width * channels
    rows = model.tex_data[start : start + size].reshape(-1, width, channels)
    rows[:] = np.median(rows, axis=1, keepdims=True)


def _recolor(model: mujoco.MjModel, texture: int, dark: np.ndarray, light: np.ndarray) -> None:
    """Replaces a texture's darkest colour by `dark`, its lightest by `light`, RGB in 0..1."""
    channels = model.tex_nchannel[texture]
    size = model.tex_height[texture] * model.tex_width[texture] * channels
    start = model.tex_adr[texture]
    pixels = model.tex_data[start : start + size].reshape(-1, channels)
    brightness = pixels[:, :3].mean(axis=1, keepdims=True)
    share = (brightness - brightness.min()) / max(float(np.ptp(brightness)), 1.0)
    pixels[:, :3] = np.rint(255 * (dark + share * (light - dark)))


def camera_for(model: mujoco.MjModel, data: mujoco.MjData) -> mujoco.MjvCamera:
    """Returns a camera beside the robot that holds all of it at the model's reference pose."""
    radius = reach(model, data)
    camera = mujoco.MjvCamera()
    camera.azimuth, camera.elevation = 100.0, -14.0  # along +y: forward is to the right
    camera.distance = 1.25 * radius / np.tan(np.deg2rad(model.vis.global_.fovy) / 2)
    camera.lookat[2] = 0.9 * data.subtree_com[0, 2]
    return camera


def reach(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    """Sets the reference pose; returns the radius [m] of what moves around its centre of mass."""
    mujoco.mj_resetData(model, data)
    mujoco.mj_forward(model, data)
    solid = np.flatnonzero(model.geom_bodyid > 0)
    distance = np.linalg.norm(data.geom_xpos[solid] - data.subtree_com[0], axis=1)
    return float((distance + model.geom_rbound[solid]).max(initial=0.1))


def bring_home(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Draws all but the floor near the origin, and returns by what offset `(3,)` it was shifted.

    The light, its shadows and the floor's precision do not reach as far as robots run; on a floor
    that repeats nobody sees the difference.
    """
    offset = TILE_PERIOD * np.round(data.subtree_com[0] / TILE_PERIOD) * [1.0, 1.0, 0.0]
    data.geom_xpos[model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE] -= offset
    data.site_xpos -= offset
    return offset


def main() -> None:
    model, trajectory, width, height = pickle.load(sys.stdin.buffer)
    beautify(model)
    data = mujoco.MjData(model)
    camera = camera_for(model, data)
    level = camera.lookat[2]
    model.vis.global_.offwidth, model.vis.global_.offheight = width, height
    with mujoco.Renderer(model, height, width) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = True
        for qpos in trajectory:
            data.qpos[:] = qpos
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            center = data.subtree_com[0] - bring_home(model, data)
            camera.lookat[:] = [center[0], center[1], max(level, center[2])]
            renderer.update_scene(data, camera)
            sys.stdout.buffer.write(renderer.render().tobytes())


if __name__ == "__main__":
    main()
