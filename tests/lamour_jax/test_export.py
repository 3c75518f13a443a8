"""Exported policies act as the run's, in runtimes that know nothing of this package."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

import envs
from envs.mirror import Mirror, Reflection
from lamour_jax import export as module
from lamour_jax import onnx_graph, policies
from lamour_jax.export import main, policy_function, random_observations
from lamour_jax.policies import PolicyHeader, originals
from lamour_jax.ppo.networks import ACTIVATIONS, OUTPUTS, Agent
from lamour_jax.robot_settings import preset
from tests import shipped

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

DEPLOYMENT = Path(__file__).parents[2] / "docs" / "deployment.md"


def other(header: PolicyHeader, seed: int) -> Agent:
    """Returns an agent with weights of order 1, and a normaliser that has seen something."""
    agent = header.network().init(jax.random.key(seed), 0.3)
    rng = np.random.default_rng(seed)
    statistics = agent.observation_statistics.replace(
        mean=jnp.asarray(rng.normal(size=header.observation_size), jnp.float32),
        std=jnp.asarray(rng.uniform(0.25, 3.0, header.observation_size), jnp.float32),
    )
    params = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0.0, 0.3, x.shape), jnp.float32), agent.params
    )
    return agent.replace(params=params, observation_statistics=statistics)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished recovery run of a half cheetah whose policy is not the original one."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(preset("half_cheetah", "recovery").to_yaml())
    (folder / "reward.py").write_text(shipped.source("half_cheetah"))
    (folder / "result.json").write_text("{}")
    header, _ = originals.load("half_cheetah")
    policies.save(folder / "policy.npz", header, other(header, 1))
    return folder


def exported(*arguments: str | Path) -> str:
    """Runs the command; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(argument) for argument in arguments]) == 0
    return printed.getvalue()


def error(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


def run_onnx(file: Path, observations: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["action"], {"observation": observations})[0])


def test_recovery_run(run: Path) -> None:
    said = exported(run)
    out = run / "export"
    facts = json.loads((out / "export.json").read_text())
    for name, path in (("policy", run / "policy.npz"), ("original", "")):
        header, agent = originals.load("half_cheetah", str(path))
        observations = random_observations(agent)
        expected = np.asarray(policy_function(header, agent)(observations))
        assert np.abs(expected).max() == 1.0, "nothing is clipped"
        restored = jax.export.deserialize(bytearray((out / f"{name}.jax_export").read_bytes()))
        np.testing.assert_allclose(restored.call(observations), expected, atol=1e-5)
        np.testing.assert_allclose(
            run_onnx(out / f"{name}.onnx", observations), expected, atol=1e-5
        )
        np.testing.assert_allclose(
            run_onnx(out / f"{name}.onnx", observations[:1]), expected[:1], atol=1e-5
        )
        for file in (f"{name}.jax_export", f"{name}.onnx"):
            assert facts["largest_difference"][file] <= facts["tolerance"] == 1e-5
            assert f"{file}: largest difference" in said
    written = onnx.load(out / "policy.onnx")
    assert written.opset_import[0].version == facts["onnx_opset"] == onnx_graph.OPSET
    assert {entry.key: entry.value for entry in written.metadata_props}["robot"] == "half_cheetah"

    env = envs.load("half_cheetah", engine="mujoco")
    restored = jax.export.deserialize(bytearray((out / "is_recovered.jax_export").read_bytes()))
    states = jnp.zeros((2, 17)).at[1, 1].set(-2.9)  # standing, on its back
    assert restored.call(states).tolist() == [True, False]
    model = mujoco.MjModel.from_binary_path(str(out / "robot.mjb"))
    np.testing.assert_array_equal(model.body_mass, env.model.body_mass)
    assert facts["physics_steps"] == env.frame_skip
    assert facts["control_timestep"] == pytest.approx(env.control_timestep)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_network_as_onnx(activation: str, output: str, tmp_path: Path) -> None:
    header = PolicyHeader("robot", 7, 3, (32, 16, 8), activation, {}, output=output)
    agent = other(header, 2)
    file = tmp_path / "policy.onnx"
    file.write_bytes(onnx_graph.policy_model(header, agent, {}).SerializeToString())
    observations = random_observations(agent)
    expected = np.asarray(policy_function(header, agent)(observations))
    np.testing.assert_allclose(run_onnx(file, observations), expected, atol=1e-5)


