"""What can be told of accelerators without one: how a training iteration is translated for them."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator

import jax
import pytest

import envs
from lamour_jax.config import ObjectiveConfig, Precision
from lamour_jax.methods import Ingredients, make_objective
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import ActorCritic, PolicyNetwork
from lamour_jax.system import set_precision
from reward_codegen import compile_reward
from tests import shipped

CONFIG = PPOConfig(num_envs=4, unroll_length=2, minibatch_size=4, epochs=1, hidden_sizes=(8,))


@pytest.fixture
def precision_set_back() -> Iterator[None]:
    before = jax.config.values["jax_default_matmul_precision"]
    yield
    jax.config.update("jax_default_matmul_precision", before)


def translated(platform: str) -> str:
    """Returns LaMOuR's iteration on MJX as JAX hands it to that platform's compiler."""
    env = envs.load("hopper", start="ood", engine="mjx")
    sizes = {"state_size": env.recovery_state_size, "action_size": env.action_size}
    program = compile_reward(shipped.source(env.name), **sizes)
    network = ActorCritic(PolicyNetwork(env.observation_size, env.action_size, CONFIG.hidden_sizes))
    original = network.init(jax.random.key(1), CONFIG.std)
    ingredients = Ingredients(program, ObjectiveConfig(), network, original)
    objective = make_objective("lamour", ingredients)
    learner = Learner(env, objective, CONFIG, iterations=1, network=network, original=original)
    traced = learner.iterate.trace(jax.eval_shape(lambda: learner.init(0)))
    return str(traced.lower(lowering_platforms=(platform,)).as_text())


@pytest.mark.parametrize(
    ("platform", "precision", "of_networks"),
    [("cuda", "float32", "HIGHEST"), ("cuda", "tf32", "HIGH"), ("tpu", "bfloat16", "DEFAULT")],
)
def test_networks_multiply_as_precisely_as_asked_and_physics_in_float32(
    platform: str, precision: Precision, of_networks: str, precision_set_back: None
) -> None:
    set_precision(precision)
    text = translated(platform)
    found = re.findall(r"stablehlo\.dot_general.*?precision = \[(\w+), (\w+)\]", text)
    assert len(found) == text.count("stablehlo.dot_general")
    counted = collections.Counter(found)
    assert set(counted) == {("HIGHEST", "HIGHEST"), (of_networks, of_networks)}
    # Two layers of two networks, forwards and backwards, while acting and learning.
    assert of_networks == "HIGHEST" or counted[of_networks, of_networks] >= 10
