"""How many programs are compiled, and how many come from the cache."""

from __future__ import annotations

from typing import Any

import jax


class CompilationCounter:
    """Counts what is compiled and what is read from the cache while it is entered.

    Attributes:
        compiled: programs that were compiled.
        loaded: programs that came from the cache.
    """

    def __init__(self) -> None:
        self._requested = self.loaded = 0

    @property
    def compiled(self) -> int:
        return self._requested - self.loaded

    def __enter__(self) -> CompilationCounter:
        jax.monitoring.register_event_listener(self._event)
        jax.monitoring.register_event_duration_secs_listener(self._duration)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_listener(self._event)
        jax.monitoring.unregister_event_duration_listener(self._duration)

    def _event(self, event: str, **kwargs: Any) -> None:
        self.loaded += event == "/jax/compilation_cache/cache_hits"

    def _duration(self, event: str, duration_secs: float, **kwargs: Any) -> None:
        self._requested += event == "/jax/core/compile/backend_compile_duration"
