"""A robot of two numbers, height and tilt, that has fallen over; and replies about it."""

from __future__ import annotations

import numpy as np

from reward_codegen.verify import Probes
from reward_codegen.writer.task import RewardTask

PICTURE = b"\x89PNG\r\n\x1a\n as good as a picture"

OBSERVED = "The robot lies on its side, tilted by 3 rad."
BEHAVIOUR = "Roll over until the body is upright."

BODY = """\
import jax.numpy as jnp

def is_recovered(state):
    return jnp.where((jnp.abs(state[1]) < 0.8) & (state[0] > 0.3), 1, 0)

def calculate_reward(state, action):
    tilt = jnp.abs(state[1])
    effort = 0.01 * jnp.sum(jnp.square(action)) / action.shape[0]
    return {reward}
"""
SOURCE = BODY.format(reward="-1.0 - 2.0 * tilt - 2.0 * jnp.abs(state[0] - 0.5) - effort")
GOOD = f"Here is the program.\n\n```python\n{SOURCE}```\n"
# It rises as well, but also pays for effort: a lower score.
LESSER = f"```python\n{BODY.format(reward='-1.0 - 2.0 * tilt - 20.0 * effort')}```"
UNKNOWN_NAME = f"```python\n{BODY.format(reward='-1.0 - tilt - np.sum(effort)')}```"
FALLING = f"```python\n{BODY.format(reward='-10.0 + 2.0 * tilt - effort')}```"
POSITIVE = f"```python\n{BODY.format(reward='5.0 - 2.0 * tilt - effort')}```"


def toy_task(picture: bytes | None = PICTURE, manipulation: bool = False) -> RewardTask:
    rng = np.random.default_rng(0)
    ood = np.column_stack([rng.uniform(0.05, 0.1, 8), rng.uniform(2.8, 3.0, 8)])
    original = np.column_stack([rng.uniform(0.45, 0.55, 32), rng.uniform(-0.1, 0.1, 32)])
    fractions = np.linspace(0.0, 1.0, 9)[None, :, None]
    between = ood[:, None] + fractions * (original[:8] - ood)[:, None]
    return RewardTask(
        name="toy",
        description="# Toy\n\nstate[0]: height [m]; state[1]: tilt [rad]; two motors.",
        original_task="run as fast as possible",
        state_size=2,
        action_size=2,
        picture=picture,
        situation="- state[1] = 3.000 rad: tilt",
        probes=Probes(ood, original, between, np.zeros((1, 2)), rng.uniform(-1, 1, (5, 2))),
        manipulation=manipulation,
    )
