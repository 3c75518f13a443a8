"""Steps a robot on MJX under random actions and prints the seconds of each turn.

python benchmarks/results/2026-11-23-mjx-threads-2-cores/steps.py ROBOT ENVIRONMENTS TURNS
"""

from __future__ import annotations

import sys
import time

import jax

import envs

STEPS = 20

robot, num_envs, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
env = envs.load(robot, start="ood", engine="mjx")


def run(keys: jax.Array) -> jax.Array:
    """Returns the positions after `STEPS` control steps, `(num_envs, nq)`."""
    action = jax.random.uniform(keys[0], (num_envs, env.action_size), minval=-1.0, maxval=1.0)

    def step(state: envs.State, _: None) -> tuple[envs.State, None]:
        return jax.vmap(env.step)(state, action), None

    return jax.lax.scan(step, jax.vmap(env.reset)(keys), length=STEPS)[0].data.qpos


keys = jax.random.split(jax.random.key(0), num_envs)
program = jax.jit(run).lower(keys).compile()
for _ in range(turns):
    begin = time.perf_counter()
    jax.block_until_ready(program(keys))
    print(f"{time.perf_counter() - begin:.2f} s", flush=True)
