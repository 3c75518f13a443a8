"""For all tests: no key is there, and what one process of a run compiles serves the others.

No test speaks to Google; a server on the loopback interface answers.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before JAX is imported. For this run alone: the next one compiles anew.
_PROGRAMS = tempfile.TemporaryDirectory(prefix="lamour_jax-programs-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _PROGRAMS.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import pytest  # noqa: E402

from tests.reward_codegen.gemini_server import GeminiServer, asked_instead  # noqa: E402

for _name in list(os.environ):
    if _name.startswith(("GOOGLE_", "GEMINI_", "OPENAI_")):
        del os.environ[_name]


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """What Ctrl-C does in a shell; what runs in the background is started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GeminiServer]:
    """A server that is asked instead of Google, with a key, short waits and an empty cache."""
    with asked_instead(monkeypatch, tmp_path / "cache") as running:
        yield running
