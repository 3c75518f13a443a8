"""What is checked of a user's environment before anything is trained on it.

Each mistake is one line that says what is wrong, where, and what would be right.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.mirror import Mirror
from envs.recovery_env import EnvironmentUnavailable, RecoveryEnv, State
from envs.start import Start

Result = TypeVar("Result")

# What is let pass of a start's values: in a quaternion's length, beyond a joint's range [rad or m],
# and how deep a pose lies in what it touches [m].
UNIT, RANGE, DEPTH = 1e-3, 0.05, 0.05


class UnusableEnvironment(EnvironmentUnavailable):
    """A user's environment cannot be loaded, or lacks something; the message says what."""


def check(environment: type[RecoveryEnv]) -> None:
    """Checks that a class has everything that the rest relies on, in the right shapes.

    Raises:
        UnusableEnvironment: it has not; the message says what to define or to change.
    """
    where = environment.__name__
    needed = ["name", "original_task", "frame_skip"]
    missing = [name for name in needed if not hasattr(environment, name)]
    missing += [f"{name}()" for name in sorted(environment.__abstractmethods__)]
    if missing:
        raise UnusableEnvironment(
            f"{where} does not define {', '.join(missing)} (see docs/bring_your_own.md)"
        )
    if not isinstance(environment.name, str) or not re.fullmatch(r"[\w-]+", environment.name):
        raise UnusableEnvironment(
            f"{where}.name must be made of letters, digits, - and _, not {environment.name!r}"
        )
    for attribute in ("frame_skip", "episode_length"):
        value = getattr(environment, attribute)
        if type(value) is not int or value < 1:
            raise UnusableEnvironment(f"{where}.{attribute} must be at least 1, not {value!r}")
    _check_starts(environment)
    engine = environment.engines[0] if "mujoco" not in environment.engines else "mujoco"
    env = called(f"{where}()", lambda: environment(start="ood", engine=engine))
    _check_hooks(env, where)
    if engine == "mujoco":
        _check_step(env, where)
    if engine == "mujoco":
        _check_numbers(env, where)
    _check_mirror(env, where)


def _check_starts(environment: type[RecoveryEnv]) -> None:
    where = f"{environment.__name__}.starts()"
    starts = called(where, environment.starts)
    if not isinstance(starts, dict) or not {"ordinary", "ood"} <= set(starts):
        known = ", ".join(map(str, starts)) if isinstance(starts, dict) else repr(starts)
        raise UnusableEnvironment(
            f"{where} must name at least the starts 'ordinary' and 'ood'; it has: {known}"
        )
    model = called(f"{environment.__name__}.make_model()", environment.make_model)
    if not isinstance(model, mujoco.MjModel):
        raise UnusableEnvironment(
            f"{environment.__name__}.make_model() must return a mujoco.MjModel, not "
            f"{type(model).__name__}"
        )
    again = environment.make_model()
    if not np.array_equal(_bytes(model), _bytes(again)):
        raise UnusableEnvironment(
            f"{environment.__name__}.make_model() makes another model each time it is called; "
            "training and evaluation would not be of one robot: take what is random out"
        )
    for name, start in starts.items():
        if not isinstance(start, Start):
            raise UnusableEnvironment(f"{where}[{name!r}] must be an envs.Start, not {start!r}")
        shapes = {
            "qpos": (np.shape(start.qpos)[-1:], (model.nq,)),
            "qpos_noise": (np.shape(start.qpos_noise), (model.nq,)),
            "qvel_noise": (np.shape(start.qvel_noise), (model.nv,)),
        }
        for part, (shape, wanted) in shapes.items():
            if shape != wanted and not (part != "qpos" and shape == ()):
                raise UnusableEnvironment(
                    f"{where}[{name!r}].{part} must have shape {wanted} for this model, not "
                    f"{np.shape(getattr(start, part))}"
                )
        _check_values(model, f"{where}[{name!r}]", start)


