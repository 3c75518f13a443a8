"""Environment steps per second, from the bare physics engines to the whole training.

    python -m benchmarks.throughput --env half_cheetah --num-envs 256

All subjects of a robot run in one process, in turns, several times over. The machine's mood then
hits all of them alike, and the ratios are what is worth quoting. Compilation is timed apart.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import mujoco
import mujoco.rollout
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import envs
from envs import RecoveryEnv
from envs.mjx_engine import MjxEngine
from envs.mujoco_engine import MujocoData, available_cores
from envs.physics import ENGINES
from lamour_jax import policies
from lamour_jax.config import RunConfig, validate
from lamour_jax.errors import UserError
from lamour_jax.methods import Ingredients, make_objective
from lamour_jax.ppo.learner import Learner, TrainState
from lamour_jax.ppo.rollout import collect
from lamour_jax.presets import preset
from lamour_jax.system import system_facts
from reward_codegen import compile_reward, library

# What the field uses without us, by name.
BASELINES = {
    "rollout": "bare mujoco.rollout on all cores: the ceiling on a host",
    "mjx": "vmap(mjx.step) with the solver settings of our MJX engine",
    "mjx-default": "vmap(mjx.step) with the model's own solver settings",
}
# MJX is slow on a CPU. There it runs this share of the others' steps: rates can be compared.
MJX_SHARE_ON_CPU = 8


@dataclass(frozen=True)
class Arguments:
    """Measure environment steps per second."""

    env: tuple[str, ...] = ()
    """Robots; all by default."""
    engine: str = "auto"
    """Physics engine: auto, mujoco, mjx or mjx-warp."""
    num_envs: int = 256
    """Environments side by side."""
    unroll_length: int = 64
    """Control steps of each environment in one measurement."""
    repeats: int = 5
    """Measurements of each subject."""
    baselines: tuple[str, ...] = ("rollout", "mjx")
    """What to compare with: rollout, mjx, mjx-default."""
    out: Path | None = None
    """JSON file to write; runs/throughput-<time>.json by default."""


@dataclass
class Subject:
    """Something whose speed is measured.

    Attributes:
        name: as shown.
        env_steps: environment steps, over all environments, in one `run`.
        run: does them, and returns when they are done.
        compile_seconds: what compiling it took; None if there was nothing to compile.
        bytes_per_env: memory that the engine holds for each environment; None if not the question.
        rates: environment steps per second, one a repeat.
    """

    name: str
    env_steps: int
    run: Callable[[], object]
    compile_seconds: float | None = None
    bytes_per_env: float | None = None
    rates: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Runs once and notes the rate."""
        begin = time.perf_counter()
        self.run()
        self.rates.append(self.env_steps / (time.perf_counter() - begin))


@dataclass(frozen=True)
class Workload:
    """The same for all subjects of a robot.

    Attributes:
        env: single environment on the chosen engine.
        config: the robot's recovery preset, at the size asked for.
        qpos, qvel: starts, `(num_envs, nq)` and `(num_envs, nv)`.
        ctrl: random controls, `(unroll_length, num_envs, nu)`.
    """

    env: RecoveryEnv
    config: RunConfig
    qpos: jax.Array
    qvel: jax.Array
    ctrl: jax.Array

    @property
    def env_steps(self) -> int:
        return self.config.ppo.batch_size


