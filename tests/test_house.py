"""The rules of the house, read from the source: who imports whom, and where a robot is named.

An import inside a function counts as well.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "envs": set(),
    "reward_codegen": set(),
    "lamour_jax": {"envs", "reward_codegen"},
    "benchmarks": {"envs", "reward_codegen", "lamour_jax"},
}
# The command line checks reward code on the states of a robot.
BRINGS_BOTH_TOGETHER = {"reward_codegen.__main__"}


def _modules(package: str) -> dict[str, Path]:
    """Returns the files of a package by the name under which they are imported."""
    found = {}
    for file in (ROOT / package).rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def _imports(file: Path, module: str) -> Iterator[str]:
    """Yields what a file imports: `package.module`, or `package.module.name`."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            named = [node.module] if node.module else []
            base = ".".join([*(above if node.level else []), *named])
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
    breaches = [
        f"{module} imports {name}"
        for module, file in _modules(package).items()
        if module not in BRINGS_BOTH_TOGETHER
        for name in _imports(file, module)
        if name.partition(".")[0] in forbidden
    ]
    assert not breaches


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_two_files_import_each_other_in_a_circle(package: str) -> None:
    modules = _modules(package)
    graph = {
        module: {
            known
            for name in _imports(file, module)
            if (known := name if name in modules else name.rpartition(".")[0]) in modules
        }
        - {module}
        for module, file in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_a_robot_is_named_in_its_folder_alone() -> None:
    robots = [folder.name for folder in (ROOT / "envs" / "robots").iterdir() if folder.is_dir()]
    pattern = re.compile(rf"\b({'|'.join(robots)})\b")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for package in ("envs", "reward_codegen", "lamour_jax")
        for file in (ROOT / package).rglob("*.py")
        if not file.is_relative_to(ROOT / "envs" / "robots")
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if pattern.search(line) and "DEFAULT_ROBOT" not in line
    ]
    assert not found
