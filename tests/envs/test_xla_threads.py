"""Batches of factorisations side by side end on a host with two cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import jaxlib.version
import pytest

from envs.physics import xla_threads

# Matrices of the humanoid's size, for 256 of them.
SEVERAL_AT_ONCE = """
import os

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

import jax
import jax.numpy as jnp

import envs


def step(matrices, _):
    return [matrix + 1e-6 * jnp.linalg.cholesky(matrix) for matrix in matrices], None


def run(matrices):
    return jax.lax.scan(step, matrices, length=300)[0]


# A program of fewer instructions would be run one after the other.
matrices = [scale * jnp.broadcast_to(jnp.eye(27), (256, 27, 27)) for scale in (1.0, 2.0, 3.0, 4.0)]
jax.block_until_ready(jax.jit(run)(matrices))
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux only")
def test_batches_of_factorisations_on_two_cores_do_not_wait_for_each_other() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("NPROC", None)
    ran = subprocess.run(
        [sys.executable, "-c", SEVERAL_AT_ONCE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.stdout == "done\n", ran.stderr


@pytest.mark.parametrize(
    ("version", "cores", "before", "after"),
    [
        ((0, 10, 0), 2, None, "1"),
        ((0, 11, 0), 2, None, "1"),
        ((0, 10, 2), 1, None, None),
        ((0, 10, 2), 3, None, None),
        ((0, 10, 2), 2, "2", "2"),
        ((0, 9, 2), 2, None, None),
        ((0, 11, 1), 2, None, None),
    ],
)
def test_two_threads_become_one_where_they_would_wait_for_each_other(
    version: tuple[int, ...],
    cores: int,
    before: str | None,
    after: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jaxlib.version, "__version_info__", version)
    monkeypatch.setattr(xla_threads, "_cores", lambda: cores)
    monkeypatch.setattr(xla_threads, "_set_here", set())
    monkeypatch.setenv("NPROC", before or "")  # and so it is put back
    if before is None:
        monkeypatch.delenv("NPROC")
    xla_threads.avoid_two()
    assert os.environ.get("NPROC") == after
    assert xla_threads.environment_of_others().get("NPROC") == before
