"""Probes of the real environments, made without a policy: where it would be, health holds."""

from functools import cache

import jax
import numpy as np

import envs
from reward_codegen.verify import Probes

COUNT = 12  # starts of each kind


@cache
def probes(name: str) -> Probes:
    """Out-of-distribution and ordinary starts of an environment, and straight ways between."""
    starts = {}
    for start in ("ood-noisy", "ordinary"):
        env = envs.load(name, start=start)
        reset = jax.jit(jax.vmap(env.reset))
        states = reset(jax.random.split(jax.random.key(0), COUNT))
        starts[start] = np.asarray(states.recovery_state)
    ood, original = starts["ood-noisy"], starts["ordinary"]
    way = np.linspace(0.0, 1.0, 16)[:, None]
    between = (1.0 - way) * ood[:, None] + way * original[:, None]
    if name == "ant":
        between[..., 1:5] /= np.linalg.norm(between[..., 1:5], axis=-1, keepdims=True)
    generator = np.random.default_rng(0)
    size = ood.shape[1]
    extreme = np.concatenate(
        [
            100.0 * generator.normal(size=(6, size)),
            *(np.full((1, size), value) for value in (0.0, 1e6, np.inf, -np.inf, np.nan)),
        ]
    )
    actions = generator.uniform(-1.0, 1.0, (8, env.action_size))
    return Probes(ood, original, between, extreme, np.concatenate([actions, np.sign(actions[:2])]))
