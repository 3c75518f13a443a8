"""A short recovery training that prints a digest of its result: `python -m ... CORES`."""

from __future__ import annotations

import hashlib
import os
import sys


def run() -> str:
    """Trains three iterations on the host engine; returns the SHA-256 of all that they made."""
    import jax
    import numpy as np

    import envs
    from lamour_jax.config import ObjectiveConfig
    from lamour_jax.methods import Ingredients, make_objective
    from lamour_jax.ppo.config import PPOConfig
    from lamour_jax.ppo.learner import Learner
    from lamour_jax.ppo.networks import ActorCritic, PolicyNetwork
    from reward_codegen import compile_reward

    env = envs.load("half_cheetah", start="ood", engine="mujoco")
    sizes = {"state_size": env.recovery_state_size, "action_size": env.action_size}
    program = compile_reward(env.file("reward.py").read_text(), **sizes)
    config = PPOConfig(unroll_length=32, minibatch_size=512, epochs=2)
    network = ActorCritic(PolicyNetwork(env.observation_size, env.action_size, config.hidden_sizes))
    original = network.init(jax.random.key(1), config.std)
    ingredients = Ingredients(program, ObjectiveConfig(), network, original)
    objective = make_objective("lamour", ingredients)
    learner = Learner(env, objective, config, iterations=3, network=network, original=original)
    state = learner.init(0)
    for _ in range(3):
        state, _ = learner.iterate(state)
    assert learner.iterate._cache_size() == 1, "an iteration was compiled more than once"
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((state.agent, state.acting.env_state.data)):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    # Before JAX and MuJoCo count the cores that they may use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
    print(run())
