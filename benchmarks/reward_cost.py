"""What a compiled reward costs: against one written by hand, and of an environment step.

    python -m benchmarks.reward_cost --env ant --num-envs 4096

Compiled and hand-written reward are called in turns in one process, on the same states, so that
the machine's mood hits both alike: the ratios are what is worth quoting. The equations of both are
counted with those of jitted helpers instead of their calls.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

import envs
from benchmarks.hand_written import REWARDS
from envs import RecoveryEnv
from reward_codegen import compile_reward
from reward_codegen.show import equations


@dataclass(frozen=True)
class Arguments:
    """Measure what compiled rewards cost."""

    env: tuple[str, ...] = tuple(REWARDS)
    """Robots."""
    num_envs: int = 4096
    """States in a batch."""
    calls: int = 20
    """Rewards of the whole batch in one measurement, inside one `lax.scan`."""
    repeats: int = 15
    """Measurements of each; the ratio quoted is the median of the ratios."""
    env_steps: int = 8
    """Environment steps in one measurement of a step; 0 to leave that out."""


@dataclass(frozen=True)
class Cost:
    """What the reward of one robot costs.

    Attributes:
        compiled_equations, hand_equations: equations of both jaxprs.
        ratio: time of the compiled reward over that of the hand-written one.
        share: time of the compiled reward over that of an environment step; None if not measured.
    """

    compiled_equations: int
    hand_equations: int
    ratio: float
    share: float | None


def measure(name: str, arguments: Arguments) -> Cost:
    """Measures one robot's bundled program."""
    env = envs.load(name, start="ood-noisy")
    state_size, action_size = env.observation_size, env.action_size
    program = compile_reward(
        envs.registry.get(name).file("reward.py").read_text(),
        state_size=state_size,
        action_size=action_size,
    )
    by_hand = jax.make_jaxpr(REWARDS[name])(jnp.zeros(state_size), jnp.zeros(action_size))
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.random.normal(keys[0], (arguments.num_envs, state_size))
    actions = jax.random.uniform(keys[1], (arguments.num_envs, action_size), minval=-1.0)
    compiled, hand = (
        _repeated(function, states, actions, arguments.calls)
        for function in (program.calculate_reward, REWARDS[name])
    )
    seconds: list[tuple[float, float]] = [
        (_seconds(compiled), _seconds(hand)) for _ in range(arguments.repeats)
    ]
    share = None
    if arguments.env_steps:
        step = _steps(env, arguments)
        per_call = [ours / arguments.calls for ours, _ in seconds]
        share = statistics.median(per_call) / (_seconds(step) / arguments.env_steps)
    return Cost(
        equations(program.calculate_reward_jaxpr.jaxpr),
        equations(by_hand.jaxpr),
        statistics.median(ours / theirs for ours, theirs in seconds),
        share,
    )


def _repeated(
    reward: Callable[[jax.Array, jax.Array], jax.Array],
    states: jax.Array,
    actions: jax.Array,
    calls: int,
) -> Callable[[], jax.Array]:
    """Returns the reward of a batch `calls` times over, each on states that the last one moves."""

    @jax.jit
    def run(states: jax.Array, actions: jax.Array) -> jax.Array:
        def body(states: jax.Array, _: None) -> tuple[jax.Array, None]:
            return states + 1e-6 * jax.vmap(reward)(states, actions)[:, None], None

        return jax.lax.scan(body, states, None, length=calls)[0]

    jax.block_until_ready(run(states, actions))
    return lambda: run(states, actions)


def _steps(env: RecoveryEnv, arguments: Arguments) -> Callable[[], object]:
    """Returns `env_steps` steps of the batch."""

    @jax.jit
    def run(state: envs.State, actions: jax.Array) -> envs.State:
        return jax.lax.scan(
            lambda state, action: (jax.vmap(env.step)(state, action), None), state, actions
        )[0]

    keys = jax.random.split(jax.random.key(1), arguments.num_envs)
    state = jax.jit(jax.vmap(env.reset))(keys)
    shape = (arguments.env_steps, arguments.num_envs, env.action_size)
    actions = jax.random.uniform(jax.random.key(2), shape, minval=-1.0)
    jax.block_until_ready(run(state, actions).obs)
    return lambda: run(state, actions).obs


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    chosen = tyro.cli(Arguments, args=arguments, prog="python -m benchmarks.reward_cost")
    unknown = [name for name in chosen.env if name not in REWARDS]
    if unknown:
        print(f"no reward by hand for {unknown[0]!r}; known: {', '.join(REWARDS)}", file=sys.stderr)
        return 2
    table = Table("robot", "equations", "by hand", "ratio", "time / by hand", "of a step")
    for name in chosen.env:
        cost = measure(name, chosen)
        table.add_row(
            name,
            str(cost.compiled_equations),
            str(cost.hand_equations),
            f"{cost.compiled_equations / cost.hand_equations:.2f}",
            f"{cost.ratio:.2f}",
            "" if cost.share is None else f"{cost.share:.2%}",
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
