"""The record of a generation: every attempt in a folder of its own, written as it happens."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reward_codegen.writer.language_model import LanguageModel, Picture, Reply, Request


class AttemptLog:
    """Numbers the attempts of a generation. Files are only ever added.

    Each attempt's folder, `01-describe`, `02-reason`, `03-write`, `04-repair`, ..., holds

    - before anything is sent: `system.md`, `prompt.md`, `picture.png` if there is one, and
      `request.json` (model, parameters, sizes and hashes of what is sent, time);
    - as soon as there is a reply: `reply.txt` and `reply.json` (finish reason, model version, token
      usage, seconds, hash, whether it came from the cache);
    - when it has been judged: `outcome.json` (what was wrong with it, if anything), and the program
      and its report if it was one.
    """

    def __init__(self, folder: Path):
        """Puts the record into `folder`, after the attempts that it holds already.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        numbers = [entry.name.partition("-")[0] for entry in folder.iterdir()]
        self._last = max((int(number) for number in numbers if number.isdigit()), default=0)

    def begin(self, stage: str, model: LanguageModel, request: Request) -> Attempt:
        """Writes down what is about to be asked."""
        self._last += 1
        attempt = Attempt(self.folder / f"{self._last:02}-{stage}", stage)
        prompt = "\n\n".join(
            f"[picture.png, SHA-256 {part.sha256}]" if isinstance(part, Picture) else part
            for part in request.parts
        )
        attempt.write("system.md", request.system)
        attempt.write("prompt.md", prompt)
        for picture in request.pictures:
            attempt.write_bytes("picture.png", picture.png)
        attempt.write_json(
            "request.json",
            {
                "model": model.name,
                "parameters": model.parameters,
                "temperature": request.temperature,
                "output_tokens": request.output_tokens,
                "seed": request.seed,
                "pictures": [picture.sha256 for picture in request.pictures],
                "system_sha256": _sha256(request.system),
                "prompt_sha256": _sha256(prompt),
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
        return attempt

    def write_result(self, content: dict[str, Any]) -> None:
        """Writes what it all came to, numbered as the last attempt."""
        with (self.folder / f"{self._last:02}-result.json").open("x", encoding="utf-8") as file:
            file.write(_json(content))


class Attempt:
    """One request, its reply and what became of it.

    Attributes:
        folder: holds it.
        stage: `describe`, `reason`, `write` or `repair`.
        seconds: from the question to the reply; None as long as there is none.
    """

    def __init__(self, folder: Path, stage: str):
        folder.mkdir()
        self.folder = folder
        self.stage = stage
        self.seconds: float | None = None
        self._begin = time.monotonic()

    def answered(self, reply: Reply) -> None:
        """Writes down the reply."""
        self.seconds = time.monotonic() - self._begin
        self.write("reply.txt", reply.text)
        self.write_json(
            "reply.json",
            {
                "model_version": reply.model_version,
                "finish_reason": reply.finish_reason,
                "detail": reply.detail,
                "usage": asdict(reply.usage),
                "seconds": round(self.seconds, 3),
                "from_cache": reply.from_cache,
                "sha256": _sha256(reply.text),
            },
        )

    def ended(self, problem: str | None, **facts: Any) -> None:
        """Writes down whether the reply is of use, or why not."""
        seconds = time.monotonic() - self._begin
        self.write_json(
            "outcome.json",
            {"usable": problem is None, "error": problem, "seconds": round(seconds, 3), **facts},
        )

    def write(self, name: str, text: str) -> None:
        """Writes a new text file.

        Raises:
            FileExistsError: there is one of that name.
        """
        self.write_bytes(name, text.encode("utf-8", errors="replace"))

    def write_bytes(self, name: str, content: bytes) -> None:
        with (self.folder / name).open("xb") as file:
            file.write(content)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        self.write(name, _json(content))


def _json(content: dict[str, Any]) -> str:
    """Strict JSON: numbers that are not finite become null."""
    return json.dumps(_strict(content), indent=2, allow_nan=False) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="replace")).hexdigest()
