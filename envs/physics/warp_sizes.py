"""How much room MuJoCo Warp needs for a robot's contacts and constraints.

C MuJoCo grows its buffers, MJX's JAX implementation computes every possible contact; Warp is told
beforehand, and leaves out what does not fit. Contacts share one buffer over all simulations of a
batch; constraint rows are reserved for each.
"""

from __future__ import annotations

import mujoco

_Geom = mujoco.mjtGeom
# Points at which a geom that lies on the floor touches it; shapes not named here, 4.
_POINTS = {_Geom.mjGEOM_SPHERE: 1, _Geom.mjGEOM_ELLIPSOID: 1, _Geom.mjGEOM_CAPSULE: 2}
# Pairs of geoms that are near each other, for each contact. Warp notes them in the contacts' buffer
# before it looks closer: 44 of a two-legged robot that lies and struggles, for which 35 are
# expected (tests/envs/test_warp.py counts them).
_NEAR = 2
# Where so few are counted, some geoms may touch each other as well.
_FEWEST_CONTACTS = 12


def contacts(model: mujoco.MjModel) -> int:
    """Returns how many contacts to expect at most, on average over the simulations of a batch.

    As many as if every geom of the robot that can collide lay on the floor with all its length.
    """
    touching = [
        geom
        for geom in range(model.ngeom)
        if (model.geom_contype[geom] or model.geom_conaffinity[geom])
        and model.body_weldid[model.geom_bodyid[geom]] != 0
    ]
    paired = {int(geom) for pair in (model.pair_geom1, model.pair_geom2) for geom in pair}
    movable = {geom for geom in paired if model.body_weldid[model.geom_bodyid[geom]] != 0}
    kinds = [_Geom(model.geom_type[geom]) for geom in {*touching, *movable}]
    return max(_FEWEST_CONTACTS, sum(_POINTS.get(kind, 4) for kind in kinds))


def near_pairs(model: mujoco.MjModel) -> int:
    """Returns how many places one simulation takes in the buffer of all contacts, on average."""
    return _NEAR * contacts(model)


def constraint_rows(model: mujoco.MjModel) -> int:
    """Returns how many rows one simulation's constraints take at most.

    All equalities, dry frictions and limits at once, and `contacts` with the widest friction cone
    of any geom.
    """
    equality_rows = {mujoco.mjtEq.mjEQ_CONNECT: 3, mujoco.mjtEq.mjEQ_WELD: 6}
    rows = sum(equality_rows.get(mujoco.mjtEq(kind), 1) for kind in model.eq_type)
    rows += int((model.dof_frictionloss > 0).sum() + (model.tendon_frictionloss > 0).sum())
    rows += int(model.jnt_limited.sum() + model.tendon_limited.sum())
    widest = max([1, *model.geom_condim, *model.pair_dim])
    if model.opt.cone == mujoco.mjtCone.mjCONE_PYRAMIDAL and widest > 1:
        widest = 2 * (widest - 1)
    return rows + int(widest) * contacts(model)
