"""MuJoCo Warp's buffers: large enough for the robots, and nothing goes on where one is not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from envs import RecoveryEnv, registry
from envs.physics import warp_sizes

ENVS = 4


def _pairs(model: mujoco.MjModel) -> np.ndarray:
    """Returns the geoms `[P, 2]` that may touch each other, by MuJoCo's rules."""
    pairs = set(zip(model.pair_geom1.tolist(), model.pair_geom2.tolist(), strict=True))
    bodies, parents = model.body_weldid, model.body_weldid[model.body_parentid]
    for one, other in itertools.combinations(range(model.ngeom), 2):
        masks = (
            model.geom_contype[one] & model.geom_conaffinity[other]
            or model.geom_contype[other] & model.geom_conaffinity[one]
        )
        a, b = bodies[model.geom_bodyid[one]], bodies[model.geom_bodyid[other]]
        related = a == b or (a and b and (parents[a] == b or parents[b] == a))
        excluded = {(a << 16) + b, (b << 16) + a} & set(model.exclude_signature.tolist())
        if masks and not related and not excluded:
            pairs.add((one, other))
    return np.array(sorted(pairs))


def _near(model: mujoco.MjModel, data: mujoco.MjData, pairs: np.ndarray) -> int:
    """Counts the pairs whose bounding spheres meet, as Warp does before it looks closer."""
    radius, plane = model.geom_rbound, model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    one, other = np.where(plane[pairs[:, 1]][:, None], pairs[:, ::-1], pairs).T
    between = data.geom_xpos[other] - data.geom_xpos[one]
    normal = data.geom_xmat[one].reshape(-1, 3, 3)[:, :, 2]
    height = np.sum(between * normal, axis=1)
    apart = np.where(plane[one], height, np.linalg.norm(between, axis=1) - radius[one])
    return int(np.sum(apart <= radius[other]))


@pytest.mark.parametrize("name", registry.names())
def test_a_robot_that_lies_about_and_struggles_fits(
    name: str, struggle: Callable[[RecoveryEnv], Iterator[mujoco.MjData]]
) -> None:
    env = registry.load(name, start="ood", engine="mujoco")
    model, pairs = env.model, _pairs(env.model)
    contacts, rows, near = zip(
        *((data.ncon, data.nefc, _near(model, data, pairs)) for data in struggle(env)), strict=True
    )
    assert 0 < max(contacts) <= warp_sizes.contacts(model)
    assert max(rows) <= warp_sizes.constraint_rows(model)
    assert 0 < max(near) <= warp_sizes.near_pairs(model)


def test_sizes_by_hand() -> None:
    spec = """
    <mujoco>
      <option cone="{cone}"/>
      <worldbody>
        <geom type="plane" size="1 1 1" name="floor"/>
        <body><freejoint/><geom size="0.1"/>{boxes}</body>
        <body><joint range="-1 1" limited="true"/><geom type="capsule" size="0.1 1"/></body>
        <body><joint frictionloss="1"/>
          <geom name="ghost" size="0.1" contype="0" conaffinity="0"/></body>
      </worldbody>
      <contact>{pair}</contact>
    </mujoco>
    """

    def model(cone: str = "pyramidal", boxes: int = 3, pair: str = "") -> mujoco.MjModel:
        box = '<geom type="box" size="1 1 1"/>'
        return mujoco.MjModel.from_xml_string(spec.format(cone=cone, boxes=boxes * box, pair=pair))

    # A sphere touches in 1 point, three boxes in 4 each, a capsule in 2, the ghost in none.
    assert warp_sizes.contacts(model()) == 15
    assert warp_sizes.contacts(model(pair='<pair geom1="ghost" geom2="floor"/>')) == 16
    assert warp_sizes.contacts(model(boxes=1)) == 12  # the fewest that are provided for
    # A limit and a dry friction besides; four edges of a pyramid, or a normal and two tangents.
    assert warp_sizes.constraint_rows(model()) == 2 + 15 * 4
    assert warp_sizes.constraint_rows(model(cone="elliptic")) == 2 + 15 * 3


@pytest.mark.slow
def test_what_does_not_fit_is_not_simulated_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("warp", reason="mjx-warp needs the package warp-lang")
    monkeypatch.setattr(warp_sizes, "contacts", lambda model: 1)
    starts = jax.random.split(jax.random.key(0), ENVS)
    actions = jnp.zeros((ENVS, 3))

    def after_a_step(num_envs: int) -> tuple[np.ndarray, np.ndarray]:
        env = registry.load("hopper", start="ood", engine="mjx-warp", num_envs=num_envs)
        state = jax.jit(jax.vmap(env.step))(jax.jit(jax.vmap(env.reset))(starts), actions)
        again = jax.jit(jax.vmap(env.restart))(state)
        assert np.isfinite(again.data.qpos).all() and not again.data._impl.overflow.any()
        return np.isfinite(state.data.qpos).all(axis=1), np.asarray(state.episode.termination)

    fits, ended = after_a_step(num_envs=12 * ENVS)
    assert fits.all() and not ended.any()
    fits, ended = after_a_step(num_envs=1)
    assert not fits.any() and ended.all()
    assert "overflow" in capfd.readouterr().out