def _check_values(model: mujoco.MjModel, where: str, start: Start) -> None:
    """Checks the poses of a start, of a bank the first few, by what they say."""
    poses = np.atleast_2d(np.asarray(start.qpos, float))
    if not len(poses):
        raise UnusableEnvironment(f"{where}.qpos is an empty bank; give at least one pose")
    limit = start.time_limit
    if limit is not None and (type(limit) is not int or limit < 1):
        raise UnusableEnvironment(f"{where}.time_limit must be a whole number from 1, not {limit}")
    velocities = np.shape(start.qvel)
    if velocities not in ((), (model.nv,), (*np.shape(start.qpos)[:-1], model.nv)):
        raise UnusableEnvironment(
            f"{where}.qvel must have shape {(model.nv,)} for this model, not {velocities}"
        )
    numbers = {name: getattr(start, name) for name in ("qpos", "qvel", "qpos_noise", "qvel_noise")}
    for name, value in numbers.items():
        if not np.isfinite(value).all():
            raise UnusableEnvironment(f"{where}.{name} has numbers that are not finite")
    for pose in poses[:64]:
        for joint in range(model.njnt):
            _check_joint(model, where, pose, joint)
        _check_depth(model, where, pose)


def _check_joint(model: mujoco.MjModel, where: str, pose: np.ndarray, joint: int) -> None:
    kind, address = mujoco.mjtJoint(model.jnt_type[joint]), int(model.jnt_qposadr[joint])
    name = model.joint(joint).name or f"number {joint}"
    if kind in (mujoco.mjtJoint.mjJNT_FREE, mujoco.mjtJoint.mjJNT_BALL):
        begin = address + 3 if kind == mujoco.mjtJoint.mjJNT_FREE else address
        length = float(np.linalg.norm(pose[begin : begin + 4]))
        if abs(length - 1.0) > UNIT:
            raise UnusableEnvironment(
                f"{where}.qpos[{begin}:{begin + 4}] is the rotation of joint {name}: a unit "
                f"quaternion (w, x, y, z), not one of length {length:.3g}"
            )
    elif model.jnt_limited[joint]:
        low, high = model.jnt_range[joint]
        if not low - RANGE <= pose[address] <= high + RANGE:
            raise UnusableEnvironment(
                f"{where}.qpos[{address}] puts joint {name} at {pose[address]:.3g}, outside of its "
                f"range from {low:.3g} to {high:.3g}"
            )


def _check_depth(model: mujoco.MjModel, where: str, pose: np.ndarray) -> None:
    data = mujoco.MjData(model)
    data.qpos[:] = pose
    mujoco.mj_forward(model, data)
    depth = max((-contact.dist for contact in data.contact), default=0.0)
    if depth > DEPTH:
        raise UnusableEnvironment(
            f"{where}.qpos lies {depth:.2g} m deep in what it touches; lift it by as much"
        )


def _bytes(model: mujoco.MjModel) -> np.ndarray:
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    return content


