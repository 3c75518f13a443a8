"""Brax's own checkpoints, written by Brax, act here as they do there."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax.training.acme import running_statistics
from brax.training.agents.ppo import checkpoint, networks

from lamour_jax import policies
from lamour_jax.errors import UserError
from lamour_jax.policies import originals

OBS, ACTIONS = 11, 3  # hopper's


def write(
    folder: Path, observation_size: Any = OBS, normalize: bool = True, **options: Any
) -> tuple[Path, Any]:
    """Saves a checkpoint of random networks as Brax's PPO does.

    Returns:
        Its folder, and Brax's own function that makes policies, `deterministic` or not. (Brax
        0.14.2 does not load what it saved: it looks up a name for an initialiser that is None.)
    """
    options = {"policy_hidden_layer_sizes": (16, 8), "value_hidden_layer_sizes": (8,)} | options
    factory = functools.partial(networks.make_ppo_networks, **options)
    preprocess = running_statistics.normalize if normalize else (lambda x, _: x)
    network = factory(observation_size, ACTIONS, preprocess_observations_fn=preprocess)
    keys = jax.random.split(jax.random.key(1), 3)
    shapes = (
        {name: jnp.zeros(size) for name, size in observation_size.items()}
        if isinstance(observation_size, dict)
        else jnp.zeros(observation_size)
    )
    statistics = running_statistics.init_state(shapes)
    batch = jax.tree.map(lambda x: 2.0 + 3.0 * jax.random.normal(keys[2], (50, *x.shape)), shapes)
    statistics = running_statistics.update(statistics, batch)
    params = (statistics, network.policy_network.init(keys[0]), network.value_network.init(keys[1]))
    config = checkpoint.network_config(observation_size, ACTIONS, normalize, factory)
    checkpoint.save(folder, 1234, params, config)
    make_policy = functools.partial(networks.make_inference_fn(network), params)
    return folder / f"{1234:012d}", make_policy


def ours(folder: Path, obs: np.ndarray) -> np.ndarray:
    header, agent = originals.load("hopper", str(folder))
    network = header.network()
    return np.asarray(network.mean(agent.params, network.normalize(agent, jnp.asarray(obs))))


@pytest.fixture
def observations() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(2.0, 10.0, (256, OBS)).astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": jax.nn.relu},
        {"activation": jax.nn.tanh},
        {"normalize": False},
        {"distribution_type": "normal"},
        {"distribution_type": "normal", "noise_std_type": "log"},
        {"distribution_type": "normal", "state_dependent_std": True},
    ],
    ids=lambda options: "-".join(map(str, options)) or "default",
)
def test_mean_actions_are_those_of_brax(
    options: dict[str, Any], tmp_path: Path, observations: np.ndarray
) -> None:
    folder, make_policy = write(tmp_path, **options)
    theirs, _ = make_policy(deterministic=True)(jnp.asarray(observations), jax.random.key(0))
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours(folder, observations), theirs, atol=1e-5)


def test_a_policy_that_sees_a_part_of_the_observations(
    tmp_path: Path, observations: np.ndarray
) -> None:
    """Playground's: the critic sees more than the policy."""
    sizes = {"state": (OBS,), "privileged_state": (20,)}
    folder, make_policy = write(tmp_path, sizes, value_obs_key="privileged_state")
    seen = {"state": jnp.asarray(observations), "privileged_state": jnp.zeros((256, 20))}
    theirs, _ = make_policy(deterministic=True)(seen, jax.random.key(0))
    np.testing.assert_allclose(ours(folder, observations), theirs, atol=1e-5)


def test_noise_is_that_of_the_mean_observation(tmp_path: Path) -> None:
    folder, make_policy = write(tmp_path)
    _, agent = originals.load("hopper", str(folder))
    _, extras = make_policy()(agent.observation_statistics.mean, jax.random.key(0))
    loc, scale = jnp.split(extras["distribution_params"], 2)
    slope = jax.vmap(jax.grad(jnp.tanh))(loc)
    expected = jnp.log((jax.nn.softplus(scale) + 0.001) * slope)
    np.testing.assert_allclose(agent.params.log_std, jnp.stack([expected] * 2), rtol=1e-5)


@pytest.mark.parametrize(("kind", "spread"), [("scalar", 0.3), ("log", 0.3)])
def test_noise_that_does_not_depend_on_the_state(kind: str, spread: float, tmp_path: Path) -> None:
    options = {"distribution_type": "normal", "noise_std_type": kind, "init_noise_std": spread}
    _, agent = originals.load("hopper", str(write(tmp_path, **options)[0]))
    np.testing.assert_allclose(np.exp(agent.params.log_std), spread, rtol=1e-5)


def test_it_is_saved_as_any_policy(tmp_path: Path) -> None:
    folder, _ = write(tmp_path)
    header, agent = originals.load("hopper", str(folder))
    policies.save(tmp_path / "policy.npz", header, agent)
    again, restored = policies.load(tmp_path / "policy.npz")
    assert (again.output, again.hidden_sizes, again.activation) == ("tanh", (16, 8), "swish")
    np.testing.assert_array_equal(
        restored.observation_statistics.mean, agent.observation_statistics.mean
    )


def refused(path: Path, env: str = "hopper") -> str:
    with pytest.raises(UserError) as error:
        originals.load(env, str(path))
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    folder, _ = write(tmp_path)
    assert "no Brax PPO checkpoint" in (said := refused(tmp_path))
    assert said.endswith(str(folder))
    assert "observations of 11 numbers; those of half_cheetah have 17" in refused(
        folder, "half_cheetah"
    )
    for file in folder.rglob("*"):
        if file.is_file() and file.name != "ppo_network_config.json":
            file.write_bytes(file.read_bytes()[:10])
    assert "cannot be read" in refused(folder)
    config = folder / "ppo_network_config.json"
    content = json.loads(config.read_text())
    content["network_factory_kwargs"]["activation"] = "mish"
    config.write_text(json.dumps(content))
    assert "its activation is 'mish'; known: tanh" in refused(folder)
    config.write_text("{")
    assert "damaged" in refused(folder)
    assert "has no ppo_network_config.json" in refused(folder.parent.parent / ".")


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    from brax.io import model

    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "it_ran",))

    model.save_params(str(tmp_path / "params"), Trap())
    assert "is a pickle" in refused(tmp_path / "params")
    assert not (tmp_path / "it_ran").exists()
