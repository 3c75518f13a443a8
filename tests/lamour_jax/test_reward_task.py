"""What a model is told of an environment, and the states that its programs are tried on."""

from __future__ import annotations

import dataclasses
import io
import re
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import envs
import lamour_jax.reward_task as module
from lamour_jax.errors import UserError
from lamour_jax.reward_task import interpolate_pose, reward_task, state_in_words
from reward_codegen.writer.task import RewardTask


@cache
def hopper() -> tuple[RewardTask, tuple[str, ...]]:
    """A hopper's task, and what was said while it was built."""
    said: list[str] = []
    task = reward_task("hopper", say=said.append)
    return task, tuple(said)


def test_the_task_is_the_environments() -> None:
    task, _ = hopper()
    assert (task.name, task.state_size, task.action_size) == ("hopper", 11, 3)
    assert task.description == envs.registry.get("hopper").description()
    assert task.original_task == envs.registry.get("hopper").original_task
    assert not task.manipulation


def test_there_is_a_picture_or_a_line_that_says_why_not() -> None:
    task, said = hopper()
    if task.picture is None:
        assert "no picture for the model" in said[0]
        return
    assert said == ()
    with Image.open(io.BytesIO(task.picture)) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) >= 400
        assert len(set(picture.convert("L").tobytes())) > 10, "the picture is blank"


def test_without_graphics_the_state_is_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    said: list[str] = []
    env = envs.load("hopper", engine="mujoco")
    assert module._picture(env, "ood", said.append) is None
    (line,) = said
    assert "no picture for the model, which is told the state in numbers instead" in line
    assert "apt-get install" in line


@pytest.mark.parametrize("name", envs.names())
def test_the_state_in_words(name: str) -> None:
    env = envs.load(name, engine="mujoco")
    words = state_in_words(env.description(), np.asarray(module._state(env, "ood")))
    lines = words.splitlines()
    assert len(lines) > 2
    assert all(re.match(r"- state\[\d+\] = -?\d+\.\d{3}( .*)?: \w", line) for line in lines[:-1])
    assert lines[-1] == "- all other entries of the state are 0"


def test_entries_without_a_meaning_are_told_too() -> None:
    """A robot that its docstring describes has no table; its start is no less far from 0."""
    named = "# Robot\n\n## State\n\n| 2 | `slide` | height | m | any | 1 |\n| 9 | a | b | - | c |\n"
    state = np.array([1.0, 0.0, 2.0, -0.5, 0.25, 0.0001])
    assert state_in_words("A robot of four legs.", state) == (
        "- state[0] = 1.000\n"
        "- state[2] to state[4] = 2.000, -0.500, 0.250\n"
        "- all other entries of the state are 0"
    )
    assert state_in_words(named, state).splitlines()[1:3] == [
        "- state[2] = 2.000 m: height",
        "- state[3] to state[4] = -0.500, 0.250",
    ]
    assert state_in_words(named, np.zeros(6)) == "- all entries of the state are 0"
    full = state_in_words(named, np.array([np.nan, *range(1, 23)]))
    assert full.startswith("- state[0] to state[1] = nan, 1.000\n")
    assert "all other" not in full and all(f"{number}.000" in full for number in range(1, 23))


def test_a_start_that_moves_is_told_as_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    env = envs.load("hopper", engine="mujoco")
    still = env.all_starts()["ood"]
    moving = dataclasses.replace(still, qvel=np.arange(1.0, 7.0))
    monkeypatch.setattr(env, "all_starts", lambda: {"ood": moving})
    np.testing.assert_allclose(module._state(env, "ood")[5:], moving.qvel, rtol=1e-6)
    assert "all other" in state_in_words(env.description(), np.asarray(module._state(env, "ood")))


def test_the_probes_are_what_they_are_called() -> None:
    task, _ = hopper()
    probes = task.probes
    probes.check(task.state_size, task.action_size)
    env = envs.load("hopper", engine="mujoco")
    # The observation is qpos without x, then qvel; nothing here is fast enough to be clipped.
    x = jnp.zeros(1)

    def healthy(state: np.ndarray) -> bool:
        data = env.engine.init(jnp.concatenate([x, state[:5]]), jnp.asarray(state[5:]))
        return bool(env.is_healthy(data))

    assert not any(healthy(state) for state in probes.ood[::8])
    assert all(healthy(state) for state in probes.original[::64])
    assert np.ptp(probes.original[:, 5:], axis=0).max() > 0.5, "the original policy does not move"
    for path in probes.between[::6]:
        assert not healthy(path[0])
        assert healthy(path[-1])
        steps = np.abs(np.diff(path[:, :5], axis=0))
        np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-5)
    assert np.isfinite(probes.extreme).all()
    assert np.abs(probes.extreme).max() > 1e4
    assert np.abs(probes.actions).max() == 1.0
    assert (probes.actions[0] == 0.0).all()


def test_the_probes_are_the_same_every_time() -> None:
    first = hopper()[0].probes
    second = reward_task("hopper", picture=False).probes
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_poses_between_turn_the_short_way_round() -> None:
    model = envs.registry.get("ant").make_model()
    starts = envs.registry.get("ant").starts()
    first, last = starts["ood"].qpos, starts["ordinary"].qpos
    poses = np.array([interpolate_pose(model, first, last, f) for f in np.linspace(0, 1, 11)])
    np.testing.assert_allclose(np.linalg.norm(poses[:, 3:7], axis=1), 1.0)
    np.testing.assert_allclose(poses[:, 2], np.linspace(first[2], last[2], 11))
    # Upside down to upright is a turn by pi, in equal steps.
    turned = 2.0 * np.arccos(np.clip(np.abs(poses[:, 3]), 0.0, 1.0))
    np.testing.assert_allclose(turned, np.linspace(np.pi, 0.0, 11), atol=1e-6)
    same = interpolate_pose(model, last, np.r_[last[:3], -last[3:7], last[7:]], 0.5)
    np.testing.assert_allclose(np.abs(same[3:7]), np.abs(last[3:7]), atol=1e-6)


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="unknown environment 'dog'; known: ant, "):
        reward_task("dog")
    with pytest.raises(UserError, match="unknown start 'sideways' for ant; known: ordinary, "):
        reward_task("ant", "sideways")


def test_a_healthy_start_is_nothing_to_recover_from() -> None:
    with pytest.raises(UserError, match="start 'perturbed' of ant is healthy"):
        reward_task("ant", "perturbed")


def test_an_original_policy_that_only_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_visited_by", lambda *_: {"healthy": np.zeros(8, bool)})
    with pytest.raises(UserError, match="never healthy from an ordinary start.*--policy"):
        reward_task("hopper", picture=False)
