"""Which physics engine to use."""

from __future__ import annotations

from typing import Literal, get_args

import jax
import mujoco

from envs.physics.interface import EngineUnavailable, PhysicsEngine

EngineName = Literal["auto", "mujoco", "mjx", "mjx-warp"]
ENGINES: tuple[str, ...] = get_args(EngineName)


def resolve(engine: str) -> str:
    """Returns the engine that `auto` stands for on this machine, or `engine` itself.

    C MuJoCo was 9 to 12 times as fast as MJX on the same two cores (`rollout` and `mjx` of four
    robots in benchmarks/results), so it is the choice wherever JAX has no accelerator.

    Raises:
        ValueError: `engine` is not one of `ENGINES`.
    """
    if engine not in ENGINES:
        raise ValueError(f"unknown physics engine {engine!r}; known: {', '.join(ENGINES)}")
    if engine != "auto":
        return engine
    return "mujoco" if jax.default_backend() == "cpu" else "mjx"


def make_engine(engine: str, model: mujoco.MjModel, num_envs: int = 1) -> PhysicsEngine:
    """Returns the named engine for `model`; `engine` is one of `ENGINES`.

    `num_envs` simulations at most are stepped side by side; only `mjx-warp` needs to know.

    Raises:
        ValueError: the name is unknown.
        EngineUnavailable: the engine cannot run on this machine, or none can step this model.
    """
    name = resolve(engine)
    if model.npluginstate or model.nhistory:
        what = "plugins that keep a state" if model.npluginstate else "delays"
        raise EngineUnavailable(
            f"the model has {what}, which would be lost between control steps: leave them out"
        )
    if model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP:
        raise EngineUnavailable(
            "the model lets bodies sleep, which no state keeps: leave the flag `sleep` out"
        )
    if name == "mujoco":
        from envs.physics.mujoco_engine import MujocoEngine

        return MujocoEngine(model)
    if name == "mjx":
        from envs.physics.mjx_engine import MjxEngine

        return MjxEngine(model)
    from envs.physics.warp_engine import WarpEngine

    return WarpEngine(model, num_envs)
