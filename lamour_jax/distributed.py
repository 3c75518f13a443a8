"""Several processes, one on each host, as one run: how they meet, and what they agree on.

Every process runs the same program on the same settings (JAX's multi-controller model). The first
one, the main process, writes the run's folder and speaks; the others take part in learning and
write their shares of the checkpoints.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from lamour_jax.errors import UserError

T = TypeVar("T")

# A container may have a TPU and no way to ask who the others are.
_ALONE = " (if there are no others: --coordinator localhost:12355 --num-processes 1 --process-id 0)"


def connect(coordinator: str = "", num_processes: int = 0, process_id: int = -1) -> None:
    """Joins this process with the others, before JAX is used for anything.

    Without arguments the others are found where JAX knows how to: on Slurm, under `srun` with
    several tasks, and on TPU VMs, pods included. Elsewhere there are no others.

    Args:
        coordinator: `host:port` of the main process.
        num_processes: how many take part.
        process_id: which one this is; the main process is 0.

    Raises:
        UserError: impossible or incomplete arguments, or processes that do not meet.
    """
    given = [bool(coordinator), num_processes != 0, process_id != -1]
    if any(given) and not all(given):
        raise UserError(
            "--coordinator HOST:PORT, --num-processes and --process-id belong together; give all "
            "three to every process"
        )
    if coordinator:
        _, separator, port = coordinator.rpartition(":")
        if not separator or not port.isdecimal():
            raise UserError(f"--coordinator must be HOST:PORT, not {coordinator!r}")
        if num_processes < 1 or not 0 <= process_id < num_processes:
            raise UserError(
                f"--process-id must be 0 to {num_processes - 1} of --num-processes "
                f"{num_processes}, not {process_id}"
            )
        _initialize(coordinator, num_processes, process_id)
    elif _on_slurm() or _on_tpu():
        _initialize()


def leave(status: int) -> None:
    """Ends this process, if it is one of several, after an error that the others may not have.

    An ordinary end would wait for them, and they for this one, for minutes.
    """
    if several():
        sys.stdout.flush()
        sys.stderr.flush()
        # The main process holds the connections: errors that all have in common are told first.
        time.sleep(3.0 if is_main() else 0.0)
        os._exit(status)


def several() -> bool:
    """Whether there are other processes."""
    return jax.process_count() > 1


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return jax.process_index() == 0


def from_main(text: str) -> str:
    """Returns the main process's `text` on every process."""
    if not several():
        return text
    content = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    buffer = np.zeros(size, np.uint8)
    if is_main():
        buffer[:] = content
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(buffer))).decode()


def on_any(*flags: bool) -> tuple[bool, ...]:
    """Returns which of the flags hold on any process; every process gets the same answer."""
    if not several():
        return flags
    everywhere = np.asarray(multihost_utils.process_allgather(np.array(flags)))
    return tuple(bool(flag) for flag in np.any(everywhere, axis=0).tolist())


def main_first(action: Callable[[], T], between: Callable[[], None] = lambda: None) -> T:
    """Returns what `action` does, on the main process first and then on the others.

    Args:
        action: what each process does.
        between: what all do together after the main one's action, before the others'.

    Raises:
        UserError: it failed on the main process; the same error on all.
    """
    if not several():
        return action()
    if not is_main():
        failed = from_main("")
        if failed:
            raise UserError(failed)
        between()
        return action()
    try:
        done = action()
    except UserError as error:
        from_main(str(error))
        raise
    from_main("")
    between()
    return done


def _initialize(*arguments: str | int) -> None:
    try:
        jax.distributed.initialize(*arguments)  # type: ignore[arg-type]
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        alone = "" if arguments else _ALONE
        raise UserError(f"the processes of this run did not meet: {reason}{alone}") from None


def _on_slurm() -> bool:
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _on_tpu() -> bool:
    plugged_in = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(plugged_in) and importlib.util.find_spec("libtpu") is not None
