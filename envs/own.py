"""Environments that do not ship: a folder of the user's, or a class named `FILE.py:CLASS`.

Loading one runs the user's file, as `python FILE.py` would, and checks what it defines before
anything is trained on it: each mistake is one line that says what is wrong and where.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from envs.mirror import Mirror
from envs.recovery_env import (
    FOLDER_FILES,
    ROBOT_FILE,
    EnvironmentUnavailable,
    RecoveryEnv,
)
from envs.start import Start

Result = TypeVar("Result")


class UnusableEnvironment(EnvironmentUnavailable):
    """A user's environment cannot be loaded, or lacks something; the message says what."""


def is_own(name: str) -> bool:
    """Returns whether `name` means a class of the user's rather than a known name."""
    return ":" in name or "/" in name or name.endswith(".py") or Path(name).is_dir()


def absolute(name: str) -> str:
    """Returns a folder's or `FILE.py:CLASS`'s absolute path, so that it holds in any folder."""
    place, separator, class_name = name.rpartition(":")
    if place.endswith(".py"):
        return f"{Path(place).resolve()}{separator}{class_name}"
    return str(Path(name).resolve()) if is_own(name) and not place else name


def load_class(name: str) -> type[RecoveryEnv]:
    """Loads and checks the class that a folder, `FILE.py:CLASS` or `package.module:CLASS` names.

    Raises:
        UnusableEnvironment: no such folder, file, module or class, an error while it is imported,
            or a class that is not a complete `RecoveryEnv`.
    """
    place, _, class_name = name.rpartition(":")
    file = place or name
    if not place and not file.endswith(".py"):
        return _load_folder(Path(name))
    module = _file_module(Path(file)) if file.endswith(".py") else _import(file)
    classes = [environment.__name__ for environment in classes_of(module)]
    if not place or class_name not in classes:
        defines = ", ".join(classes) or "none: subclass envs.RecoveryEnv"
        wanted = f"{file} has no environment class {class_name!r}" if place else f"{file} is a file"
        raise UnusableEnvironment(f"{wanted}; give {file}:CLASS, classes there: {defines}")
    environment: type[RecoveryEnv] = getattr(module, class_name)
    check(environment)
    return environment


def classes_of(module: ModuleType) -> list[type[RecoveryEnv]]:
    """Returns the environments that a module itself defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, RecoveryEnv)
        and value.__module__ == module.__name__
    ]


def _load_folder(folder: Path) -> type[RecoveryEnv]:
    if not folder.is_dir():
        raise UnusableEnvironment(f"{folder}: no such folder")
    file = folder / f"{ROBOT_FILE}.py"
    if not file.is_file():
        raise UnusableEnvironment(
            f"the robot's folder {folder} has no {file.name}; it has: {_listing(folder)}"
        )
    unknown = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.suffix in (".md", ".yaml", ".yml") and entry.name not in FOLDER_FILES
    )
    if unknown:
        nearest = difflib.get_close_matches(unknown[0], FOLDER_FILES, n=1, cutoff=0.0)[0]
        raise UnusableEnvironment(
            f"the robot's folder {folder} has {unknown[0]}, which nothing reads; rename it to "
            f"{nearest} or take it out (files that are read: {', '.join(FOLDER_FILES)})"
        )
    classes = classes_of(_file_module(file))
    if len(classes) != 1:
        defines = ", ".join(found.__name__ for found in classes) or "none"
        raise UnusableEnvironment(
            f"{file} must define one environment class, a subclass of envs.RecoveryEnv; it "
            f"defines: {defines}"
        )
    check(classes[0])
    return classes[0]


def _listing(folder: Path) -> str:
    return ", ".join(sorted(entry.name for entry in folder.iterdir())) or "nothing"


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
    env = _call(f"{where}()", lambda: environment(start="ood", engine=engine))
    _check_shapes(env, where)
    _check_mirror(env, where)


def _check_starts(environment: type[RecoveryEnv]) -> None:
    where = f"{environment.__name__}.starts()"
    starts = _call(where, environment.starts)
    if not isinstance(starts, dict) or not {"ordinary", "ood"} <= set(starts):
        known = ", ".join(map(str, starts)) if isinstance(starts, dict) else repr(starts)
        raise UnusableEnvironment(
            f"{where} must name at least the starts 'ordinary' and 'ood'; it has: {known}"
        )
    model = _call(f"{environment.__name__}.make_model()", environment.make_model)
    if not isinstance(model, mujoco.MjModel):
        raise UnusableEnvironment(
            f"{environment.__name__}.make_model() must return a mujoco.MjModel, not "
            f"{type(model).__name__}"
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


def _check_shapes(env: RecoveryEnv, where: str) -> None:
    """Traces what the class computes; nothing is simulated."""
    qpos, qvel = jnp.zeros(env.model.nq), jnp.zeros(env.model.nv)
    data = _call(where, lambda: jax.eval_shape(env.engine.init, qpos, qvel))
    action = jax.ShapeDtypeStruct((env.action_size,), jnp.float32)
    vector, scalar = "a vector of floats, `(size,)`", "a float, `()`"
    parts: dict[str, tuple[Callable[..., Any], tuple[Any, ...], int, Any, str]] = {
        "observe": (env.observe, (data,), 1, jnp.floating, vector),
        "recovery_state": (env.recovery_state, (data,), 1, jnp.floating, vector),
        "is_healthy": (env.is_healthy, (data,), 0, jnp.bool_, "a boolean, `()`"),
        "has_failed": (env.has_failed, (data,), 0, jnp.bool_, "a boolean, `()`"),
        "has_succeeded": (env.has_succeeded, (data,), 0, jnp.bool_, "a boolean, `()`"),
        "task_reward": (env.task_reward, (data, action, data), 0, jnp.floating, scalar),
        "control": (env.control, (data, action), 1, jnp.floating, vector),
    }
    for name, (function, arguments, ndim, kind, wanted) in parts.items():
        result = _call(f"{where}.{name}()", lambda f=function, a=arguments: jax.eval_shape(f, *a))  # type: ignore[misc]
        shaped = isinstance(result, jax.ShapeDtypeStruct)
        if not shaped or result.ndim != ndim or not jnp.issubdtype(result.dtype, kind):
            found = f"{result.dtype}{result.shape}" if shaped else type(result).__name__
            raise UnusableEnvironment(f"{where}.{name}() must return {wanted}, not {found}")


def _check_mirror(env: RecoveryEnv, where: str) -> None:
    mirror = _call(f"{where}.mirror()", type(env).mirror)
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


def _file_module(path: Path) -> ModuleType:
    """Imports a file, once; its folder's other modules can be imported by it."""
    if not path.is_file():
        raise UnusableEnvironment(f"{path}: no such file")
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does: dataclasses look their module up
    try:
        _call(f"{path.name}, when imported,", lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
    except UnusableEnvironment:
        del sys.modules[name]
        raise
    return module


def _import(name: str) -> ModuleType:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UnusableEnvironment(
            f"{name}: no module of that name can be imported; give FILE.py:CLASS or "
            "package.module:CLASS"
        )
    return _call(f"{name}, when imported,", lambda: importlib.import_module(name))


def _call(what: str, function: Callable[[], Result]) -> Result:
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
    packages = (Path(__file__).parent, *map(Path, {sys.prefix, sys.base_prefix}))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not any(file.is_relative_to(package) for package in packages):
            return f" ({file.name}, line {frame.lineno})"
    return ""
