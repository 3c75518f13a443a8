"""A Brax or MuJoCo Playground PPO checkpoint as an original policy.

Both write the same folder: arrays as orbax stores them, and `ppo_network_config.json`. Neither
holds code, so loading one runs none. The deterministic action is represented exactly, up to the
clipping of observations at `MAX_NORMALIZED_OBSERVATION` standard deviations, which Brax does not
do; what our networks have no place for is not:

- The noise's standard deviation, where it depends on the state, becomes the one at the mean
  observation (through the slope of tanh, for policies that end in tanh).
- The critic starts anew: Brax's has sizes and a scale of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from brax.training.agents.ppo import checkpoint
from brax.training.distribution import NormalTanhDistribution

from envs import RecoveryEnv
from lamour_jax.errors import UserError
from lamour_jax.policies import PolicyHeader
from lamour_jax.ppo.networks import ACTIVATIONS, Agent

CONFIG = "ppo_network_config.json"
_SMALLEST_STD = 0.01
_ALIASES = {"silu": "swish"}


def load(folder: Path, env: RecoveryEnv) -> tuple[PolicyHeader, Agent]:
    """Reads a checkpoint as a policy for `env`.

    Raises:
        UserError: no checkpoint, damaged, for other sizes, or of a network that ours cannot be.
    """
    config = _config(folder)
    options = config["network_factory_kwargs"]
    activation = str(options.get("activation", "swish"))
    activation = _ALIASES.get(activation, activation)
    if activation not in ACTIVATIONS:
        raise _refused(folder, f"its activation is {activation!r}; known: {', '.join(ACTIVATIONS)}")
    if options.get("mean_clip_scale") is not None:
        raise _refused(folder, "it bounds its means by mean_clip_scale")
    obs_key = str(options.get("policy_obs_key", "state"))
    try:
        statistics, policy, *_ = checkpoint.load(folder.resolve())
    except Exception as error:  # whatever orbax raises for a damaged folder
        raise UserError(
            f"the checkpoint in {folder} cannot be read ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]})"
        ) from None
    tanh = options.get("distribution_type", "tanh_normal") == "tanh_normal"
    layers = _layers(folder, policy, tanh)
    _check_sizes(folder, layers, env, 2 if tanh else 1)
    header = PolicyHeader(
        env=env.name,
        observation_size=env.observation_size,
        action_size=env.action_size,
        hidden_sizes=tuple(len(bias) for _, bias in layers[:-1]),
        activation=activation,
        output="tanh" if tanh else "linear",
        provenance={"imported": "Brax PPO checkpoint", "config": config},
    )
    agent = header.network().init(jax.random.key(0), 1.0)
    if config.get("normalize_observations", False):
        agent = agent.replace(observation_statistics=_select(statistics, obs_key))
    mean_layers = [*layers[:-1], tuple(part[..., : env.action_size] for part in layers[-1])]
    parameters = {
        f"Dense_{index}": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        for index, (kernel, bias) in enumerate(mean_layers)
    }
    log_scaled = options.get("noise_std_type") == "log"
    std = _std(policy["params"], layers, ACTIVATIONS[activation], tanh, log_scaled)
    log_std = jnp.log(jnp.maximum(std, _SMALLEST_STD))
    params = agent.params.replace(
        policy={"params": parameters}, log_std=jnp.broadcast_to(log_std, agent.params.log_std.shape)
    )
    return header, agent.replace(params=params)


Layers = list[tuple[np.ndarray, np.ndarray]]


def _config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG
    if not file.is_file():
        if (folder / "policy.npz").is_file():
            raise UserError(f"{folder} is a run's folder; give its policy: {folder / 'policy.npz'}")
        steps = sorted(entry.parent for entry in folder.glob(f"*/{CONFIG}"))
        advice = f"; it holds checkpoints, give one of them: {steps[-1]}" if steps else ""
        raise UserError(f"no Brax PPO checkpoint in {folder}: it has no {CONFIG}{advice}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config["network_factory_kwargs"], dict):
            raise TypeError("network_factory_kwargs is not an object")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({type(error).__name__}: {error})") from None
    return dict(config)


def _layers(folder: Path, policy: Any, tanh: bool) -> Layers:
    """Returns kernel and bias of each layer; the last also gives stds if `tanh`."""
    try:
        params = policy["params"]
        hidden = params if tanh else params["MLP_0"]
        count = len(hidden)
        layers = [hidden[f"hidden_{index}"] for index in range(count)]
        if not tanh:
            layers.append(params["Dense_0"])
        result = [
            (np.asarray(layer["kernel"], np.float32), np.asarray(layer["bias"], np.float32))
            for layer in layers
        ]
    except (KeyError, TypeError):
        raise _refused(folder, "its policy is not a plain multi-layer perceptron") from None
    if len(result) < 2:
        raise _refused(folder, "its policy has no hidden layer")
    return result


def _check_sizes(folder: Path, layers: Layers, env: RecoveryEnv, outputs_per_action: int) -> None:
    sizes = {
        "observations": (layers[0][0].shape[0], env.observation_size),
        "actions": (len(layers[-1][1]) // outputs_per_action, env.action_size),
    }
    for what, (given, needed) in sizes.items():
        if given != needed:
            raise UserError(
                f"the checkpoint in {folder} is for {what} of {given} numbers; those of {env.name} "
                f"have {needed}"
            )


def _select(statistics: Any, obs_key: str) -> Any:
    """Returns the statistics of the observations that the policy sees, as JAX arrays."""

    def part(value: Any) -> Any:
        return jnp.asarray(value[obs_key] if isinstance(value, dict) else value, jnp.float32)

    return statistics.replace(
        mean=part(statistics.mean),
        std=part(statistics.std),
        summed_variance=part(statistics.summed_variance),
        count=jax.tree.map(jnp.asarray, statistics.count),
    )


def _std(params: Any, layers: Layers, activation: Any, tanh: bool, log_scaled: bool) -> jax.Array:
    """Returns the noise's std `(action_size,)` in actions, at the mean observation."""
    x = jnp.zeros(layers[0][0].shape[0])
    for kernel, bias in layers[:-1]:
        x = activation(x @ kernel + bias)
    kernel, bias = layers[-1]
    if tanh:
        noise = NormalTanhDistribution(len(bias) // 2).create_dist(x @ kernel + bias)
        return noise.scale * (1.0 - jnp.square(jnp.tanh(noise.loc)))
    if "std_logparam" in params:
        return jnp.exp(jnp.asarray(params["std_logparam"]["log_value"]))
    if "std_param" in params:
        return jnp.abs(jnp.asarray(params["std_param"]["value"]))
    std = jnp.asarray(x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"])
    return jnp.exp(std) if log_scaled else jnp.abs(std)


def _refused(folder: Path, reason: str) -> UserError:
    return UserError(
        f"the checkpoint in {folder} cannot be an original policy here: {reason} "
        "(docs/bring_your_own.md says what can)"
    )
