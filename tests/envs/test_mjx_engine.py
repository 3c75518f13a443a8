"""MJX as an engine: what it carries from step to step, and how exactly it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from envs import RecoveryEnv, registry
from envs.physics.interface import EngineUnavailable
from envs.physics.mjx_engine import MjxEngine


def products(jaxpr: Any) -> Iterator[Any]:
    """Yields every matrix product of a program and of the programs in it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


def traced_step(name: str) -> tuple[Any, Any]:
    env = registry.load(name, start="ood", engine="mjx")
    data = jax.eval_shape(env.engine.init, jnp.zeros(env.model.nq), jnp.zeros(env.model.nv))
    ctrl = jnp.zeros(env.model.nu)
    return jax.make_jaxpr(lambda d, u: env.engine.step(d, u, 1))(data, ctrl), data


def test_networks_may_be_computed_in_less_but_not_physics() -> None:
    with jax.default_matmul_precision("bfloat16"):
        program, _ = traced_step("hopper")
    found = [equation.params["precision"] for equation in products(program.jaxpr)]
    assert len(found) > 20
    highest = jax.lax.Precision.HIGHEST
    assert all(precision == (highest, highest) for precision in found)


@pytest.mark.parametrize(("name", "numbers"), [("hopper", 6 + 6 + 6), ("humanoid", 28 + 27 + 27)])
def test_only_the_state_is_carried(name: str, numbers: int) -> None:
    _, data = traced_step(name)
    sensors = registry.get(name).make_model().nsensordata
    assert sum(leaf.size for leaf in jax.tree.leaves(data)) == numbers + sensors


@pytest.mark.parametrize("name", ["ant", "half_cheetah", "humanoid", "push_chair"])
def test_contacts_fit_into_those_that_mjx_solves_for(
    name: str, struggle: Callable[[RecoveryEnv], Iterator[mujoco.MjData]]
) -> None:
    env = registry.load(name, start="ood", engine="mujoco")
    limit = int(env.model.numeric("max_contact_points").data[0])
    # MJX counts those of each number of dimensions by themselves.
    most = max(np.bincount(data.contact.dim, minlength=1).max() for data in struggle(env))
    print(name, "has at most", most, "contacts")
    assert 0 < most <= 0.75 * limit


def test_a_limit_of_contacts_that_mjx_would_misread_is_refused() -> None:
    limit = '<numeric name="max_contact_points" data="8"/>'
    pose = '<numeric name="init_qpos" data="1 2"/>'
    for numerics in (limit, limit + pose):
        MjxEngine(falling_ball(numerics))
    with pytest.raises(EngineUnavailable, match="max_contact_points only .*: put it first"):
        MjxEngine(falling_ball(pose + limit))


def falling_ball(numerics: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(f"""
    <mujoco>
      <custom>{numerics}</custom>
      <worldbody>
        <geom type="plane" size="1 1 1"/>
        <body pos="0 0 1"><freejoint/><geom size="0.1"/></body>
      </worldbody>
    </mujoco>
    """)
