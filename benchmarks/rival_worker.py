"""A rival's own training or simulation, in a process and a Python of its own.

Started by `benchmarks.rivals` inside the comparison environment: it
imports `envs` and the rival, nothing of learning of ours. It reads one line for each measurement
from standard input and answers one JSON line when it is done, so that both processes never compute
at the same time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO


def brax_ppo(settings: dict[str, Any], answer: Callable[..., None]) -> None:
    """Brax's PPO, one training step a measurement: a rollout and its gradient steps.

    The environment is ours through the Brax adapter; the sizes of batch, minibatch, networks and
    the passes over the data are those of our own learner.
    """
    import jax
    from brax.training.agents.ppo import networks, train

    # As in our own training (`lamour_jax.system.set_precision`).
    jax.config.update("jax_default_matmul_precision", settings["precision"])
    begin = time.perf_counter()
    num_envs, unroll_length = settings["num_envs"], settings["unroll_length"]
    # Brax's minibatches are whole pieces of trajectories: as many as hold our transitions.
    pieces = max(1, min(num_envs, settings["minibatch_size"] // unroll_length))
    while num_envs % pieces:
        pieces -= 1
    epochs_without_end = 1_000_000

    def after_epoch(_: int, metrics: dict[str, Any]) -> None:
        nonlocal begin
        if begin:
            answer(
                env_steps=num_envs * unroll_length,
                compile_seconds=time.perf_counter() - begin,
                minibatch_size=pieces * unroll_length,
                jax=jax.__version__,
            )
            begin = 0.0
        else:
            answer(done=True)
        if not sys.stdin.readline():
            raise SystemExit

    hidden_sizes = tuple(settings["hidden_sizes"])
    train.train(
        _brax_env(settings),
        num_timesteps=epochs_without_end * num_envs * unroll_length,
        num_evals=epochs_without_end + 1,
        run_evals=False,
        progress_fn=after_epoch,
        max_devices_per_host=1,
        episode_length=settings["episode_length"],
        num_envs=num_envs,
        unroll_length=unroll_length,
        batch_size=pieces,
        num_minibatches=num_envs // pieces,
        num_updates_per_batch=settings["epochs"],
        normalize_observations=True,
        network_factory=functools.partial(
            networks.make_ppo_networks,
            policy_hidden_layer_sizes=hidden_sizes,
            value_hidden_layer_sizes=hidden_sizes,
            # Named alike: those of `lamour_jax.ppo.networks.ACTIVATIONS`.
            activation=getattr(jax.nn, settings["activation"]),
        ),
    )


def _brax_env(settings: dict[str, Any]) -> Any:
    """Returns our environment through the Brax adapter."""
    import envs
    from envs.adapters.brax_adapter import BraxEnv

    return BraxEnv(
        envs.load(
            settings["env"],
            start=settings["start"],
            engine=settings["engine"],
            num_envs=settings["num_envs"],
        )
    )


def envpool(settings: dict[str, Any], answer: Callable[..., None]) -> None:
    """EnvPool's own robot on its C++ thread pool under random actions; no learning, no policy."""
    import envpool as pool
    import numpy as np

    num_envs, unroll_length = settings["num_envs"], settings["unroll_length"]
    env = pool.make_gymnasium(
        settings["envpool_name"], num_envs=num_envs, num_threads=settings["threads"], seed=0
    )
    env.reset()
    shape = (unroll_length, num_envs, *env.action_space.shape)
    actions = np.random.default_rng(0).uniform(env.action_space.low, env.action_space.high, shape)
    answer(env_steps=num_envs * unroll_length, envpool=pool.__version__)
    while sys.stdin.readline():
        for action in actions:
            env.step(action)
        answer(done=True)


_RIVALS = {"brax": brax_ppo, "envpool": envpool}


def main() -> None:
    """Runs the rival that the JSON on the command line describes, until standard input ends."""
    settings = json.loads(sys.argv[1])
    out: TextIO = sys.stdout

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=out, flush=True)

    try:
        # What the libraries print is no answer.
        with contextlib.redirect_stdout(sys.stderr):
            _RIVALS[settings["rival"]](settings, answer)
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
