"""MJX's solver, contacts and integrator: speed and accuracy against C MuJoCo, per robot.

    python -m benchmarks.mjx_settings --env hopper

The same states, met under random actions from the OOD start, are stepped by C MuJoCo with the
model's own settings and by MJX with each of the settings. All are timed in turns.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import envs
from benchmarks.subjects import Subject, compile_timed
from benchmarks.throughput import machine_facts, names, spread, take_turns
from envs import RecoveryEnv
from envs.physics.mjx_engine import CONTACT_LIMIT, MjxEngine
from lamour_jax.config import RunConfig
from lamour_jax.errors import UserError
from lamour_jax.system import set_precision, system_facts

# Control steps after which the error is taken. Later, contacts make all differences grow.
_HORIZONS = (1, 5)
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
        more = [self.integrator] if self.integrator else []
        numbers = f"{self.iterations} / {self.line_search} / {self.contacts or 'all'}"
        return ", ".join([numbers, *more])


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
        if getattr(mujoco.mjtIntegrator, f"mjINT_{name}") != model.opt.integrator
    ]
    default = env.model.opt
    others += [Setting(int(default.iterations), int(default.ls_iterations), None)]
    return list(dict.fromkeys([own, *others]))


def contact_limit(model: mujoco.MjModel) -> int | None:
    """Returns the most contacts that MJX gives the model's solver, None without a limit."""
    names = [model.numeric(index).name for index in range(model.nnumeric)]
    return int(model.numeric(CONTACT_LIMIT).data[0]) if CONTACT_LIMIT in names else None


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
    """JSON file to write; runs/mjx-settings-<time>.json by default."""


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
        model.opt.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{setting.integrator}")
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


def errors(actual: Any, expected: Any) -> dict[str, dict[str, float]]:
    """Returns quantiles over the states of the largest relative error, by control step."""
    result = {}
    for horizon in _HORIZONS:
        worst = np.max(
            [
                np.abs(this[:, horizon - 1] - that[:, horizon - 1]).max(axis=1)
                / (1.0 + np.abs(that[:, horizon - 1]).max(axis=1))
                for this, that in zip(actual, expected, strict=True)
            ],
            axis=0,
        )
        median, most, largest = np.nan_to_num(np.quantile(worst, [0.5, 0.95, 1.0]), nan=np.inf)
        result[str(horizon)] = {"median": median, "95 %": most, "worst": largest}
    return result


def measure(name: str, arguments: Arguments) -> dict[str, Any]:
    """Returns what was measured of a robot, each setting by its name, the one in use first."""
    set_precision(RunConfig().precision)
    env = envs.load(name, start="ood", engine="mujoco")
    qpos, qvel = make_states(env, arguments.states)
    controls = jax.random.uniform(
        jax.random.key(2), (len(qpos), max(_HORIZONS), env.model.nu), minval=-1.0
    )
    controls = controls * env.model.actuator_ctrlrange[:, 1]
    inputs = tuple(map(jnp.asarray, (qpos, qvel, controls)))
    expected = jax.device_get(jax.jit(jax.vmap(reference(env)))(*inputs))
    subjects, results, computed, active = [], {}, {}, 0
    for setting in settings_of(env):
        program, seconds = compile_timed(jax.jit(jax.vmap(mjx_program(env, setting))), *inputs)
        *actual, contacts = jax.device_get(program(*inputs))
        results[setting.name] = errors(actual, expected)
        computed[setting.name] = int(contacts[..., 1].max())
        if setting.contacts is None:
            active = max(active, int(contacts[..., 0].max()))
        steps = len(qpos) * max(_HORIZONS)

        def run(program: Any = program) -> object:
            return jax.block_until_ready(program(*inputs))

        subjects.append(Subject(setting.name, steps, run, seconds))
    take_turns(subjects, arguments.repeats)
    used = subjects[0]
    return {
        "integrator": mujoco.mjtIntegrator(env.model.opt.integrator).name.removeprefix("mjINT_"),
        "contacts_active": active,
        "settings": {
            subject.name: {
                "errors": results[subject.name],
                "speed": spread([a / b for a, b in zip(subject.rates, used.rates, strict=True)]),
                "contacts": computed[subject.name],
                "compile_seconds": subject.compile_seconds,
            }
            for subject in subjects
        },
    }


def print_table(console: Console, name: str, measured: dict[str, Any]) -> None:
    """Prints a robot's table."""
    table = Table(
        title=f"{name}, integrator {measured['integrator']}; "
        f"at most {measured['contacts_active']} contacts active",
        title_justify="left",
    )
    table.add_column("iterations / line search / contacts")
    horizons = [f"{horizon}: median, 95 %, worst" for horizon in _HORIZONS]
    for column in ("speed", *horizons, "contacts", "compiling"):
        table.add_column(column, justify="right")
    for index, (setting, row) in enumerate(measured["settings"].items()):
        table.add_row(
            f"{setting} (in use)" if index == 0 else setting,
            f"{row['speed']['median']:.2f}",
            *(
                ", ".join(f"{value:.0e}" for value in row["errors"][str(horizon)].values())
                for horizon in _HORIZONS
            ),
            str(row["contacts"]),
            f"{row['compile_seconds']:.0f} s",
        )
    console.print(table)


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = sys.argv[1:] if argv is None else argv
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.mjx_settings", args=given)
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    now = datetime.datetime.now().astimezone()
    try:
        robots = names("--env", arguments.env, envs.names(), "all")
        if min(arguments.states, arguments.repeats) < 1:
            raise UserError("--states and --repeats must be at least 1")
        if arguments.out is not None and not arguments.out.parent.is_dir():
            raise UserError(f"--out: the folder {arguments.out.parent} does not exist")
        measured = {}
        for name in robots:
            measured[name] = measure(name, arguments)
            print_table(console, name, measured[name])
    except (UserError, envs.ModelUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console.print(
        "Errors of qpos and qvel against C MuJoCo after so many control steps, relative to "
        "1 + the largest entry; speed relative to the setting in use."
    )
    out = arguments.out or Path("runs") / f"mjx-settings-{now:%Y%m%d-%H%M%S}.json"
    out.parent.mkdir(exist_ok=True)
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.mjx_settings", *given]),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine_facts(),
        **system_facts(),
        "robots": measured,
    }
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    console.print(f"Written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
