"""One bad sample is left out, one bad update skipped; all others learn as if it had not been."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import State
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.objective import original_task
from lamour_jax.ppo import learner as learner_module
from lamour_jax.ppo import noise
from lamour_jax.ppo.config import GuardConfig
from lamour_jax.ppo.guard import CAUSES, ROWS, BadSamples, Skipped, discard, what_is_wrong
from lamour_jax.ppo.learner import Learner, normalize_within_groups
from lamour_jax.ppo.loss import LossWeights, Minibatch, ppo_loss
from lamour_jax.run.folder import RunFolder
from lamour_jax.run.loop import Hooks
from lamour_jax.run.record import Run
from tests.lamour_jax.probes import (
    SMALL,
    Probe,
    alone,
    begin,
    iterate,
    make_learner,
    mean_actions,
    plus_or_minus_one,
    train_run,
)

GUARD = GuardConfig()


class Physics(NamedTuple):
    """What a simulation's state shows."""

    qpos: jax.Array
    qvel: jax.Array


class Exploding(Probe):
    """Asks for 0.6 x observation; in one step of twenty something goes wrong in the simulation."""

    def __init__(self, explode: Callable[[State], State]):
        super().__init__(
            reward=lambda obs, action: -jnp.square(action - 0.6 * obs),
            start=plus_or_minus_one,
            length=4,
        )
        self._explode = explode

    def reset(self, key: jax.Array) -> State:
        state = super().reset(key)
        return state.replace(data=Physics(qpos=state.obs["policy"], qvel=jnp.zeros(2)))

    def step(self, state: State, action: jax.Array) -> State:
        key, chance = jax.random.split(state.key)
        good = super().step(state, action)
        bad = self._explode(good)
        wrong = jax.random.bernoulli(chance, 0.05)
        chosen = jax.tree.map(
            lambda new, old: jnp.where(wrong, new, old),
            (bad.data, bad.obs, bad.reward),
            (good.data, good.obs, good.reward),
        )
        data, obs, reward = chosen
        return good.replace(data=data, obs=obs, reward=reward, key=key)


def nan_everywhere(state: State) -> State:
    nan = jnp.nan * state.obs["policy"]
    return state.replace(
        data=Physics(nan, jnp.full(2, jnp.nan)), obs={"policy": nan}, reward=jnp.nan
    )


EXPLOSIONS = {
    "nan": nan_everywhere,
    "velocity": lambda state: state.replace(data=state.data._replace(qvel=jnp.full(2, 1e12))),
    "reward": lambda state: state.replace(reward=-jnp.inf),
}


@pytest.fixture(scope="module")
def exploding() -> Callable[[str], Learner]:
    """Returns a learner for each kind of explosion, compiled once."""
    return functools.cache(lambda kind: make_learner(Exploding(EXPLOSIONS[kind]), iterations=80))


@pytest.mark.parametrize("kind", EXPLOSIONS)
def test_learning_goes_on_around_bad_samples(
    kind: str, exploding: Callable[[str], Learner]
) -> None:
    learner = exploding(kind)
    state = learner.init(0)
    counts = []
    for _ in range(80):
        state, found = iterate(learner, state)
        metrics = found.metrics
        counts.append(int(metrics.pop("training/bad_samples")))
        assert all(np.isfinite(value) for value in metrics.values()), metrics
        assert float(metrics["episode/length"]) == 4.0, "what was cut off is no episode"
    samples = 80 * SMALL.batch_size
    assert sum(counts) == pytest.approx(0.05 * samples, rel=0.2)
    assert mean_actions(learner, alone(state).agent, -1.0, 1.0) == pytest.approx(
        [-0.6, 0.6], abs=0.15
    )
    found = found.bad_states
    assert 0 < int(found.recorded) <= ROWS
    assert int(found.count) == counts[-1]
    # What was recorded is the state before: all finite, and of a running episode.
    rows = int(found.recorded)
    np.testing.assert_array_equal(np.abs(found.qpos[:rows]), 1.0)
    np.testing.assert_array_equal(found.qpos, found.obs)
    assert np.isin(found.step[:rows], range(4)).all()
    assert np.isfinite(found.reward[:rows]).all() == (kind == "velocity")


