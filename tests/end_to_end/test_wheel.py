"""The wheel alone, without the repository: its data is in it and a run finishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import envs

REPOSITORY = Path(__file__).parents[2]
TINY = (
    *("--engine", "mujoco", "--num-envs", "8", "--steps", "256"),
    *("--set", "ppo.unroll_length=16", "--set", "ppo.minibatch_size=64"),
    *("--set", "evaluation.episodes=2", "--set", "evaluation.episodes_during_training=2"),
    *("--set", "evaluation.during_training=1"),
)


def check_output(*command: str | Path, cwd: Path) -> str:
    """Runs a command in a clean environment; returns its output, shows its errors if it fails."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    process = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    check_output(*build, cwd=REPOSITORY)
    (file,) = folder.glob("lamour_jax-*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and the dependencies, not the sources.

    The dependencies are those installed here; a line in a `.pth` file lends them, and does not
    pass on an editable install of the repository.
    """
    folder = tmp_path_factory.mktemp("venv")
    check_output(sys.executable, "-m", "venv", folder, cwd=folder)
    interpreter = folder / "bin" / "python"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    check_output(interpreter, *install, cwd=folder)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(check_output(interpreter, "-c", where, cwd=folder).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def test_wheel_holds_three_packages_and_their_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    top = {name.partition("/")[0] for name in names}
    assert top == {"lamour_jax", "envs", "reward_codegen", "lamour_jax-0.1.0.dist-info"}
    for name in envs.names():
        for file in envs.registry.get(name).file("robot.py").parent.iterdir():
            assert file.is_dir() or f"envs/robots/{name}/{file.name}" in names
    assert "envs/robots/README.md" in names
    for name in ("page.html", "page.css", "replay.js", "three.min.js"):
        assert f"lamour_jax/web/{name}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".TXT")]


def test_packages_are_the_wheels_and_find_their_data(python: Path, tmp_path: Path) -> None:
    program = """
import importlib.metadata
import json

import envs, lamour_jax, reward_codegen
from lamour_jax.policies import originals

robots = {
    name: [
        len(envs.registry.get(name).description()),
        len(envs.registry.get(name).file("reward.py").read_text()),
        name if name not in originals.names() else originals.load(name)[0].env,
        envs.registry.get(name).make_model().nu,
    ]
    for name in envs.names()
}
files = [module.__file__ for module in (envs, lamour_jax, reward_codegen)]
print(json.dumps([importlib.metadata.version("lamour-jax"), files, robots]))
"""
    version, files, robots = json.loads(check_output(python, "-c", program, cwd=tmp_path))
    assert version == "0.1.0"
    assert all(Path(file).is_relative_to(python.parents[1]) for file in files)
    assert set(robots) == set(envs.names())
    for name, (description, source, policy, actions) in robots.items():
        assert description > 500
        assert source > 200
        assert (policy, actions) == (name, envs.load(name).action_size)


@pytest.mark.slow
def test_a_run_finishes_in_another_folder(python: Path, tmp_path: Path) -> None:
    output = check_output(python, "-m", "lamour_jax.train", *TINY, cwd=tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["env_steps"] == 256
    assert result["versions"]["lamour-jax"] == "0.1.0"
    assert (folder / "report.html").stat().st_size > 500_000
    assert str(Path("runs") / folder.name) in output
