"""Environments on 8 devices learn what they learn on one, up to the order of sums."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.placement import for_run

PAGE = (Path(__file__).parents[2] / "docs" / "bring_your_own.md").read_text(encoding="utf-8")
POLE, POLE_REWARD = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:2]

PROGRAM = """
import sys
from pathlib import Path

import jax
import numpy as np

import envs
from lamour_jax.config import ObjectiveConfig
from lamour_jax.methods import Ingredients, make_objective
from lamour_jax.placement import Placement, local
from lamour_jax.ppo.config import PPOConfig
from lamour_jax.ppo.learner import Learner
from lamour_jax.ppo.networks import ActorCritic, PolicyNetwork
from reward_codegen import compile_reward

assert len(jax.devices()) == 8
name, engine = sys.argv[1:]
env = envs.load(name, start="ood", engine=engine)
source = (env.file("reward.py") if name in envs.names() else Path("reward.py")).read_text()
sizes = {"state_size": env.recovery_state_size, "action_size": env.action_size}
program = compile_reward(source, **sizes)
config = PPOConfig(num_envs=16, unroll_length=16, minibatch_size=64, epochs=2)
network = ActorCritic(PolicyNetwork(env.observation_size, env.action_size, config.hidden_sizes))
original = network.init(jax.random.key(1), config.std)
objective = make_objective("lamour", Ingredients(program, ObjectiveConfig(), network, original))


def train(placement):
    learner = Learner(env, objective, config, 3, network, original, placement=placement)
    state = learner.init(0)
    rows = []
    for _ in range(3):
        state, found = learner.iterate(state)
        rows.append(jax.device_get(found.metrics))
    return learner.member(state, 0), rows


alone, alone_rows = train(Placement())
spread, spread_rows = train(Placement(jax.devices()))
qpos = spread.acting.env_state.data.qpos
assert [shard.data.shape[0] for shard in qpos.addressable_shards] == [2] * 8
assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(spread.agent))
for row, expected in zip(spread_rows, alone_rows):
    for name, value in expected.items():
        np.testing.assert_allclose(row[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
agents = zip(jax.tree.leaves(local(spread.agent)), jax.tree.leaves(alone.agent))
for found, expected in agents:
    assert len(found.sharding.device_set) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("robot", "engine"), [("hopper", "mujoco"), ("pole.py:Pole", "mjx")])
def test_eight_devices_learn_what_one_does(robot: str, engine: str, tmp_path: Path) -> None:
    (tmp_path / "pole.py").write_text(POLE)
    (tmp_path / "reward.py").write_text(POLE_REWARD)
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, robot, engine],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.endswith("equal\n"), ran.stderr


def test_warp_on_several_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(env="hopper", engine="mjx-warp")
    monkeypatch.setattr(jax, "devices", lambda: [object(), object()])
    with pytest.raises(UserError, match=r"mjx-warp runs on one device, not 2.*--devices 1"):
        for_run(config)
