"""How a command of this package ends when it is interrupted, or when the physics fails."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from envs.physics import host_call

_PHYSICS_FAILED = "PhysicsError: "


def ends_cleanly(main: Callable[..., int]) -> Callable[..., int]:
    """Wraps a command: Ctrl-C stops it at once, and neither that nor failed physics is a traceback.

    The exit status is 130 when interrupted, as in a shell, and 1 when the physics failed.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> int:
        try:
            with host_call.interruptible():
                return main(argv)
        except KeyboardInterrupt:
            print(
                "Stopped. A training that has saved a checkpoint goes on by: "
                "python -m lamour_jax.train --resume RUN",
                file=sys.stderr,
            )
            return 130
        except host_call.FAILURES as error:
            _, failed, reason = str(error).partition(_PHYSICS_FAILED)
            if not failed:
                raise
            print(f"error: MuJoCo failed in {reason.splitlines()[0]}", file=sys.stderr)
            return 1

    return wrapped
