"""What the throughput benchmark measures: the same robot, starts and sizes at every depth.

From the bare C engine to a whole PPO iteration; `benchmarks.rivals` has what others train with.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import mujoco.rollout
import numpy as np

import envs
from envs import RecoveryEnv
from envs.physics.mjx_engine import MjxEngine
from envs.physics.mujoco_engine import available_cores
from lamour_jax import policies
from lamour_jax.config import RunConfig, validate
from lamour_jax.errors import UserError
from lamour_jax.methods import Ingredients, make_objective
from lamour_jax.placement import for_run
from lamour_jax.policies import originals
from lamour_jax.ppo import noise
from lamour_jax.ppo.acting import Actor
from lamour_jax.ppo.learner import Learner, TrainState
from lamour_jax.ppo.rollout import collect
from lamour_jax.robot_settings import preset
from lamour_jax.system import set_precision
from reward_codegen import compile_reward

# MJX is slow on a CPU. There it runs this share of the others' steps: rates can be compared.
MJX_SHARE_ON_CPU = 8
# Schedules so long that no measurement comes to their end.
_ITERATIONS = 1_000_000


@dataclass
class Subject:
    """Something whose speed is measured.

    Attributes:
        name: as shown.
        env_steps: environment steps, over all environments, in one `run`.
        run: does them, and returns when they are done.
        compile_seconds: what compiling it took; None if there was nothing to compile.
        bytes_per_env: memory for each environment (of those on a device, on that device); None if
            unknown.
        rates: environment steps per second, one a repeat.
        close: lets go of what it holds outside this process.
    """

    name: str
    env_steps: int
    run: Callable[[], object]
    compile_seconds: float | None = None
    bytes_per_env: float | None = None
    rates: list[float] = field(default_factory=list)
    close: Callable[[], None] = lambda: None

    def measure(self) -> None:
        """Runs once and notes the rate."""
        begin = time.perf_counter()
        self.run()
        self.rates.append(self.env_steps / (time.perf_counter() - begin))


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """Returns the median of values, and the quartiles around it."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return Spread(median, low, high)


def take_turns(measured: list[Subject], repeats: int) -> None:
    """Measures each subject `repeats` times, all of them in every turn, warmed up."""
    for subject in measured:
        subject.run()
    for turn in range(repeats):
        # Whoever comes first differs, so that nobody always follows the same neighbour.
        start = turn % len(measured)
        for subject in measured[start:] + measured[:start]:
            subject.measure()


@dataclass(frozen=True)
class Workload:
    """The same for all subjects of a robot.

    Attributes:
        env: single environment on the chosen engine.
        config: the robot's recovery preset, at the size asked for.
        qpos, qvel: starts, `(num_envs, nq)` and `(num_envs, nv)`.
        actions: random ones, `(unroll_length, num_envs, action_size)`.
    """

    env: RecoveryEnv
    config: RunConfig
    qpos: jax.Array
    qvel: jax.Array
    actions: jax.Array

    @property
    def env_steps(self) -> int:
        return self.config.ppo.batch_size