def test_a_reward_program_that_divides_by_zero_is_left_out() -> None:
    from lamour_jax.config import ObjectiveConfig
    from lamour_jax.methods import Ingredients, make_objective
    from reward_codegen import compile_reward

    program = compile_reward(
        "import numpy as np\n"
        "def is_recovered(state):\n    return 0\n"
        "def calculate_reward(state, action):\n    return -1.0 / np.maximum(state[0], 0.0)\n",
        state_size=1,
        action_size=1,
    )

    class Fallen(Probe):
        def step(self, state: State, action: jax.Array) -> State:
            state = super().step(state, action)
            return state.replace(episode=state.episode.replace(healthy=jnp.bool_(False)))

    fallen = Fallen(reward=lambda obs, action: obs, start=plus_or_minus_one)
    plain = make_learner(fallen)
    ingredients = Ingredients(program, ObjectiveConfig(), plain.network, begin(plain))
    learner = make_learner(fallen, objective=make_objective("lamour", ingredients))
    state, found = iterate(learner, learner.init(0))
    metrics = found.metrics
    assert 0 < float(metrics["training/bad_samples"]) < SMALL.batch_size
    assert float(metrics["training/skipped_updates"]) == 0
    assert np.isfinite(float(metrics["reward/mean"]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.agent))
    # Only -1 can be divided by to no avail: those are the states that are shown.
    rows = int(found.bad_states.recorded)
    np.testing.assert_array_equal(found.bad_states.obs[:rows], -1.0)


def batch(count: int, **changes: Any) -> State:
    probe = Exploding(nan_everywhere)
    state = jax.vmap(probe.reset)(jax.random.split(jax.random.key(0), count))
    return dataclasses.replace(state, **changes)


def causes(state: State, reward: jax.Array) -> list[list[str]]:
    wrong = np.asarray(what_is_wrong(state, reward, GUARD))
    return [[CAUSES[place] for place in np.flatnonzero(row)] for row in wrong]


def test_what_is_bad() -> None:
    reward = jnp.array([0.0, jnp.nan, -jnp.inf, 2e6, -1e6])
    of_reward = ["the method's reward"]
    assert causes(batch(5), reward) == [[], of_reward, of_reward, of_reward, []]
    obs = jnp.array([[1.0], [jnp.nan], [1.0], [1.0]])
    qvel = jnp.zeros((4, 2)).at[2, 1].set(-1e7)
    state = batch(4, obs={"policy": obs}, data=Physics(jnp.zeros((4, 1)), qvel))
    assert causes(state, jnp.zeros(4)) == [[], ["an observation"], ["a velocity"], []]
    state = batch(2, obs={"policy": jnp.ones((2, 1)), "critic": jnp.array([[0.0], [1e9]])})
    assert causes(state, jnp.zeros(2)) == [[], ["an observation"]]


def test_a_bad_sample_is_cut_off_without_reward() -> None:
    bad = jnp.array([False, True])
    state = batch(2, reward=jnp.array([3.0, jnp.nan]))
    state, reward = discard(state, jnp.array([2.0, jnp.inf]), bad)
    np.testing.assert_array_equal(reward, [2.0, 0.0])
    np.testing.assert_array_equal(state.reward, [3.0, 0.0])
    np.testing.assert_array_equal(state.done, [0.0, 1.0])
    np.testing.assert_array_equal(state.episode.truncation, [False, True])


