"""The humanoid on its way up: states between lying and standing, to train from.

The way back is long. From these states it is learned from its end backwards, as in a reverse
curriculum (Florensa et al., arXiv 1707.05300). `python -m envs.tools bank --env humanoid
--start rising` makes them anew.
"""

from __future__ import annotations

import itertools

import numpy as np

from envs.robots.humanoid.robot import HEAD_ABOVE_TORSO, Humanoid
from envs.tools import planner

# Attempts to get up; the most control steps of each; how many of them standing.
ATTEMPTS, LONGEST_ATTEMPT, STOOD = 8, 200, 20
RISING_STATES = 48  # of each tenth of a metre of its head's height
STANDING = 1.35  # metres: the head's height from which on it stands
CAPTURE_TIME = 0.25  # seconds


def rising(
    attempts: int = ATTEMPTS, states: int = RISING_STATES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `qpos` `(n, 28)` and `qvel` `(n, 27)` of the humanoid getting up, the last first.

    What a planner passes through that lies like the `ood` start, sits up, draws its feet in and
    rises, until it has stood for half a second. Of all attempts that come to stand in time, at
    most `states` of each tenth of a metre of the head's height: where it lingers is not more often
    passed. In the order of the time that is left until it stands.
    """
    model = Humanoid.make_model()
    lying = Humanoid.starts()["ood"].qpos
    hinges = np.arange(model.nq) >= 7
    ways: list[list[tuple[np.ndarray, np.ndarray]]] = []
    for attempt in range(attempts):
        rng = np.random.default_rng((seed, attempt))
        start = lying + 0.05 * hinges * rng.uniform(-1.0, 1.0, model.nq)
        steps = planner.follow(model, Humanoid.frame_skip, start, getting_up, rng, noise=0.1)
        way, stood = [], 0
        for qpos, qvel in itertools.islice(steps, LONGEST_ATTEMPT):
            way.append((qpos, qvel))
            stood = stood + 1 if head_height(qpos) > STANDING else 0
            if stood == STOOD:
                ways.append(way)
                break
    return in_order(ways, states, seed)


def in_order(
    ways: list[list[tuple[np.ndarray, np.ndarray]]], states: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `qpos` and `qvel` of ways up: at most `states` of a height, the last ones first."""
    left = np.concatenate([np.arange(len(way))[::-1] for way in ways])
    qpos, qvel = (np.array(column) for column in zip(*itertools.chain(*ways), strict=True))
    order = np.random.default_rng(seed).permutation(len(qpos))
    decimeters = np.floor(10.0 * head_height(qpos[order]))
    rows = [order[decimeters == height][:states] for height in np.unique(decimeters)]
    kept = np.concatenate(rows)
    kept = kept[np.argsort(left[kept], kind="stable")]
    return qpos[kept], qvel[kept]


def getting_up(motion: planner.Motion) -> np.ndarray:
    """Returns how far up the humanoid is, the better the more its feet are below its weight."""
    upright = _upright(motion.qpos)
    head = head_height(motion.qpos)
    to_world = _rotations(motion.qpos[..., 3:7])
    left, right = motion.sensordata[..., 3:6], motion.sensordata[..., 9:12]
    feet = np.einsum("...ij,...j->...i", to_world, (left + right) / 2) + motion.qpos[..., :3]
    # Where the trunk would come to rest above, roughly: a falling body's capture point.
    weight = motion.qpos[..., :2] + CAPTURE_TIME * motion.sensordata[..., 12:14]
    beside = np.linalg.norm(weight - feet[..., :2], axis=-1)
    lifted = np.maximum(feet[..., 2] - 0.05, 0.0)
    sitting = np.clip((head - 0.35) / 0.3, 0.0, 1.0)
    score = 3.0 * np.clip(head - lifted, 0.0, 1.45) + upright
    score += sitting * (2.0 * np.maximum(1.0 - beside, 0.0) - 0.3 * np.minimum(lifted, 1.0))
    score += 1.5 * ((motion.qpos[..., 2] > 1.05) & (upright > 0.8))
    restless = np.minimum(np.mean(np.square(motion.qvel[..., 6:]), axis=-1), 50.0)
    score -= 0.004 * restless + 0.01 * np.mean(np.square(motion.control), axis=-1)
    return np.asarray(score)


def head_height(qpos: np.ndarray) -> np.ndarray:
    """Returns the height of the humanoid's head [m], `(...)`."""
    height: np.ndarray = qpos[..., 2] + HEAD_ABOVE_TORSO * _upright(qpos)
    return height


def _upright(qpos: np.ndarray) -> np.ndarray:
    """Returns the cosine of the trunk's lean, `(...)`."""
    upright: np.ndarray = 1.0 - 2.0 * np.square(qpos[..., 4:6]).sum(axis=-1)
    return upright


def _rotations(quaternions: np.ndarray) -> np.ndarray:
    """Returns the rotation matrices `(..., 3, 3)` of unit quaternions (w, x, y, z)."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


BANKS = {"rising": rising}