def make_workload(
    name: str,
    engine: str,
    num_envs: int,
    unroll_length: int,
    hidden_sizes: tuple[int, ...] = (),
    devices: int = 0,
    minibatch_size: int = 0,
) -> Workload:
    """Returns a robot's workload: its OOD start and random actions.

    Args:
        name: of the robot; an original policy must ship for it.
        engine: a name of `envs.physics.ENGINES`.
        num_envs: environments side by side.
        unroll_length: control steps of each in one measurement.
        hidden_sizes: of both networks; those of the shipped original policy if empty.
        devices: over which the environments are spread; all if 0.
        minibatch_size: transitions in one gradient step; the preset's if 0.

    Raises:
        UserError: impossible sizes, no original policy, or an engine that cannot run here.
    """
    config = dataclasses.replace(preset(name, "recovery"), env=name, engine=engine, devices=devices)
    ppo = dataclasses.replace(config.ppo, num_envs=num_envs, unroll_length=unroll_length)
    # A small measurement may be less than one of the preset's minibatches.
    minibatch = min(minibatch_size or ppo.minibatch_size, max(1, ppo.batch_size))
    ppo = dataclasses.replace(ppo, minibatch_size=minibatch)
    config = dataclasses.replace(config, ppo=ppo, steps=max(config.steps, ppo.batch_size))
    config = policies.with_shape_of(originals.load(name)[0], config)
    if hidden_sizes:
        ppo = dataclasses.replace(config.ppo, hidden_sizes=hidden_sizes)
        config = dataclasses.replace(config, ppo=ppo)
    validate(config)
    # As a run does: left to themselves, accelerators multiply in less.
    set_precision(config.precision)
    try:
        env = envs.load(
            name, start="ood", engine=engine, terminate=config.terminate, num_envs=num_envs
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    key, action_key = jax.random.split(jax.random.key(0))
    start = jax.jit(jax.vmap(env.reset))(jax.random.split(key, num_envs))
    shape = (unroll_length, num_envs, env.action_size)
    actions = jax.random.uniform(action_key, shape, minval=-1.0, maxval=1.0)
    return Workload(env, config, start.data.qpos, start.data.qvel, actions)


def bare_rollout(workload: Workload) -> Subject:
    """`mujoco.rollout` on all cores: the same model, starts and controls, no JAX."""
    model, ppo = workload.env.make_model(), workload.config.ppo
    cores = available_cores()
    data = [mujoco.MjData(model) for _ in range(cores)]
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    starts = np.zeros((ppo.num_envs, mujoco.mj_stateSize(model, kind)))
    for start, qpos, qvel in zip(
        starts, np.asarray(workload.qpos), np.asarray(workload.qvel), strict=True
    ):
        data[0].qpos, data[0].qvel = qpos, qvel
        mujoco.mj_getState(model, data[0], start, kind)
    ctrl = np.repeat(
        np.asarray(workload.actions, float).swapaxes(0, 1), workload.env.frame_skip, axis=1
    )
    states = np.zeros((ppo.num_envs, ctrl.shape[1], starts.shape[1]))
    sensors = np.zeros((ppo.num_envs, ctrl.shape[1], model.nsensordata))
    pool = mujoco.rollout.Rollout(nthread=cores)

    def run() -> None:
        pool.rollout(model, data, starts, ctrl, state=states, sensordata=sensors)

    return Subject("rollout", workload.env_steps, run, bytes_per_env=starts[0].nbytes)


def bare_mjx(workload: Workload, *, default_solver: bool) -> Subject:
    """`vmap(mjx.step)`, without anything of ours but the model and, if asked, its solver."""
    from mujoco import mjx

    model = workload.env.make_model()
    if not default_solver:
        model = MjxEngine(model).model
    device_model = mjx.put_model(model)
    ctrl = workload.actions[: mjx_steps(len(workload.actions))]

    def init(qpos: jax.Array, qvel: jax.Array) -> Any:
        return mjx.make_data(model).replace(qpos=qpos, qvel=qvel)

    def step(data: Any, ctrl: jax.Array) -> Any:
        data = data.replace(ctrl=ctrl)
        frame_skip = workload.env.frame_skip
        return jax.lax.fori_loop(0, frame_skip, lambda _, d: mjx.step(device_model, d), data)

    name = "mjx-default" if default_solver else "mjx"
    data = jax.jit(jax.vmap(init))(workload.qpos, workload.qvel)
    return _scan_subject(name, data, jax.vmap(step), ctrl, tree_bytes(data) / len(workload.qpos))


def mjx_steps(unroll_length: int) -> int:
    """Returns how many steps MJX runs where the others run `unroll_length`."""
    share = MJX_SHARE_ON_CPU if jax.default_backend() == "cpu" else 1
    return max(1, unroll_length // share)


def engine_alone(workload: Workload) -> Subject:
    """The environment's own engine inside a compiled program, nothing else."""
    env = workload.env
    data = jax.jit(jax.vmap(env.engine.init))(workload.qpos, workload.qvel)
    bytes_per_env = tree_bytes(data) / len(workload.qpos)
    if env.engine.name == "mujoco":
        # The C engine keeps a row of its own, in double precision, for each environment.
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        bytes_per_env += 8 * mujoco.mj_stateSize(env.model, kind)

    def step(data: Any, action: jax.Array) -> Any:
        return env.engine.step(data, env.control(data, action), env.frame_skip)

    return _scan_subject("engine", data, jax.vmap(step), workload.actions, bytes_per_env)


def environment(workload: Workload) -> Subject:
    """Physics and environment: observation, task reward, health, restarts; random actions."""
    env, placement = workload.env, for_run(workload.config)
    state = jax.jit(jax.vmap(env.reset))(
        jax.random.split(jax.random.key(1), workload.config.ppo.num_envs)
    )
    state = placement.place(state, lambda leaf: True)
    step_envs, restart_envs = placement.map_envs(env.step), placement.map_envs(env.restart)
    bytes_per_env = tree_bytes(state) / workload.config.ppo.num_envs

    def step(state: envs.State, actions: jax.Array) -> envs.State:
        return restart_envs(step_envs(state, actions))

    return _scan_subject("environment", state, step, workload.actions, bytes_per_env)


class Training:
    """Recovery training of a workload, as a run has it: acting, whole iterations, the reward."""

    def __init__(self, workload: Workload):
        """Prepares the learner.

        Networks of another size than the shipped original policy's start from fresh weights, which
        cost the same.

        Raises:
            UserError: no original policy ships for this robot.
        """
        self._workload, env, config = workload, workload.env, workload.config
        header, original = originals.load(env.name)
        network = header.network()
        if config.ppo.hidden_sizes != header.hidden_sizes:
            network = dataclasses.replace(header, hidden_sizes=config.ppo.hidden_sizes).network()
            original = network.init(jax.random.key(1), config.ppo.std)
        self.program = compile_reward(
            env.file("reward.py").read_text(),
            state_size=env.recovery_state_size,
            action_size=env.action_size,
        )
        ingredients = Ingredients(self.program, config.objective, network, original)
        self.objective = make_objective(config.method, ingredients)
        self.original = original
        self._placement = for_run(config)
        self.learner = Learner(
            env,
            self.objective,
            config.ppo,
            iterations=_ITERATIONS,
            network=network,
            original=original,
            placement=self._placement,
        )

    def acting(self) -> Subject:
        """The environment under the policy, with the method's reward."""
        learner, config = self.learner, self._workload.config

        def act(state: TrainState) -> Any:
            return collect(
                state.key,
                self._workload.env,
                Actor(learner.network, self.objective, self.original),
                state.agent,
                noise.bounds(config.ppo, state.iteration / _ITERATIONS),
                state.acting,
                config.ppo.unroll_length,
                config.guard,
                self._placement,
            )

        state = learner.member(learner.init(0), 0)
        compiled, seconds = compile_timed(jax.jit(act), state)
        return Subject(
            "acting",
            self._workload.env_steps,
            lambda: jax.block_until_ready(compiled(state)),
            seconds,
        )

    def training(self) -> Subject:
        """Whole PPO iterations; its memory is all that the compiled program needs."""
        compiled, seconds = compile_timed(self.learner.iterate, self.learner.init(0))
        # The iteration takes over the memory of its argument: each one starts from the last.
        states = [self.learner.init(0)]

        def train() -> None:
            state, metrics = compiled(states.pop())
            states.append(state)
            jax.block_until_ready((state, metrics))

        memory = program_bytes(compiled)
        # That is what the program needs on one device, which has its share of the environments.
        on_device = self._workload.config.ppo.num_envs / self._placement.size
        return Subject(
            "training",
            self._workload.env_steps,
            train,
            seconds,
            None if memory is None else memory / on_device,
        )

    def reward(self) -> Subject:
        """The compiled reward program alone, on as many states as an iteration has."""
        program, env = self.program, self._workload.env
        num_envs = self._workload.config.ppo.num_envs
        states = jax.random.normal(jax.random.key(3), (num_envs, env.recovery_state_size))

        def step(states: jax.Array, actions: jax.Array) -> jax.Array:
            reward = jax.vmap(program.calculate_reward)(states, actions)
            recovered = jax.vmap(program.is_recovered)(states)
            # Each call's states depend on the last call's results: none can be left out.
            return states + 1e-6 * (reward + recovered.astype(jnp.float32))[:, None]

        return _scan_subject("reward", states, step, self._workload.actions)


def _scan_subject(
    name: str,
    carry: Any,
    step: Callable[[Any, jax.Array], Any],
    inputs: jax.Array,
    bytes_per_env: float | None = None,
) -> Subject:
    """A batch that `step` advances from `carry` under `inputs`, `(time, envs, ...)`, compiled."""

    def run(carry: Any, inputs: jax.Array) -> Any:
        return jax.lax.scan(lambda carry, x: (step(carry, x), None), carry, inputs)[0]

    compiled, seconds = compile_timed(jax.jit(run), carry, inputs)
    env_steps = inputs.shape[0] * inputs.shape[1]
    return Subject(
        name,
        env_steps,
        lambda: jax.block_until_ready(compiled(carry, inputs)),
        seconds,
        bytes_per_env,
    )


def compile_timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    """Returns the compiled program, and the seconds that took."""
    begin = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - begin


def program_bytes(compiled: Any) -> int | None:
    """Returns a compiled program's memory on a device: arguments, results, scratch, donations once.

    None where the backend does not say.
    """
    analysis = compiled.memory_analysis()
    if analysis is None:
        return None
    return int(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def peak_device_bytes() -> int | None:
    """Returns the most memory that a device of this process has had in use; None if unknown.

    That is of all that the process has run until now. A CPU does not say.
    """
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    return max(
        (each["peak_bytes_in_use"] for each in stats if "peak_bytes_in_use" in each), default=None
    )


def tree_bytes(tree: Any) -> int:
    """Returns the memory of a pytree's arrays; a key counts as its two words."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
