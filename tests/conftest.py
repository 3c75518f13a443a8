"""No test speaks to Google: keys are taken away, and a server on the loopback interface answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_codegen import gemini
from tests.reward_codegen.gemini_server import KEY, GeminiServer, serve

for _name in list(os.environ):
    if _name.startswith(("GOOGLE_", "GEMINI_")):
        del os.environ[_name]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GeminiServer]:
    """A server that is asked instead of Google, with a key, short waits and an empty cache."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    with serve() as running:
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(gemini, "FIRST_DELAY", 0.01)
        monkeypatch.setattr(gemini, "MAX_DELAY", 0.02)
        monkeypatch.setattr(gemini, "JITTER", 0.01)
        yield running
