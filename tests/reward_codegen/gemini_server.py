"""A server on the loopback interface that speaks the REST protocol of the Gemini API.

Each test scripts its answers; what was asked is kept, as it came in.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reward_codegen import gemini

KEY = "AIzaSy-a-key-that-must-not-be-seen-0123456789"


@dataclass(frozen=True)
class Answer:
    """What the server does with one request.

    Attributes:
        body: sent as JSON, or as it is.
        status: HTTP status.
        delay: seconds before anything is sent.
        cut: bytes of the body after which the connection breaks off; 0 for before the status line.
    """

    body: Any = None
    status: int = 200
    delay: float = 0.0
    cut: int | None = None


def text(words: str, finish: str = "STOP", thoughts: int = 7, **fields: Any) -> Answer:
    """An ordinary reply: a thought, which is no part of the text, and the text in two parts."""
    middle = len(words) // 2
    parts = [{"text": words[:middle]}, {"text": words[middle:]}]
    return Answer(
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [{"text": "Let me think.", "thought": True}, *parts],
                    },
                    "finishReason": finish,
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 100,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": thoughts,
                "totalTokenCount": 120 + thoughts,
            },
            "modelVersion": "gemini-test-001",
            **fields,
        }
    )


def out_of_budget() -> Answer:
    """Thinking used up all output tokens: a candidate without parts."""
    return Answer(
        {
            "candidates": [
                {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
            ],
            "usageMetadata": {"promptTokenCount": 100, "thoughtsTokenCount": 16_884},
            "modelVersion": "gemini-test-001",
        }
    )


def blocked_prompt(reason: str = "SAFETY") -> Answer:
    return Answer({"promptFeedback": {"blockReason": reason}, "modelVersion": "gemini-test-001"})


def blocked_reply(reason: str = "RECITATION") -> Answer:
    return Answer({"candidates": [{"finishReason": reason, "index": 0}]})


def error(status: int, word: str, message: str, reason: str = "") -> Answer:
    """An error as Google's services report it; it quotes the key, as some do."""
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.DebugInfo",
            "detail": f"seen with key {KEY}",
        }
    ]
    if reason:
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason})
    body = {"code": status, "message": f"{message} [{KEY}]", "status": word, "details": details}
    return Answer({"error": body}, status)


def wrong_key() -> Answer:
    return error(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        "API_KEY_INVALID",
    )


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """The text parts of the question."""
        return "\n".join(part["text"] for part in self._parts if "text" in part)

    @property
    def system(self) -> str:
        return "\n".join(part["text"] for part in self.body["systemInstruction"]["parts"])

    @property
    def pictures(self) -> list[bytes]:
        data = [part["inlineData"] for part in self._parts if "inlineData" in part]
        # Either spelling is right in the JSON form of a protocol buffer.
        kinds = {entry.get("mimeType", entry.get("mime_type")) for entry in data}
        assert kinds <= {"image/png"}
        return [base64.urlsafe_b64decode(entry["data"]) for entry in data]

    @property
    def settings(self) -> dict[str, Any]:
        return self.body["generationConfig"]

    @property
    def _parts(self) -> list[dict[str, Any]]:
        return [part for content in self.body["contents"] for part in content["parts"]]


@dataclass
class GeminiServer:
    """The server's script and its record.

    Attributes:
        url: to be set as the client's base URL.
        script: answers still to be given; when it is used up, `otherwise` answers.
        asked: the requests so far.
    """

    url: str
    script: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    otherwise: Callable[[Asked], Answer] = lambda asked: error(500, "INTERNAL", "unscripted")

    def next_answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return self.script.pop(0) if self.script else self.otherwise(asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gemini: GeminiServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        asked = Asked(
            self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(content)
        )
        answer = self.gemini.next_answer(asked)
        if answer.delay:
            time.sleep(answer.delay)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.cut == 0:
            self.close_connection = True
            self.connection.close()
            return
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if answer.cut is None else body[: answer.cut])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has stopped waiting
        if answer.cut is not None:
            self.close_connection = True

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed on purpose
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve() -> Iterator[GeminiServer]:
    """Runs a server for the length of a `with` block."""
    handler = type("Handler", (_Handler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    http.block_on_close = False
    server = GeminiServer(f"http://127.0.0.1:{http.server_address[1]}")
    handler.gemini = server  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@contextmanager
def asked_instead(patch: pytest.MonkeyPatch, cache: Path) -> Iterator[GeminiServer]:
    """Runs a server that is asked instead of Google, with a key, short waits and an empty cache."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            patch.delenv(name)
    with serve() as running:
        patch.setenv("GOOGLE_GEMINI_BASE_URL", running.url)
        patch.setenv("GEMINI_API_KEY", KEY)
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setattr(gemini, "FIRST_DELAY", 0.01)
        patch.setattr(gemini, "MAX_DELAY", 0.02)
        patch.setattr(gemini, "JITTER", 0.01)
        yield running
