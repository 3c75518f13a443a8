"""The robot of docs/bring_your_own.md, from its file to a recovered policy; and its mistakes."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import envs
from envs import registry
from lamour_jax import evaluate
from lamour_jax.train import Arguments, main, resolve

PAGE = (Path(__file__).parents[2] / "docs" / "bring_your_own.md").read_text(encoding="utf-8")
POLE, REWARD = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:2]
TINY = (
    *("--engine", "mujoco", "--num-envs", "8", "--steps", "512"),
    *("--set", "ppo.unroll_length=32", "--set", "ppo.minibatch_size=64", "--set", "ppo.epochs=1"),
    *("--set", "ppo.hidden_sizes=[8]", "--set", "evaluation.during_training=1"),
    *("--set", "evaluation.episodes=4", "--set", "evaluation.episodes_during_training=2"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of the page, as the current one; what is registered is forgotten."""
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(registry, "_OWN", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pole.py").write_text(POLE)
    (tmp_path / "pole_reward.py").write_text(REWARD)
    return tmp_path


def run(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(list(arguments)) == 0


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.slow
def test_one_folder_is_a_robot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's walk-through: a folder with a class and a reward, trained in both stages."""
    robot = folder / "pole"
    robot.mkdir()
    (robot / "robot.py").write_text(POLE)
    (robot / "reward.py").write_text(REWARD)
    (robot / "settings.yaml").write_text("recovery: {ppo: {horizon: 2.5}}\n")
    own = ("--env", "pole/", *TINY)
    run(*own, "--stage", "original", "--out", "original")
    (robot / "policy.npz").write_bytes((folder / "original" / "policy.npz").read_bytes())
    run(*own, "--reward", "library", "--out", "recovery")
    assert json.loads((folder / "recovery" / "result.json").read_text())["env"] == "pole"
    assert "horizon: 2.5" in (folder / "recovery" / "config.yaml").read_text()
    (robot / "setting.yaml").write_text("")
    registry._OWN.clear()
    assert "has setting.yaml, which nothing reads; rename it to settings.yaml" in error(
        capsys, *own
    )
    (robot / "setting.yaml").unlink()
    (robot / "settings.yaml").write_text("recovery: {ppo: {horizn: 2.5}}\n")
    assert "settings.yaml: unknown setting ppo.horizn; did you mean ppo.horizon" in error(
        capsys, *own
    )
    (robot / "robot.py").unlink()
    registry._OWN.clear()
    assert "pole has no robot.py; it has: " in error(capsys, *own)


@pytest.mark.slow
def test_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--env", "pole.py:Pole")
    run(*own, *TINY, "--stage", "original", "--out", "original")
    policy = ("--policy", "original/policy.npz")
    assert "pole-reward.py does not exist" in error(capsys, *own, *policy, *TINY)
    run(*own, *policy, "--reward", "pole_reward.py", *TINY, "--out", "recovery")
    result = json.loads((folder / "recovery" / "result.json").read_text())
    assert result["env"] == "pole"
    assert {"ood", "ood-noisy", "ordinary"} <= set(result["evaluations"])
    # The run knows its robot from any folder.
    config = (folder / "recovery" / "config.yaml").read_text()
    assert f"env: {folder.resolve() / 'pole.py'}:Pole" in config
    with contextlib.redirect_stdout(io.StringIO()):
        assert evaluate.main(["recovery", "--engine", "mujoco", "--episodes", "2"]) == 0
    (folder / "pole.py").unlink()
    registry._OWN.clear()
    assert evaluate.main(["recovery"]) == 2
    assert "pole.py: no such file" in capsys.readouterr().err


def test_its_folder_may_have_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine").mkdir()
    (folder / "pole.py").rename(folder / "mine" / "robot.py")
    settings = folder / "mine" / "settings.yaml"
    settings.write_text("recovery: {steps: 4096, ppo: {horizon: 1}}")
    config = resolve(Arguments(env="mine", num_envs=8))
    assert (config.steps, config.ppo.horizon, config.ppo.num_envs) == (4096, 1.0, 8)
    settings.write_text("original: {ppo: {clib: 0.1}}")
    said = error(capsys, "--env", "mine")
    assert f"{settings}: unknown setting ppo.clib; did you mean ppo.clip?" in said


def test_what_it_leaves_out_has_defaults() -> None:
    env = envs.load("pole.py:Pole", start="ood-noisy", engine="mujoco")
    starts = env.all_starts()
    np.testing.assert_allclose(starts["ood-noisy"].qpos_noise, [0.3])
    assert env.time_limit == 100
    told = env.description()
    assert "Observation (3): cosine and sine of its angle" in told
    assert "`hinge`: hinge" in told
    assert "action[0]: `motor`" in told
    Path("pole-description.md").write_text("# Pole\n")
    assert env.description() == "# Pole\n"
    assert envs.load("pole", engine="mujoco").name == "pole", "not registered under its name"


def changed(old: str, new: str) -> Callable[[], str]:
    assert old in POLE
    return lambda: POLE.replace(old, new)


NO_MIRROR = """
    @classmethod
    def mirror(cls):
        return 1

    def observe"""


def mirror_of_size(size: int) -> Callable[[], str]:
    mirror = f"Mirror(Reflection.by_name(list('abcdef'[:{size}]), []), Reflection.by_name('t', []))"
    method = NO_MIRROR.replace("return 1", f"return {mirror}")
    add = changed("    def observe", method)
    return lambda: "from envs.mirror import Mirror, Reflection\n" + add()


MISTAKES: dict[str, tuple[Callable[[], str], str]] = {
    "syntax": (lambda: "class Pole(:", "SyntaxError: invalid syntax (robot.py, line 1)"),
    "import": (
        lambda: "import nothing_there",
        "No module named 'nothing_there' (robot.py, line 1)",
    ),
    "no class": (lambda: "x = 1", "robot.py has no environment class 'Pole'"),
    "part missing": (changed("def is_healthy", "def is_wealthy"), "not define is_healthy()"),
    "attribute missing": (changed("frame_skip = 5", ""), "Pole does not define frame_skip"),
    "frame skip": (changed("frame_skip = 5", "frame_skip = 0"), "must be at least 1, not 0"),
    "name": (changed('name = "pole"', 'name = "a/b"'), "letters, digits, - and _, not 'a/b'"),
    "taken": (changed('name = "pole"', 'name = "ant"'), "another environment is named 'ant'"),
    "no ood": (changed('"ood":', '"odd":'), "it has: ordinary, odd"),
    "pose": (changed("[2.5]", "[2.5, 0.0]"), "starts()['ood'].qpos must have shape (1,)"),
    "model": (changed('type="hinge"', 'type="hing"'), "make_model() raised ValueError: XML Error"),
    "health": (changed("<= 0.5", "- 0.5"), "is_healthy() must return a boolean"),
    "error": (changed("data.qvel[0]]", "data.speed[0]]"), "no attribute 'speed' (robot.py, line "),
    "mirror": (mirror_of_size(4), "an observation and 1 of an action, it has 3 and 1"),
    "no mirror": (changed("    def observe", NO_MIRROR), "an envs.mirror.Mirror, not int"),
    "condition": (
        changed(
            "return jnp.abs(self._angle(data)) <= 0.5", "return self._angle(data) < 1 or False"
        ),
        "raised TracerBoolConversionError",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_in_the_file_are_one_line(
    case: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, expected = MISTAKES[case]
    (folder / "robot.py").write_text(content())
    assert expected in error(capsys, "--env", "robot.py:Pole")
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pole.py", "pole.py is a file; give pole.py:CLASS, classes there: Pole"),
        ("pole.py:Stick", "no environment class 'Stick'; give pole.py:CLASS, classes there: Pole"),
        ("poles.py:Pole", "poles.py: no such file"),
        ("no.such.module:Pole", "no.such.module: no module of that name"),
        ("pole.py:", "no environment class ''"),
        (":Pole", ":Pole: no such folder"),
        ("pole.py:Pole", "no original policy ships for 'pole'; train one with"),
    ],
)
def test_mistakes_in_the_name_are_one_line(
    name: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in error(capsys, "--env", name)


def test_a_module_that_can_be_imported(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "my_robots.py").write_text(POLE.replace('name = "pole"', 'name = "my_pole"'))
    assert envs.load("my_robots:Pole", engine="mujoco").name == "my_pole"