def test_the_record_is_bounded() -> None:
    envs = ROWS + 2
    state, action = batch(envs), jnp.linspace(0.1, 0.9, envs)[:, None]
    record = BadSamples.none(state, action_size=1)
    assert (int(record.states().count), int(record.states().recorded)) == (0, 0)
    later = jnp.zeros((envs, len(CAUSES)), bool).at[1:, 4].set(True)
    for number in range(3):
        record = record.add(later, state, action, jnp.full(envs, float(number)))
    shown = record.states()
    assert (int(shown.count), int(shown.recorded)) == (3 * (envs - 1), ROWS)
    np.testing.assert_array_equal(shown.reward, 0.0)  # of the first bad sample of each
    np.testing.assert_array_equal(shown.env, range(1, ROWS + 1))
    np.testing.assert_allclose(shown.action, action[1 : ROWS + 1])
    np.testing.assert_array_equal(shown.cause, 4)
    assert int(shown.at_start) == int(shown.healthy) == int(shown.count)


def test_nothing_in_a_bad_sample_moves_the_update(exploding: Callable[[str], Learner]) -> None:
    learner = exploding("nan")
    agent = begin(learner)
    draw = np.random.default_rng(0).normal

    def gradients(garbage: float) -> Any:
        spoiled = jnp.array([0.0, 0.0, garbage])
        one = jnp.asarray(np.arange(3.0)[:, None], jnp.float32) + spoiled[:, None]
        two = jnp.array([0.5, -0.5, 0.25]) + spoiled
        minibatch = Minibatch(
            obs=one,
            critic_obs=None,
            action=one,
            noise_offset=0.0 * one,
            log_prob=-1.0 + 0.0 * two,
            exploring=jnp.ones(3, bool),
            valid=jnp.array([1.0, 1.0, 0.0]),
            learning=jnp.array([1.0, 1.0, 0.0]),
            drawn=None,
            advantage=two,
            value_target=two,
            consolidation=jnp.array([0.1, 0.1, 0.0]),
            original_mean=one,
            original_std=0.0 * one + 1.0,
        )
        weights = LossWeights(policy=jnp.float32(1.0), acting=jnp.float32(1.0))
        bounds = noise.bounds(SMALL, jnp.float32(0.0))
        config = dataclasses.replace(SMALL, entropy_coef=0.1)
        of = jax.jit(
            lambda *given: jax.grad(ppo_loss, has_aux=True)(
                given[0], learner.network, given[1], bounds, config, weights
            )
        )
        return of(agent.params, minibatch)

    for one, other in zip(*map(jax.tree.leaves, (gradients(0.0), gradients(7.0))), strict=True):
        np.testing.assert_array_equal(one, other)
    advantages = jnp.asarray(draw(size=6), jnp.float32)
    valid = jnp.arange(6) < 5
    group = jnp.ones(6, bool)
    spoiled = advantages.at[5].set(1e6)
    np.testing.assert_array_equal(
        normalize_within_groups(advantages, group, valid)[:5],
        normalize_within_groups(spoiled, group, valid)[:5],
    )


def test_skips_are_counted_in_a_row_and_in_all() -> None:
    skipped = Skipped.none()
    for applied, expected in (
        ([True, False, False], (2, 2)),
        ([False, False, False], (5, 5)),
        ([False, True, True], (0, 6)),
        ([True, True, True], (0, 6)),
    ):
        skipped = skipped.add(jnp.array(applied))
        assert (int(skipped.in_a_row), int(skipped.total)) == expected


ITERATIONS = 8
# Rises from 0.5 to 1 through training; the poisoned loss knows by it how far training is.
POISONED = dataclasses.replace(SMALL, acting_weight=(0.5, 1.0))
UPDATES = SMALL.epochs * SMALL.batch_size // SMALL.minibatch_size


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Learner:
    """A learner whose gradients are NaN in the second half of training."""

    def loss(params: Any, *arguments: Any) -> Any:
        value, metrics = ppo_loss(params, *arguments)
        return jnp.where(arguments[-1].acting > 0.7, jnp.nan, 1.0) * value, metrics

    monkeypatch.setattr(learner_module, "ppo_loss", loss)
    probe = Probe(reward=lambda obs, action: obs * action, start=plus_or_minus_one)
    return make_learner(probe, POISONED, original_task(), ITERATIONS)


