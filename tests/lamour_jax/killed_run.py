"""A short training on C MuJoCo, in or on in a folder, made to be killed: `python -m ... FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

ITERATIONS = 40


def run(path: Path) -> str:
    """Trains to the end, with a checkpoint after each iteration; returns a digest of its result."""
    import envs
    from lamour_jax.config import CheckpointConfig, EvaluationConfig, RunConfig
    from lamour_jax.console import Console
    from lamour_jax.objective import original_task
    from lamour_jax.policies import fresh_header
    from lamour_jax.ppo.config import PPOConfig
    from lamour_jax.ppo.learner import Learner
    from lamour_jax.run import loop
    from lamour_jax.run.checkpoints import Identity, digest
    from lamour_jax.run.folder import RunFolder
    from lamour_jax.run.record import Run

    ppo = PPOConfig(num_envs=8, unroll_length=16, minibatch_size=64, epochs=1, hidden_sizes=(8,))
    config = RunConfig(
        steps=ITERATIONS * ppo.batch_size,
        ppo=ppo,
        evaluation=EvaluationConfig(during_training=1),
        checkpoints=CheckpointConfig(every_steps=ppo.batch_size),
    )
    if not path.exists():
        RunFolder(path).write_text("config.yaml", config.to_yaml())
    env = envs.load("hopper", engine="mujoco")
    network = fresh_header(env, config).network()
    learner = Learner(env, original_task(), ppo, config.iterations, network)
    run = Run(Identity(config), RunFolder.reopen(path))
    [state] = loop.train(learner, [run], loop.Hooks(lambda run, agent: {}), Console())
    return digest((state.agent, state.optimizer, state.acting.env_state.data))


if __name__ == "__main__":
    print(run(Path(sys.argv[1])))
