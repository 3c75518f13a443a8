"""Sampling-based model predictive control: how a robot might come back, without any learning.

Control is a spline whose knots are drawn around the last plan's, simulated, and averaged over the
best (model predictive path integral control, Williams et al., arXiv 1707.02342, on the splines of
MuJoCo MPC, Howell et al., arXiv 2212.00541). A control step of a robot with 21 motors takes about
half a second on one core: nothing to act with, but good for starts on the way up (`banks.py` of a
robot).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from mujoco import rollout

SAMPLES = 128
BEST = 8  # of them make the next plan
TEMPERATURE = 0.02  # of their weights, in units of the score
ROUNDS = 2  # of sampling at every replanning
KNOT_STEPS, KNOTS = 4, 9  # control steps from one knot to the next; a plan spans 32
REPLAN_STEPS = 2  # control steps that a plan is followed for
NOISE, NOISE_FACTORS = 0.6, (0.3, 1.0, 1.7)  # std of the knots, and its multiples
LAST_STEP_WEIGHT = 4.0  # where a plan ends counts more than what it passes through


@dataclass(frozen=True)
class Motion:
    """Simulated states `(samples, steps, ...)`: `qpos`, `qvel`, `sensordata`; `control`."""

    qpos: np.ndarray
    qvel: np.ndarray
    sensordata: np.ndarray
    control: np.ndarray


def follow(
    model: mujoco.MjModel,
    frame_skip: int,
    qpos: np.ndarray,
    score: Callable[[Motion], np.ndarray],
    rng: np.random.Generator,
    noise: float = 0.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields `qpos` and `qvel` after every control step of a robot that plans as it goes.

    Args:
        model: controls lie in -1..1.
        frame_skip: physics steps in a control step.
        qpos: where it begins, at rest.
        score: what is to be high, `(samples, steps)`.
        rng: draws the plans.
        noise: std of what is added to the plan's controls: it then passes through what a noisy
            policy would.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_forward(model, data)
    plan = np.zeros((KNOTS, model.nu))
    spline = _weights(np.arange(KNOT_STEPS * (KNOTS - 1)))
    while True:
        for _ in range(ROUNDS):
            plan = _improve(model, frame_skip, data, plan, spline, score, rng)
        for control in spline[:REPLAN_STEPS] @ plan:
            data.ctrl[:] = np.clip(control + noise * rng.normal(size=model.nu), -1.0, 1.0)
            mujoco.mj_step(model, data, frame_skip)
            yield data.qpos.copy(), data.qvel.copy()
        plan = _weights(KNOT_STEPS * np.arange(KNOTS) + REPLAN_STEPS) @ plan


def _improve(
    model: mujoco.MjModel,
    frame_skip: int,
    data: mujoco.MjData,
    plan: np.ndarray,
    spline: np.ndarray,
    score: Callable[[Motion], np.ndarray],
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns the mean of the best among plans around `plan` `(knots, nu)`, itself included."""
    scale = NOISE * rng.choice(NOISE_FACTORS, size=(SAMPLES, 1, 1))
    plans = np.clip(plan + scale * rng.normal(size=(SAMPLES, *plan.shape)), -1.0, 1.0)
    plans[0] = plan
    controls = spline @ plans
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    state = np.zeros(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, state, kind)
    states, sensordata = rollout.rollout(
        model,
        mujoco.MjData(model),
        initial_state=state,
        control=np.repeat(controls, frame_skip, axis=1),
    )
    after = slice(frame_skip - 1, None, frame_skip)
    _, qpos, qvel, _ = np.split(
        states[:, after], np.cumsum([1, model.nq, model.nv]), axis=-1
    )  # time comes first, activations last
    scores = score(Motion(qpos, qvel, sensordata[:, after], controls))
    weights = np.ones(scores.shape[1])
    weights[-1] = LAST_STEP_WEIGHT
    means = np.average(scores, axis=1, weights=weights)
    best = np.argsort(-means)[:BEST]
    shares = np.exp((means[best] - means[best[0]]) / TEMPERATURE)
    improved: np.ndarray = np.tensordot(shares / shares.sum(), plans[best], axes=1)
    return improved


def _weights(steps: np.ndarray) -> np.ndarray:
    """Returns each knot's share `(steps, knots)` of the control at a step; the last one holds."""
    at = np.minimum(steps / KNOT_STEPS, KNOTS - 1)
    return np.clip(1.0 - np.abs(at[:, None] - np.arange(KNOTS)), 0.0, 1.0)