def test_updates_with_bad_gradients_are_skipped_until_it_is_enough(
    poisoned: Learner, tmp_path: Path
) -> None:
    config = RunConfig(
        steps=ITERATIONS * SMALL.batch_size,
        ppo=POISONED,
        guard=GuardConfig(max_skips_in_a_row=2 * UPDATES),
    )
    config = dataclasses.replace(
        config, evaluation=dataclasses.replace(config.evaluation, during_training=ITERATIONS)
    )
    folder = RunFolder(tmp_path / "run")
    agents = []

    def evaluate(run: Run, agent: Any) -> dict[str, float]:
        agents.append(jax.device_get(agent.params))
        return {"eval/recovery_rate": 0.0}

    with pytest.raises(UserError) as raised:
        train_run(poisoned, config, folder, Hooks(evaluate))
    rows = folder.metrics()
    skipped = [row["training/skipped_updates"] for row in rows]
    first = skipped.index(UPDATES)
    assert first > 0 and skipped[:first] == [0.0] * first
    # Skipped: everything as before, and no loss to report; then it is enough.
    assert len(agents) == len(rows) == first + 1
    assert jax.tree.all(jax.tree.map(np.array_equal, agents[-1], agents[-2]))
    assert np.isnan(rows[-1]["training/policy_loss"])
    steps = (first + 2) * SMALL.batch_size
    good = first * SMALL.batch_size
    said = str(raised.value)
    assert f"training stopped after {steps:,} steps: {2 * UPDATES:,} updates had gradients" in said
    assert f"the last good checkpoint, after {good:,} steps, is in {tmp_path / 'run'}" in said
    names = {entry.name for entry in (tmp_path / "run" / "checkpoints").iterdir()}
    assert str(good) in names and str(good + SMALL.batch_size) not in names


def test_bad_states_are_written_and_bounded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], exploding: Callable[[str], Learner]
) -> None:
    config = RunConfig(
        steps=ITERATIONS * SMALL.batch_size, ppo=SMALL, guard=GuardConfig(bad_state_files=2)
    )
    folder = RunFolder(tmp_path / "run")
    train_run(exploding("velocity"), config, folder)
    files = sorted((folder.path / "bad_states").iterdir(), key=lambda file: int(file.stem))
    assert [int(file.stem) for file in files] == [SMALL.batch_size, 2 * SMALL.batch_size]
    with np.load(files[0], allow_pickle=False) as arrays:
        assert {"qpos", "qvel", "action", "step", "env", "obs", "reward", "cause"} == set(arrays)
        assert len(arrays["qpos"]) == len(arrays["step"]) > 0
        assert arrays["action"].shape == (len(arrays["qpos"]), 1)
    said = capsys.readouterr().out
    assert said.count("bad until step") == 1
    assert "bad_states" in said
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line)["training/bad_samples"] > 0 for line in lines)


def test_a_training_on_nothing_ends_with_the_cause(tmp_path: Path) -> None:
    always = Probe(reward=lambda obs, action: jnp.nan * obs, start=plus_or_minus_one)
    learner = make_learner(always, iterations=ITERATIONS)
    config = RunConfig(steps=ITERATIONS * SMALL.batch_size, ppo=SMALL)
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError) as raised:
        train_run(learner, config, folder)
    said = str(raised.value)
    assert said.startswith(f"training on nothing, stopped after {5 * SMALL.batch_size:,} steps: ")
    assert "100% of the samples were bad, because the method's reward was not finite" in said
    assert "100% of them in the first step of an episode, 100% of a healthy robot" in said
    assert len(folder.metrics()) == 4
