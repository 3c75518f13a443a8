"""The environments by name."""

from __future__ import annotations

import pytest

import envs
from envs import RecoveryEnv, registry
from envs.robots.hopper.robot import Hopper


def test_names_are_sorted() -> None:
    assert {"ant", "half_cheetah", "hopper", "humanoid", "push_chair", "walker2d"} <= set(
        envs.names()
    )
    assert envs.names() == sorted(envs.names())


@pytest.mark.parametrize("name", envs.names())
def test_load_gives_what_the_name_says(name: str) -> None:
    env = envs.load(name, start="ood", engine="mujoco")
    assert isinstance(env, registry.get(name))
    assert env.name == name
    assert env.engine.name == "mujoco"
    assert {"ordinary", "ood"} <= set(env.starts())


def test_load_passes_options_on() -> None:
    assert envs.load("hopper", engine="mujoco", episode_length=7).time_limit == 7


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="'humper'.*known: .*half_cheetah, hopper, humanoid, push_chair"
    ):
        envs.load("humper")


def test_unknown_start_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'sideways' for hopper; known: ordinary, .*ood"):
        envs.load("hopper", start="sideways")
    with pytest.raises(ValueError, match="'sideways' for hopper"):
        envs.load("hopper", start={"ood": 1.0, "sideways": 1.0})


def test_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'bullet'; known: auto, mujoco, mjx, mjx-warp"):
        envs.load("hopper", engine="bullet")


def test_register(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})

    @envs.register
    class Pogo(Hopper):
        name = "pogo"

    assert registry.get("pogo") is Pogo
    assert envs.register(Pogo) is Pogo, "registering the same class twice changes nothing"

    class Impostor(RecoveryEnv):
        name = "pogo"

    with pytest.raises(ValueError, match="'pogo' is already registered"):
        envs.register(Impostor)