def _check_hooks(env: RecoveryEnv, where: str) -> None:
    """Traces what the class computes of one simulation; nothing is simulated."""
    qpos, qvel = jnp.zeros(env.model.nq), jnp.zeros(env.model.nv)
    data = called(where, lambda: jax.eval_shape(env.engine.init, qpos, qvel))
    key = jax.eval_shape(lambda: jax.random.key(0))
    memory = _traced_twice(env, f"{where}.remember()", env.remember, (data, key))
    _traced_twice(env, f"{where}.randomize()", lambda key: env.randomize(env.model, key), (key,))
    _check_observations(env, where, data, memory)
    action = jax.ShapeDtypeStruct((env.action_size,), jnp.float32)
    _traced_twice(env, f"{where}.advance()", env.advance, (memory, data, action, key))
    vector, scalar, boolean = "a vector of floats, `(size,)`", "a float, `()`", "a boolean, `()`"
    hooks: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int, Any, str]] = {
        "recovery_state": (env.recovery_state, (data, memory), 1, jnp.floating, vector),
        "is_healthy": (env.is_healthy, (data,), 0, jnp.bool_, boolean),
        "has_failed": (env.has_failed, (data,), 0, jnp.bool_, boolean),
        "has_succeeded": (env.has_succeeded, (data,), 0, jnp.bool_, boolean),
        "control": (env.control, (data, action), 1, jnp.floating, vector),
        "task_reward": (env.task_reward, (action, data, memory), 0, jnp.floating, scalar),
    }
    for name, (hook, arguments, ndim, kind, wanted) in hooks.items():
        if name == "task_reward":  # the state before is made of what the others return
            before = called(where, lambda: jax.eval_shape(env.begin_at, qpos, qvel))
            arguments = (before, *arguments)
        result = _traced_twice(env, f"{where}.{name}()", hook, arguments)
        shaped = isinstance(result, jax.ShapeDtypeStruct)
        if not shaped or result.ndim != ndim or not jnp.issubdtype(result.dtype, kind):
            found = f"{result.dtype}{result.shape}" if shaped else type(result).__name__
            raise UnusableEnvironment(f"{where}.{name}() must return {wanted}, not {found}")
        if name == "control" and result.shape != (env.model.nu,):
            raise UnusableEnvironment(
                f"{where}.control() must return one number for each of the {env.model.nu} "
                f"actuators, not {result.shape[0]}"
            )


def _check_observations(env: RecoveryEnv, where: str, data: Any, memory: Any) -> None:
    seen = _traced_twice(env, f"{where}.observe()", env.observe, (data, memory))
    parts = seen if isinstance(seen, dict) else {"policy": seen}
    if "policy" not in parts or parts.keys() - {"policy", "critic"}:
        raise UnusableEnvironment(
            f"{where}.observe() must return a vector or a dictionary with 'policy' and, where the "
            f"critic sees more, 'critic', not one with {', '.join(map(str, parts)) or 'nothing'}"
        )
    for name, part in parts.items():
        shaped = isinstance(part, jax.ShapeDtypeStruct)
        floats = shaped and part.ndim == 1 and jnp.issubdtype(part.dtype, jnp.floating)
        if not floats or not part.size:
            found = f"{part.dtype}{part.shape}" if shaped else type(part).__name__
            raise UnusableEnvironment(
                f"{where}.observe() must return a vector of floats, `(size,)`, not {found} "
                f"({name!r})"
            )


