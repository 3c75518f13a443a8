"""Same seed, same bits on the host engine, in any process and on any number of cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.lamour_jax import tiny_run


def digest_on(cores: int) -> str:
    """Returns the digest of the tiny run in a process of its own that may use `cores` cores."""
    process = subprocess.run(
        [sys.executable, "-m", tiny_run.__name__, str(cores)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    return process.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_same_bits_on_one_core_and_on_all() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this machine has a single core")
    one, two = digest_on(1), digest_on(2)
    assert len(one) == 64
    assert one == two
