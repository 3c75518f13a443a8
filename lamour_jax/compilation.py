"""How long JAX has been compiling, by the events that it reports of itself."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType

import jax.monitoring

# Tracing, lowering and compiling; each is reported as a scalar when it begins and as a duration
# when it ends (jax._src.dispatch), and tracing is nested.
_PREFIX = "/jax/core/compile/"
# Between two of them less time passes than this [s] if they belong together.
_GAP = 0.3


class Compilation:
    """Watches the compiling of the thread that made it, inside a `with` block.

    Attributes:
        seconds: spent on tracing, lowering and compiling so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._thread = threading.get_ident()
        self._depth = 0
        self._begin = self._first = self._end = -math.inf

    def __enter__(self) -> Compilation:
        jax.monitoring.register_scalar_listener(self._begins)
        jax.monitoring.register_event_duration_secs_listener(self._ends)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        jax.monitoring.unregister_scalar_listener(self._begins)
        jax.monitoring.unregister_event_duration_listener(self._ends)

    def running(self) -> float:
        """Returns for how many seconds it has been compiling now; 0 if it is not."""
        now = time.monotonic()
        return now - self._first if self._depth or now - self._end < _GAP else 0.0

    def _begins(self, event: str, value: float, **_: str | int) -> None:
        if not event.startswith(_PREFIX) or threading.get_ident() != self._thread:
            return
        if self._depth == 0:
            self._begin = time.monotonic()
            if self._begin - self._end > _GAP:
                self._first = self._begin
        self._depth += 1

    def _ends(self, event: str, duration_secs: float, **_: str | int) -> None:
        if not event.startswith(_PREFIX) or threading.get_ident() != self._thread:
            return
        # One that had begun before this watch did is not counted.
        if self._depth == 0:
            return
        self._depth -= 1
        if self._depth == 0:
            self._end = time.monotonic()
            self.seconds += self._end - self._begin
