"""A server on the loopback interface that answers as a test scripts it.

What was asked is kept, as it came in. `gemini_server` and `openai_server` speak a protocol each.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from reward_codegen.writer.providers import client

KEY = "AIzaSy-a-key-that-must-not-be-seen-0123456789"


@dataclass(frozen=True)
class Answer:
    """What the server does with one request.

    Attributes:
        body: sent as JSON, or as it is.
        status: HTTP status.
        headers: beside the usual ones.
        delay: seconds before anything is sent.
        cut: bytes of the body after which the connection breaks off; 0 for before the status line.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None


@dataclass(frozen=True)
class Request:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


A = TypeVar("A", bound=Request)


@dataclass
class Server(Generic[A]):
    """The server's script and its record.

    Attributes:
        url: where it listens.
        understand: the protocol's view of a request.
        script: answers still to be given; when it is used up, `otherwise` answers.
        asked: the requests so far.
    """

    url: str
    understand: type[A]
    script: list[Answer] = field(default_factory=list)
    asked: list[A] = field(default_factory=list)
    otherwise: Callable[[A], Answer] = lambda asked: Answer({"error": "unscripted"}, 418)

    def next_answer(self, asked: A) -> Answer:
        self.asked.append(asked)
        return self.script.pop(0) if self.script else self.otherwise(asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    running: Server[Any]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = self.running.understand(self.path, headers, json.loads(content))
        answer = self.running.next_answer(asked)
        if answer.delay:
            time.sleep(answer.delay)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.cut == 0:
            self.close_connection = True
            self.connection.close()
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # no longer waited for
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            for name, value in {**headers, **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body if answer.cut is None else body[: answer.cut])
        if answer.cut is not None:
            self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed on purpose
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(understand: type[A]) -> Iterator[Server[A]]:
    """Runs a server for the length of a `with` block."""
    handler = type("Handler", (_Handler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    http.block_on_close = False
    running = Server(f"http://127.0.0.1:{http.server_address[1]}", understand)
    handler.running = running  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield running
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def on_our_own(patch: pytest.MonkeyPatch, cache: Path) -> None:
    """No proxy, an empty cache, and short waits."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            patch.delenv(name)
    patch.setenv("XDG_CACHE_HOME", str(cache))
    patch.setattr(client, "FIRST_DELAY", 0.01)
