"""Nothing that is loaded runs code: no pickle, no exec, and hostile files are refused."""

from __future__ import annotations

import ast
import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lamour_jax import policies
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.run.checkpoints import Checkpoints, Identity
from tests.lamour_jax.probes import SMALL, Probe, make_learner, plus_or_minus_one

REPOSITORY = Path(__file__).parents[2]
FILES = sorted(
    file
    for package in ("envs", "reward_codegen", "lamour_jax", "benchmarks")
    for file in (REPOSITORY / package).rglob("*.py")
    if "results" not in file.parts
)
RUN_CODE_WHEN_LOADING = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
# What a process says to one that it started: to the child that draws for it, and to the workers of
# a grid on Ray. Nothing of it comes from a file.
BETWEEN_PROCESSES = {
    "envs/pictures/rendering.py",
    "envs/pictures/render_process.py",
    "benchmarks/ray_launcher.py",
}


def forbidden(tree: ast.AST) -> Iterator[str]:
    """Yields what could run code that was loaded."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                roots = {name.name.partition(".")[0] for name in names}
                yield from roots & RUN_CODE_WHEN_LOADING
            case ast.ImportFrom(module=str(module), names=names):
                yield from {module.partition(".")[0]} & RUN_CODE_WHEN_LOADING
                if module == "brax.io" and any(name.name == "model" for name in names):
                    yield "brax.io.model"  # its parameters are pickled
            case ast.Call(func=ast.Name(id=("exec" | "eval" | "compile" | "__import__") as name)):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr=attribute)):
                if not attribute.startswith("safe_"):
                    yield f"yaml.{attribute}"
            case ast.keyword(arg="allow_pickle", value=value):
                if not (isinstance(value, ast.Constant) and value.value is False):
                    yield "allow_pickle"
            case _:
                pass


def test_the_search_finds_them() -> None:
    source = """
import pickle
from dill import loads
from brax.io import model
exec(text)
yaml.load(text)
numpy.load(file, allow_pickle=True)
numpy.load(file, allow_pickle=False)
self.eval(node)
"""
    assert sorted(forbidden(ast.parse(source))) == sorted(
        ["pickle", "dill", "brax.io.model", "exec", "yaml.load", "allow_pickle"]
    )


def test_no_source_file_can_run_what_it_loads() -> None:
    assert len(FILES) > 100
    found = {
        file.relative_to(REPOSITORY).as_posix(): names
        for file in FILES
        if (names := set(forbidden(ast.parse(file.read_text(encoding="utf-8")))))
    }
    assert found == {file: {"pickle"} for file in found.keys() & BETWEEN_PROCESSES}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def hostile_files(folder: Path, target: Path) -> Iterator[Path]:
    """Yields files that run code when they are unpickled."""
    bare = folder / "bare.npz"
    bare.write_bytes(pickle.dumps(Payload(target)))
    yield bare
    array = io.BytesIO()
    np.save(array, np.array([Payload(target)], dtype=object), allow_pickle=True)
    single = folder / "single.npz"
    single.write_bytes(array.getvalue())
    yield single
    # A policy of ours, one array of which is replaced.
    good, evil = folder / "good.npz", folder / "evil.npz"
    header = policies.PolicyHeader("half_cheetah", 17, 6, (8,), "tanh", provenance={})
    policies.save(good, header, header.network().init(jax.random.key(0), 0.3))
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(evil, "w") as copy:
        for index, name in enumerate(source.namelist()):
            copy.writestr(name, array.getvalue() if index == 1 else source.read(name))
    yield evil


def test_hostile_policies_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "it-was-run"
    for file in hostile_files(tmp_path, target):
        with pytest.raises(UserError, match="policy file .* is (damaged|a pickle)") as caught:
            policies.load(file)
        assert len(str(caught.value).splitlines()) == 1
        assert not target.exists(), file
        # It is hostile: NumPy told to unpickle runs it.
        with file.open("rb") as opened:
            loaded: Any = np.load(opened, allow_pickle=True)
            if hasattr(loaded, "files"):
                list(loaded.values())
        assert target.exists(), file
        target.unlink()


def test_restoring_a_checkpoint_unpickles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one))
    identity = Identity(RunConfig(ppo=SMALL))
    state = learner.init(0)
    saved = [np.array(leaf) for leaf in jax.tree.leaves(state.agent)]
    checkpoints = Checkpoints(tmp_path / "checkpoints", identity, lambda line: None)
    checkpoints.save(256, state)
    checkpoints.close()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint was unpickled")

    template = learner.init(1)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    reopened = Checkpoints(tmp_path / "checkpoints", identity, lambda line: None)
    restored = reopened.restore(256, template)
    reopened.close()
    for ours, theirs in zip(jax.tree.leaves(restored.agent), saved, strict=True):
        np.testing.assert_array_equal(ours, theirs)