def make_workload(name: str, arguments: Arguments) -> Workload:
    """Returns a robot's workload: its OOD start and random controls.

    Raises:
        UserError: impossible sizes, or an engine that cannot run here.
    """
    config = dataclasses.replace(preset(name, "recovery"), env=name, engine=arguments.engine)
    ppo = dataclasses.replace(
        config.ppo, num_envs=arguments.num_envs, unroll_length=arguments.unroll_length
    )
    # A small measurement may be less than one of the preset's minibatches.
    ppo = dataclasses.replace(ppo, minibatch_size=min(ppo.minibatch_size, max(1, ppo.batch_size)))
    config = dataclasses.replace(config, ppo=ppo)
    validate(config)
    try:
        env = envs.load(name, start="ood", engine=arguments.engine, terminate=config.terminate)
    except ValueError as error:
        raise UserError(str(error)) from None
    key, ctrl_key = jax.random.split(jax.random.key(0))
    start = jax.jit(jax.vmap(env.reset))(jax.random.split(key, ppo.num_envs))
    shape = (ppo.unroll_length, ppo.num_envs, env.action_size)
    ctrl = jax.random.uniform(ctrl_key, shape, minval=-1.0, maxval=1.0)
    return Workload(env, config, start.data.qpos, start.data.qvel, ctrl)


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
        np.asarray(workload.ctrl, float).swapaxes(0, 1), workload.env.frame_skip, axis=1
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
    share = MJX_SHARE_ON_CPU if jax.default_backend() == "cpu" else 1
    ctrl = workload.ctrl[: max(1, len(workload.ctrl) // share)]

    def init(qpos: jax.Array, qvel: jax.Array) -> Any:
        return mjx.make_data(model).replace(qpos=qpos, qvel=qvel)

    def step(data: Any, ctrl: jax.Array) -> Any:
        data = data.replace(ctrl=ctrl)
        frame_skip = workload.env.frame_skip
        return jax.lax.fori_loop(0, frame_skip, lambda _, d: mjx.step(device_model, d), data)

    name = "mjx-default" if default_solver else "mjx"
    data = jax.jit(jax.vmap(init))(workload.qpos, workload.qvel)
    return _physics_subject(name, data, step, ctrl, _tree_bytes(data) / len(workload.qpos))


def engine_alone(workload: Workload) -> Subject:
    """The environment's own engine inside a compiled program, nothing else."""
    env = workload.env
    data = jax.jit(jax.vmap(env.engine.init))(workload.qpos, workload.qvel)
    bytes_per_env = _tree_bytes(data) / len(workload.qpos)
    if isinstance(data, MujocoData):
        # The C engine keeps a row of its own, in double precision, for each environment.
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        bytes_per_env += 8 * mujoco.mj_stateSize(env.model, kind)

    def step(data: Any, ctrl: jax.Array) -> Any:
        return env.engine.step(data, ctrl, env.frame_skip)

    return _physics_subject(f"engine ({env.engine.name})", data, step, workload.ctrl, bytes_per_env)


def acting_and_training(workload: Workload) -> list[Subject]:
    """Acting (environment, reward, policy) and the whole PPO iteration, as a recovery run has them.

    Raises:
        UserError: no original policy ships for this robot.
    """
    env = workload.env
    header, original = policies.load_original(env.name)
    config = policies.with_shape_of(header, workload.config)
    program = compile_reward(
        library.source(env.name), state_size=env.recovery_state_size, action_size=env.action_size
    )
    ingredients = Ingredients(program, config.objective, header.network(), original)
    objective = make_objective(config.method, ingredients)
    # Schedules long enough that no measurement comes to their end.
    learner = Learner(env, objective, config.ppo, iterations=1_000_000, original=original)

    def act(state: TrainState) -> Any:
        bounds = learner.noise_bounds(state.iteration / 1_000_000)
        return collect(
            state.key,
            env,
            objective,
            learner.network,
            state.agent,
            original,
            bounds,
            state.acting,
            config.ppo.unroll_length,
            config.guard,
        )

    acting_state = learner.init(0)
    acting, acting_seconds = _compile(jax.jit(act), acting_state)
    training, training_seconds = _compile(learner.iterate, learner.init(0))
    # The iteration takes over the memory of its argument: each one starts from the last.
    states = [learner.init(0)]

    def train() -> None:
        state, metrics = training(states.pop())
        states.append(state)
        jax.block_until_ready((state, metrics))

    steps = workload.env_steps
    return [
        Subject(
            "engine + policy",
            steps,
            lambda: jax.block_until_ready(acting(acting_state)),
            acting_seconds,
        ),
        Subject("training", steps, train, training_seconds),
    ]


def _physics_subject(
    name: str,
    data: Any,
    step: Callable[[Any, jax.Array], Any],
    ctrl: jax.Array,
    bytes_per_env: float,
) -> Subject:
    """A batch of simulations from `data` under `ctrl`, `(time, num_envs, nu)`, compiled."""

    def run(data: Any, ctrl: jax.Array) -> Any:
        return jax.lax.scan(lambda data, ctrl: (jax.vmap(step)(data, ctrl), None), data, ctrl)[0]

    compiled, seconds = _compile(jax.jit(run), data, ctrl)
    env_steps = ctrl.shape[0] * ctrl.shape[1]
    return Subject(
        name,
        env_steps,
        lambda: jax.block_until_ready(compiled(data, ctrl)),
        seconds,
        bytes_per_env,
    )


def _compile(function: Any, *arguments: Any) -> tuple[Callable[..., Any], float]:
    begin = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    return compiled, time.perf_counter() - begin


def _tree_bytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def measure_robot(name: str, arguments: Arguments) -> list[Subject]:
    """Returns a robot's subjects, measured."""
    workload = make_workload(name, arguments)
    make_baseline = {
        "rollout": bare_rollout,
        "mjx": lambda workload: bare_mjx(workload, default_solver=False),
        "mjx-default": lambda workload: bare_mjx(workload, default_solver=True),
    }
    subjects = [
        *(make_baseline[baseline](workload) for baseline in arguments.baselines),
        engine_alone(workload),
        *acting_and_training(workload),
    ]
    for subject in subjects:
        subject.run()  # warms caches and thread pools up
    for _ in range(arguments.repeats):
        for subject in subjects:
            subject.measure()
    return subjects


def summary(subjects: list[Subject]) -> dict[str, dict[str, Any]]:
    """Returns median, range and ratio to the first subject, repeat by repeat, by name."""
    reference = subjects[0].rates
    return {
        subject.name: {
            "steps_per_second": statistics.median(subject.rates),
            "slowest": min(subject.rates),
            "fastest": max(subject.rates),
            "ratio": statistics.median(
                rate / other for rate, other in zip(subject.rates, reference, strict=True)
            ),
            "compile_seconds": subject.compile_seconds,
            "bytes_per_env": subject.bytes_per_env,
            "rates": subject.rates,
        }
        for subject in subjects
    }


def print_table(console: Console, name: str, rows: dict[str, dict[str, Any]]) -> None:
    """Prints a robot's table."""
    table = Table(title=name, title_justify="left")
    table.add_column("")
    for column in ("steps/s", "slowest - fastest", f"x {next(iter(rows))}", "compile", "per env"):
        table.add_column(column, justify="right")
    for subject, row in rows.items():
        compiling, size = row["compile_seconds"], row["bytes_per_env"]
        table.add_row(
            subject,
            f"{row['steps_per_second']:,.0f}",
            f"{row['slowest']:,.0f} - {row['fastest']:,.0f}",
            f"{row['ratio']:.2f}",
            "" if compiling is None else f"{compiling:.1f} s",
            "" if size is None else f"{size / 1024:.1f} KiB",
        )
    console.print(table)


def machine_facts() -> dict[str, Any]:
    """Returns what the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return {"platform": platform.platform(), "cpu": cpu, "cores": available_cores()}


def check(arguments: Arguments) -> None:
    """Checks names and sizes before anything is built.

    Raises:
        UserError: an unknown name (the known ones are listed), or a size that is not positive.
    """
    _check_names("--env", arguments.env, envs.names())
    _check_names("--engine", (arguments.engine,), ENGINES)
    _check_names("--baselines", arguments.baselines, BASELINES)
    for option in ("num_envs", "unroll_length", "repeats"):
        value = getattr(arguments, option)
        if value < 1:
            raise UserError(f"--{option.replace('_', '-')} must be at least 1, not {value}")
    if arguments.out is not None and not arguments.out.parent.is_dir():
        raise UserError(f"--out {arguments.out}: the folder {arguments.out.parent} does not exist")


def _check_names(option: str, given: tuple[str, ...], known: Any) -> None:
    for name in given:
        if name not in known:
            raise UserError(f"unknown {option} {name!r}; known: {', '.join(known)}")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.throughput", args=argv)
    console = Console(highlight=False, soft_wrap=True)
    now = datetime.datetime.now().astimezone()
    try:
        check(arguments)
        facts = system_facts()
        console.print(
            f"{arguments.num_envs} environments on {facts['device']}, {arguments.repeats} repeats"
        )
        robots = {}
        for name in arguments.env or policies.names():
            robots[name] = summary(measure_robot(name, arguments))
            print_table(console, name, robots[name])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.throughput", *(argv or sys.argv[1:])]),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine_facts(),
        **facts,
        "arguments": {k: v for k, v in dataclasses.asdict(arguments).items() if k != "out"},
        # Linux counts in KiB.
        "peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "robots": robots,
    }
    out = arguments.out or Path("runs") / f"throughput-{now:%Y%m%d-%H%M%S}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    console.print(f"Written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