def test_a_policy_that_is_alike_on_both_sides_as_onnx(tmp_path: Path) -> None:
    sides = ["left_hand", "left_foot", "lean", "right_hand", "right_foot", "turn", "height"]
    mirror = Mirror(
        observation=Reflection.by_name(sides, ["turn", "hand"]),
        action=Reflection.by_name(["left_arm", "right_arm", "turn"], ["turn"], {"turn": 0.1}),
    )
    header = PolicyHeader("robot", 7, 3, (16, 8), "elu", {}, mirror=mirror)
    agent = other(header, 2)
    file = tmp_path / "policy.onnx"
    file.write_bytes(onnx_graph.policy_model(header, agent, {}).SerializeToString())
    observations = random_observations(agent)
    expected = np.asarray(policy_function(header, agent)(observations))
    np.testing.assert_allclose(run_onnx(file, observations), expected, atol=1e-5)


def test_run_of_the_original_stage(run: Path) -> None:
    (run / "config.yaml").write_text(preset("half_cheetah", "original").to_yaml())
    (run / "reward.py").unlink()
    exported(run, "--out", run / "here")
    names = {file.name for file in (run / "here").iterdir()}
    assert names == {"policy.jax_export", "policy.onnx", "robot.mjb", "export.json"}


def test_without_onnx_the_rest_is_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "missing_for_onnx", lambda: ["onnx"])
    said = exported(run)
    assert "no ONNX files: onnx not installed; pip install 'lamour-jax[export]'" in said
    names = {file.name for file in (run / "export").iterdir()}
    assert "policy.jax_export" in names
    assert not any(name.endswith(".onnx") for name in names)


def test_a_file_that_does_something_else_is_an_error(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx_graph.policy_model

    def slightly_wrong(header: PolicyHeader, agent: Agent, about: dict[str, str]) -> object:
        return model(dataclasses.replace(header, output="tanh"), agent, about)

    monkeypatch.setattr(onnx_graph, "policy_model", slightly_wrong)
    assert "policy.onnx, original.onnx: further than 1e-05" in error(capsys, run)


def test_mistakes_are_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run in" in error(capsys, run / "nowhere")
    (run / "export").mkdir()
    (run / "export" / "mine").touch()
    assert "is not empty; give --out a new folder" in error(capsys, run)
    assert "is a file" in error(capsys, run, "--out", run / "policy.npz")
    reward = run / "reward.py"
    reward.write_text("print('no functions')")
    assert "reward.py cannot be used" in error(capsys, run, "--out", run / "new")
    reward.write_text(shipped.source("half_cheetah"))
    (run / "policy.npz").write_bytes(b"not a policy")
    assert "is damaged or not a policy file" in error(capsys, run, "--out", run / "new")
    (run / "result.json").unlink()
    assert f"--resume {run}" in error(capsys, run)
    assert not (run / "new").exists()


def test_the_loop_of_the_docs_runs_without_this_package(run: Path, tmp_path: Path) -> None:
    exported(run)
    code = re.search(r"```python\n(.*?)```", DEPLOYMENT.read_text(), re.DOTALL)
    assert code is not None
    check = (
        "\nassert not {'lamour_jax', 'envs', 'reward_codegen', 'flax', 'brax'} & set(sys.modules)"
    )
    loop = tmp_path / "loop.py"
    loop.write_text(code[1].replace("range(400)", "range(20)") + check)
    process = subprocess.run(
        [sys.executable, "-I", str(loop), str(run / "export")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("step 0: recovered policy\n")
    assert "pitch = " in process.stdout
