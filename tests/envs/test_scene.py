"""Shapes and poses that are shown outside of MuJoCo."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.pictures.scene import body_poses, visible_geoms

MODEL = """
<mujoco>
  <asset>
    <mesh name="wedge" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/>
    <hfield name="hills" nrow="2" ncol="2" size="1 1 1 0.1" elevation="0 1 1 0"/>
    <material name="red" rgba="1 0 0 1"/>
  </asset>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <geom type="hfield" hfield="hills" pos="5 0 0"/>
    <body pos="0 0 2">
      <joint type="slide" axis="1 0 0"/>
      <geom type="mesh" mesh="wedge" material="red"/>
      <geom type="ellipsoid" size="0.1 0.2 0.3" pos="1 0 0" rgba="0 1 0 0.5"/>
      <geom type="sphere" size="0.1" group="3"/>
      <geom type="box" size="0.1 0.2 0.3" rgba="0 0 0 0"/>
    </body>
  </worldbody>
</mujoco>
"""


def test_visible_geoms() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    plane, hills, wedge, ellipsoid = visible_geoms(model)
    assert [geom.kind for geom in (plane, hills, wedge, ellipsoid)] == [
        "plane",
        "box",
        "mesh",
        "ellipsoid",
    ]
    np.testing.assert_allclose(hills.size, [1.0, 1.0, 0.55], atol=1e-6)  # from -0.1 to 1
    np.testing.assert_allclose(hills.position, [5.0, 0.0, 0.45], atol=1e-6)
    np.testing.assert_array_equal(wedge.color, [1.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(ellipsoid.size, [0.1, 0.2, 0.3])
    # Where MuJoCo has put the mesh: its corners are where the file has them.
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, wedge.quaternion)
    corners = wedge.vertices @ rotation.reshape(3, 3).T + wedge.position
    expected = {(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
    assert {tuple(np.round(corner, 4) + 0.0) for corner in corners} == expected
    assert wedge.faces.shape == (4, 3) and wedge.faces.max() == 3


def test_body_poses_hold_the_last_finite_ones() -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    poses = body_poses(model, np.array([[0.0], [1.5], [np.nan]]))
    np.testing.assert_allclose(poses.position[:, 1], [[0, 0, 2], [1.5, 0, 2], [1.5, 0, 2]])
    np.testing.assert_allclose(np.diff(poses.center[:, 0]), [1.5, 0.0], atol=1e-6)
