"""MJX's solver, contacts and integrator: speed and accuracy against C MuJoCo, per robot.

    python -m benchmarks.mjx_solver --env hopper

The same states, met under random actions from the OOD start, are stepped by C MuJoCo with the
model's own settings and by MJX with each of the settings. All are timed in turns.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from rich.console import Console
from rich.table import Table

import envs
from benchmarks import results
from benchmarks.options import at_least_one, chosen
from benchmarks.subjects import Subject, compile_timed, spread, take_turns
from envs import RecoveryEnv
from envs.physics.mjx_engine import CONTACT_LIMIT, MjxEngine
from lamour_jax.config import RunConfig
from lamour_jax.system import set_precision

# Control steps after which the error is taken. Later, contacts make all differences grow.
_HORIZONS = (1, 5)
_QUANTILES = {"median": 0.5, "95": 0.95, "worst": 1.0}
# Steps under random actions between the states that are taken.
_APART = 10


@dataclass(frozen=True)
class Setting:
    """How MJX is told to compute.

    Attributes:
        iterations, line_search: of the solver.
        contacts: the most of each kind (by their number of dimensions) that it is given, the
            deepest; None: all that MJX computes.
        integrator: of `mujoco.mjtIntegrator`, without its prefix; the model's own if empty.
    """

    iterations: int
    line_search: int
    contacts: int | None
    integrator: str = ""

    @property
    def name(self) -> str:
        numbers = f"{self.iterations} / {self.line_search} / {self.contacts or 'all'}"
        return f"{numbers}, {self.integrator}" if self.integrator else numbers


def settings_of(env: RecoveryEnv) -> list[Setting]:
    """Returns what is tried for a robot: the engine's own choice first, then one change at a time.

    The last is the model's own, as C MuJoCo has it, with all contacts.
    """
    model = MjxEngine(env.make_model()).model
    limit = contact_limit(model)
    own = Setting(int(model.opt.iterations), int(model.opt.ls_iterations), limit)
    others = [dataclasses.replace(own, iterations=count) for count in (1, 2, 4, 6, 12)]
    others += [dataclasses.replace(own, line_search=count) for count in (2, 8)]
    if limit is not None:
        others += [dataclasses.replace(own, contacts=count) for count in (None, limit // 2)]
    others += [
        dataclasses.replace(own, integrator=name)
        for name in ("EULER", "IMPLICITFAST")
        if _integrator(name) != model.opt.integrator
    ]
    default = env.model.opt
    others += [Setting(int(default.iterations), int(default.ls_iterations), None)]
    return list(dict.fromkeys([own, *others]))


def contact_limit(model: mujoco.MjModel) -> int | None:
    """Returns the most contacts that MJX gives the model's solver, None without a limit."""
    names = [model.numeric(index).name for index in range(model.nnumeric)]
    return int(model.numeric(CONTACT_LIMIT).data[0]) if CONTACT_LIMIT in names else None


def _integrator(name: str) -> int:
    return int(getattr(mujoco.mjtIntegrator, f"mjINT_{name}"))


@dataclass(frozen=True)
class Arguments:
    """Measure MJX's settings against C MuJoCo."""

    env: str = "all"
    """all, or robots: ant,hopper."""
    states: int = 64
    """States that are stepped side by side."""
    repeats: int = 3
    """Turns: measurements of each setting."""
    out: Path | None = None
    """CSV file to write; runs/mjx_solver-<time>.csv by default."""
    keep: bool = False
    """Add the measurements to benchmarks/results/mjx_solver.csv."""


