"""Wide out-of-distribution starts: random poses, settled under gravity, one bank a robot.

Poses that happen to be healthy are left out.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs import RecoveryEnv

POSES = 256
# Simulated time [s], and what counts as at rest afterwards [m/s, rad/s].
SETTLING_TIME = 2.0
AT_REST = 0.25
# Rounds of drawing before a robot is taken for one that hardly ever lies unhealthy at rest.
_ROUNDS = 20


def build(env: RecoveryEnv, poses: int = POSES, seed: int = 0) -> np.ndarray:
    """Draws and settles a bank of `qpos`, `(poses, nq)` float32.

    Args:
        env: gives the model and the test of health.
        poses: how many.
        seed: of the poses; the same one gives the same bank with the same MuJoCo.

    Raises:
        RuntimeError: too few of the poses come to rest unhealthy.
    """

    def is_healthy(qpos: jax.Array) -> jax.Array:
        return env.is_healthy(env.engine.init(qpos, jnp.zeros(env.model.nv)))

    model, rng = env.make_model(), np.random.default_rng(seed)
    kept = np.zeros((0, model.nq), np.float32)
    for _ in range(_ROUNDS):
        drawn = np.stack([env.random_pose(model, rng) for _ in range(poses)])
        held = rng.uniform(-1.0, 1.0, (poses, model.nu)) * _is_drawn_to_one_pose(model)
        settled = settle(model, drawn, held).astype(np.float32)
        healthy = np.asarray(jax.jit(jax.vmap(is_healthy))(settled))
        kept = np.concatenate([kept, settled[~healthy]])
        if len(kept) >= poses:
            return kept[:poses]
    raise RuntimeError(f"only {len(kept)} of {_ROUNDS * poses} poses of {env.name} rest unhealthy")


def _is_drawn_to_one_pose(model: mujoco.MjModel) -> bool:
    """Whether springs undo what is random about a pose: random torques are then held meanwhile.

    A robot in three dimensions still comes to lie on any side.
    """
    in_three_dimensions = (model.jnt_type == mujoco.mjtJoint.mjJNT_FREE).any()
    return bool((model.jnt_stiffness > 0).any() and not in_three_dimensions)


def settle(model: mujoco.MjModel, qpos: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
    """Lets poses `(poses, nq)` fall under constant `ctrl` `(poses, nu)`.

    Returns those that came to rest, `(at most poses, nq)`.

    Full turns of joints without limits are taken off.
    """
    # A simulation that explodes must not count as one that restarted upright.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    data = mujoco.MjData(model)
    steps = round(SETTLING_TIME / model.opt.timestep)
    turning = [
        int(model.jnt_qposadr[joint])
        for joint in range(model.njnt)
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE and not model.jnt_limited[joint]
    ]
    settled = []
    for pose, held in zip(qpos, ctrl, strict=True):
        mujoco.mj_resetData(model, data)
        data.qpos[:], data.ctrl[:] = pose, held
        mujoco.mj_step(model, data, nstep=steps)
        if np.isfinite(data.qpos).all() and np.abs(data.qvel).max() < AT_REST:
            at_rest = data.qpos.copy()
            at_rest[turning] = (at_rest[turning] + np.pi) % (2 * np.pi) - np.pi
            settled.append(at_rest)
    return np.asarray(settled).reshape(-1, model.nq)
