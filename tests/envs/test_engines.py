"""Choosing an engine, and the engines against each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import jax
import mujoco
import numpy as np
import pytest

from envs import banks, registry
from envs.physics import choice, interface
from envs.physics.mjx_engine import MjxEngine
from envs.physics.mujoco_engine import MujocoEngine

STATES = 32
# MJX computes in float32 and stops after a few solver iterations; states agree to rounding.
# The humanoid's feet slip in other directions: MJX turns the friction pyramid of a capsule on the
# floor otherwise than C MuJoCo does (contacts, impedances and all else agree to rounding).
MEDIAN_TOLERANCE, QUARTILE_TOLERANCE, WORST_TOLERANCE = 1e-5, {"humanoid": 2e-3}, {"humanoid": 0.2}

# MJX programs are large, and compiling them is nearly all that this test does.
QUICKLY = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None

needs_warp = pytest.mark.skipif(
    importlib.util.find_spec("warp") is None, reason="mjx-warp needs the package warp-lang"
)


def pairs_of_engines() -> list[object]:
    """Every robot on MJX and on Warp, which takes minutes to compile for each without a GPU."""
    pairs: list[object] = [(name, "mjx") for name in registry.names()]
    names = registry.names() if jax.default_backend() == "gpu" else ["hopper"]
    return pairs + [pytest.param(name, "mjx-warp", marks=needs_warp) for name in names]


@pytest.mark.parametrize(("backend", "engine"), [("cpu", "mujoco"), ("gpu", "mjx"), ("tpu", "mjx")])
def test_auto_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch, backend: str, engine: str
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert choice.resolve("auto") == engine


@pytest.mark.parametrize("engine", ["mujoco", "mjx", "mjx-warp"])
def test_a_named_engine_is_taken_at_its_word(engine: str) -> None:
    assert choice.resolve(engine) == engine


def test_unknown_engine_lists_the_known_ones() -> None:
    for call in (choice.resolve, lambda name: choice.make_engine(name, None)):
        with pytest.raises(ValueError, match="'physx'; known: auto, mujoco, mjx, mjx-warp"):
            call("physx")


def test_make_engine() -> None:
    model = registry.get("hopper").make_model()
    assert isinstance(choice.make_engine("mujoco", model), MujocoEngine)
    engine = choice.make_engine("mjx", model)
    assert isinstance(engine, MjxEngine)
    assert (engine.name, engine.model) == ("mjx", model)


def test_missing_warp_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "warp" else find(name, *rest),
    )
    with pytest.raises(ValueError, match=r"needs warp-lang .*pip install 'lamour-jax\[warp\]'"):
        registry.load("hopper", engine="mjx-warp")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), pairs_of_engines())
def test_one_control_step_on_two_engines(
    name: str,
    other: str,
    random_states: Callable[..., tuple[np.ndarray, np.ndarray]],
    contacts_with_chair: Callable[[mujoco.MjModel, mujoco.MjData], int],
) -> None:
    env = registry.load(name, engine="mujoco")
    qpos, qvel = random_states(env, STATES)
    random = np.random.default_rng(1).uniform(-1, 1, (STATES, env.action_size))
    ctrl = (random * env.model.actuator_ctrlrange[:, 1]).astype(np.float32)
    poses = [qpos]
    if name == "push_chair":  # whose robot touches nothing in these states
        poses.append(poses_with_contact(env.model, contacts_with_chair))

    def step(engine: interface.PhysicsEngine) -> list[tuple[np.ndarray, ...]]:
        def one(qpos: jax.Array, qvel: jax.Array, ctrl: jax.Array) -> tuple[jax.Array, ...]:
            data = engine.step(engine.init(qpos, qvel), ctrl, env.frame_skip)
            return data.qpos, data.qvel, *([data.sensordata] if env.model.nsensordata else [])

        batch = jax.jit(jax.vmap(one)).lower(qpos, qvel, ctrl).compile(QUICKLY)
        return [jax.device_get(batch(pose, qvel, ctrl)) for pose in poses]

    expected = step(env.engine)
    actual = step(choice.make_engine(other, env.make_model(), STATES))
    for these, those in zip(actual, expected, strict=True):
        for this, that in zip(these, those, strict=True):
            error = np.abs(this - that).max(axis=1) / (1.0 + np.abs(that).max(axis=1))
            print(env.name, other, "median, 75 %, worst:", np.quantile(error, [0.5, 0.75, 1.0]))
            assert np.quantile(error, 0.5) < MEDIAN_TOLERANCE
            assert np.quantile(error, 0.75) < QUARTILE_TOLERANCE.get(name, 1e-4)
            assert error.max() < WORST_TOLERANCE.get(name, 1e-3)


def poses_with_contact(
    model: mujoco.MjModel, contacts_with_chair: Callable[[mujoco.MjModel, mujoco.MjData], int]
) -> np.ndarray:
    """Returns poses `(STATES, nq)` of PushChair's robot that lifts the chair, and touches it."""
    data = mujoco.MjData(model)
    touching = []
    for pose in banks.load(registry.get("push_chair").file("lifting.npz")):
        data.qpos[:] = pose
        mujoco.mj_forward(model, data)
        if contacts_with_chair(model, data):
            touching.append(pose)
    assert len(touching) > STATES
    return np.random.default_rng(2).permutation(touching)[:STATES].astype(np.float32)