def make_states(env: RecoveryEnv, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `qpos` and `qvel` of `count` states on the way of random actions."""
    lanes = max(1, count // 8)

    def step(state: envs.State, key: jax.Array) -> tuple[envs.State, None]:
        actions = jax.random.uniform(key, (lanes, env.action_size), minval=-1.0)
        return jax.vmap(env.step)(state, actions), None

    def later(state: envs.State, key: jax.Array) -> tuple[envs.State, tuple[jax.Array, jax.Array]]:
        state, _ = jax.lax.scan(step, state, jax.random.split(key, _APART))
        return state, (state.data.qpos, state.data.qvel)

    start = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), lanes))
    keys = jax.random.split(jax.random.key(1), -(-count // lanes))
    _, found = jax.jit(lambda state: jax.lax.scan(later, state, keys))(start)
    qpos, qvel = (np.asarray(x).reshape(-1, x.shape[-1])[:count] for x in found)
    return qpos, qvel


def mjx_program(env: RecoveryEnv, setting: Setting) -> Callable[..., Any]:
    """Returns `(qpos, qvel, controls) -> qpos, qvel, contacts` of one simulation.

    Each result has a leading axis of control steps; `contacts` counts the active ones, and how many
    MJX computes, active or not.
    """
    from mujoco import mjx

    model = env.make_model()
    model.opt.iterations, model.opt.ls_iterations = setting.iterations, setting.line_search
    if contact_limit(model) is not None:
        model.numeric(CONTACT_LIMIT).data[0] = -1 if setting.contacts is None else setting.contacts
    if setting.integrator:
        model.opt.integrator = _integrator(setting.integrator)
    device_model = mjx.put_model(model)

    def run(qpos: jax.Array, qvel: jax.Array, controls: jax.Array) -> Any:
        def step(data: Any, ctrl: jax.Array) -> Any:
            data = data.replace(ctrl=ctrl)
            frame_skip = env.frame_skip
            data = jax.lax.fori_loop(0, frame_skip, lambda _, d: mjx.step(device_model, d), data)
            contact = data._impl.contact
            active = contact.dist < contact.includemargin
            return data, (data.qpos, data.qvel, jnp.stack([active.sum(), active.size]))

        data = mjx.make_data(model).replace(qpos=qpos, qvel=qvel)
        return jax.lax.scan(step, data, controls)[1]

    return run


def reference(env: RecoveryEnv) -> Callable[..., Any]:
    """Returns `(qpos, qvel, controls) -> qpos, qvel` of one simulation in C MuJoCo."""

    def run(qpos: jax.Array, qvel: jax.Array, controls: jax.Array) -> Any:
        def step(data: Any, ctrl: jax.Array) -> Any:
            data = env.engine.step(data, ctrl, env.frame_skip)
            return data, (data.qpos, data.qvel)

        return jax.lax.scan(step, env.engine.init(qpos, qvel), controls)[1]

    return run


def errors(actual: Any, expected: Any) -> dict[str, float]:
    """Returns quantiles over the states of the largest relative error, by column of the table."""
    result = {}
    for horizon in _HORIZONS:
        parts = [
            np.abs(this[:, horizon - 1] - that[:, horizon - 1]).max(axis=1)
            / (1.0 + np.abs(that[:, horizon - 1]).max(axis=1))
            for this, that in zip(actual, expected, strict=True)
        ]
        worst = np.max(parts, axis=0)
        for name, share in _QUANTILES.items():
            # A broken simulation is infinitely wrong.
            quantile = np.nan_to_num(np.quantile(worst, share), nan=np.inf)
            result[f"error_{horizon}_{name}"] = float(quantile)
    return result


def measure(name: str, arguments: Arguments) -> list[dict[str, Any]]:
    """Returns a row of the table for each setting of a robot, the one in use first."""
    set_precision(RunConfig().precision)
    env = envs.load(name, start="ood", engine="mujoco")
    qpos, qvel = make_states(env, arguments.states)
    shape = (len(qpos), max(_HORIZONS), env.model.nu)
    controls = jax.random.uniform(jax.random.key(2), shape, minval=-1.0)
    controls = controls * env.model.actuator_ctrlrange[:, 1]
    inputs = tuple(map(jnp.asarray, (qpos, qvel, controls)))
    expected = jax.device_get(jax.jit(jax.vmap(reference(env)))(*inputs))
    subjects, rows, active = [], [], 0
    for setting in settings_of(env):
        program, seconds = compile_timed(jax.jit(jax.vmap(mjx_program(env, setting))), *inputs)
        *actual, contacts = jax.device_get(program(*inputs))
        if setting.contacts is None:
            active = max(active, int(contacts[..., 0].max()))
        row = {"robot": name, "setting": setting.name, **errors(actual, expected)}
        rows.append(row | {"contacts": int(contacts[..., 1].max()), "compile_seconds": seconds})

        def step(program: Any = program) -> object:
            return jax.block_until_ready(program(*inputs))

        subjects.append(Subject(setting.name, len(qpos) * max(_HORIZONS), step, seconds))
    take_turns(subjects, arguments.repeats)
    integrator = mujoco.mjtIntegrator(env.model.opt.integrator).name.removeprefix("mjINT_")
    used = subjects[0]
    for subject, row in zip(subjects, rows, strict=True):
        speed = spread([a / b for a, b in zip(subject.rates, used.rates, strict=True)])
        row |= {"speed": speed.median, "speed_low": speed.low, "speed_high": speed.high}
        row |= {"integrator": integrator, "contacts_active": active}
        row["in_use"] = "yes" if subject is used else ""
    return rows


def print_table(console: Console, rows: list[dict[str, Any]]) -> None:
    """Prints a robot's table."""
    first = rows[0]
    table = Table(
        title=f"{first['robot']}, integrator {first['integrator']}; "
        f"at most {first['contacts_active']} contacts active",
        title_justify="left",
    )
    table.add_column("iterations / line search / contacts")
    horizons = [f"{horizon}: median, 95 %, worst" for horizon in _HORIZONS]
    for column in ("speed", *horizons, "contacts", "compiling"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            f"{row['setting']} (in use)" if row["in_use"] else row["setting"],
            f"{row['speed']:.2f}",
            *(
                ", ".join(f"{row[f'error_{horizon}_{name}']:.0e}" for name in _QUANTILES)
                for horizon in _HORIZONS
            ),
            str(row["contacts"]),
            f"{row['compile_seconds']:.0f} s",
        )
    console.print(table)


def run(arguments: Arguments, console: Console) -> list[dict[str, Any]]:
    """Measures and prints; returns the rows of the table.

    Raises:
        UserError: an unknown name, or a size that is not positive.
    """
    found = []
    at_least_one(arguments, "states", "repeats")
    for name in chosen("--env", arguments.env, envs.names()):
        rows = measure(name, arguments)
        print_table(console, rows)
        found += rows
    console.print(
        "Errors of qpos and qvel against C MuJoCo after so many control steps, relative to "
        "1 + the largest entry; speed relative to the setting in use."
    )
    return found


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return results.program("mjx_solver", Arguments, run, argv)


if __name__ == "__main__":
    sys.exit(main())
