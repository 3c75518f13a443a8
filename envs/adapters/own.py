"""Environments that do not ship: a folder of the user's, or a class named `FILE.py:CLASS`.

Loading one runs the user's file, as `python FILE.py` would, and checks what it defines
(`envs.adapters.check`) before anything is trained on it.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from envs.adapters.check import UnusableEnvironment, called, check
from envs.recovery_env import FOLDER_FILES, ROBOT_FILE, RecoveryEnv


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
        called(f"{path.name}, when imported,", lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]
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
    return called(f"{name}, when imported,", lambda: importlib.import_module(name))
