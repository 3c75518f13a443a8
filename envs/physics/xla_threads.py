"""XLA's threads on a host with two cores, on which MJX would wait for ever."""

from __future__ import annotations

import os

import jaxlib.version

# jaxlib 0.10.0 to 0.11.0 splits large batches of LAPACK calls over XLA's threads, and waits for all
# parts in the thread that splits (ParallelBatchMap in jaxlib/cpu/lapack_kernels.cc, without effect
# since jax-ml/jax 8599924 of 2026-07-21). Euler's method with joint damping factorises two batches
# side by side: of two threads both then wait, and none is left for the parts. A single thread does
# not split, and with three one is left (docs/speed.md has what was measured).
_FIRST, _MENDED = (0, 10, 0), (0, 11, 1)

_set_here: set[str] = set()


def avoid_two() -> None:
    """Sets `NPROC`, XLA's number of threads, to one where it would be two; a set one stays.

    Without effect once JAX has used a device, so it is called when `envs` is imported.
    """
    affected = _FIRST <= jaxlib.version.__version_info__ < _MENDED
    if affected and _cores() == 2 and "NPROC" not in os.environ:
        os.environ["NPROC"] = "1"
        _set_here.add("NPROC")


def environment_of_others() -> dict[str, str]:
    """Returns the environment for a process with a JAX of its own: without what was set here."""
    return {name: value for name, value in os.environ.items() if name not in _set_here}


def _cores() -> int:
    """Returns what XLA counts: cores that the process may run on, whatever a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