def _traced_twice(
    env: RecoveryEnv, what: str, hook: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any:
    """Returns the shapes of what a hook computes, which must be a pure function.

    Raises:
        UnusableEnvironment: it computes something else the second time, or remembers on `self`.
    """

    def trace() -> tuple[str, list[np.ndarray], Any]:
        def anew(*given: Any) -> Any:  # of the same function JAX would return the first trace
            return hook(*given)

        closed, shapes = jax.make_jaxpr(anew, return_shape=True)(*arguments)
        return str(closed.jaxpr), [np.asarray(const) for const in closed.consts], shapes

    (first, numbers, shapes), (second, others, _) = called(what, lambda: (trace(), trace()))
    kept = [name for name, value in vars(env).items() if isinstance(value, jax.core.Tracer)]
    if kept:
        raise UnusableEnvironment(
            f"{what} keeps a traced value in self.{kept[0]}, which is gone afterwards; keep it in "
            "the episode's memory, by remember() and advance()"
        )
    alike = first == second and len(numbers) == len(others)
    if not alike or not all(map(np.array_equal, numbers, others)):
        raise UnusableEnvironment(
            f"{what} is another function each time it is called; random numbers of NumPy or Python "
            "become constants: draw by the key of remember() or advance(), with jax.random"
        )
    return shapes


def _check_step(env: RecoveryEnv, where: str) -> None:
    """Traces a step and a restart of two environments: a state keeps its shapes and types."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    before = called(f"{where}.reset()", lambda: jax.eval_shape(jax.vmap(env.reset), keys))
    action = jax.ShapeDtypeStruct((2, env.action_size), jnp.float32)
    step, restart = jax.vmap(env.step), jax.vmap(env.restart)
    after = called(f"a step of {where}", lambda: jax.eval_shape(step, before, action))
    # Before the restart, which cannot choose between states of different parts.
    _check_alike(where, before, after)
    after = called(f"a restart of {where}", lambda: jax.eval_shape(restart, after))
    _check_alike(where, before, after)


def _check_alike(where: str, before: State, after: State) -> None:
    # The physics is the engine's: another environment's may well have other parts after a step.
    before, after = before.replace(data=()), after.replace(data=())
    if str(jax.tree.structure(before)) != str(jax.tree.structure(after)):
        raise UnusableEnvironment(
            f"{where}: the parts of the observation or of the memory differ between the start of "
            "an episode and a later step; return the same ones from observe(), remember() and "
            "advance()"
        )
    leaves = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, first), later in leaves:
        if (first.shape, first.dtype) != (later.shape, later.dtype):
            raise UnusableEnvironment(
                f"{where}: {jax.tree_util.keystr(path, simple=True, separator='.')} is "
                f"{first.dtype}{first.shape[1:]} at a start and {later.dtype}{later.shape[1:]} "
                "after a step; return the same shape and type"
            )


def _check_numbers(env: RecoveryEnv, where: str) -> None:
    """Takes one step from a start: what the class computes of it must be numbers."""
    key = jax.random.key(0)
    begun = called(f"{where}.reset()", lambda: env.reset(key))
    ended = called(f"a step of {where}", lambda: env.step(begun, jnp.zeros(env.action_size)))
    for moment, state in (("at a start", begun), ("after a step", ended)):
        if not np.isfinite(state.data.qpos).all():
            raise UnusableEnvironment(
                f"{where}: the physics is not finite {moment}; look at randomize(), control() and "
                f"the model: qpos is {np.asarray(state.data.qpos)}"
            )
        parts = {
            **{f"observe() ({name!r})": part for name, part in state.obs.items()},
            "recovery_state()": state.recovery_state,
            "task_reward()": state.episode.task_reward,
        }
        for name, part in parts.items():
            if not np.isfinite(part).all():
                raise UnusableEnvironment(f"{where}.{name} is not finite {moment}: {part}")


def _check_mirror(env: RecoveryEnv, where: str) -> None:
    mirror = called(f"{where}.mirror()", type(env).mirror)
    if mirror is None:
        return
    if not isinstance(mirror, Mirror):
        raise UnusableEnvironment(
            f"{where}.mirror() must return an envs.mirror.Mirror, not {type(mirror).__name__}"
        )
    try:
        mirror.check(env.observation_size, env.action_size)
    except ValueError as error:
        raise UnusableEnvironment(f"{where}.mirror(): {error}") from None


def called(what: str, function: Callable[[], Result]) -> Result:
    """Calls the user's code; an error in it becomes one line with its place."""
    try:
        return function()
    except EnvironmentUnavailable:
        raise
    except Exception as error:  # whatever the user's code raises
        message = " ".join(str(error).split())[:300]
        raise UnusableEnvironment(
            f"{what} raised {type(error).__name__}: {message}{_place(error)}"
        ) from None


def _place(error: Exception) -> str:
    """Returns where in the user's code an error arose, ` (FILE, line N)`, if it did there."""
    if isinstance(error, SyntaxError):
        return ""  # its message has file and line
    packages = (Path(__file__).parents[1], *map(Path, {sys.prefix, sys.base_prefix}))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not any(file.is_relative_to(package) for package in packages):
            return f" ({file.name}, line {frame.lineno})"
    return ""
