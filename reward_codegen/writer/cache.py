"""Replies kept on disk: a request that was answered before is free, and works offline."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reward_codegen.writer.language_model import (
    LanguageModel,
    LanguageModelError,
    Reply,
    Request,
    Usage,
    usable_text,
)

_FORMAT_VERSION = 1


def default_folder() -> Path:
    """Returns the user's cache folder for replies, following the XDG convention."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lamour_jax" / "replies"


class CachedModel:
    """A model whose complete replies are kept, one file each.

    A reply is found again if everything is the same that decides it: the model, its parameters,
    the prompts, the pictures, temperature, output budget and seed. Blocked, empty, cut-off and
    refusing replies are not kept; that a model takes no pictures is. Files are only ever added; of
    several for one request the newest counts. A folder that cannot be written is as good as none.
    """

    def __init__(
        self,
        model: LanguageModel,
        folder: Path,
        regenerate: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ):
        """Puts a cache before a model.

        Args:
            model: is asked what is not in the cache.
            folder: of the cache; it need not exist.
            regenerate: write to the cache, but do not read it.
            say: is told in a line when the model itself is asked.
        """
        self._model = model
        self._say = say
        self._folder = folder
        self._regenerate = regenerate

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def parameters(self) -> dict[str, Any]:
        return self._model.parameters

    def ask(self, request: Request) -> Reply:
        """Answers from the cache, else from the model."""
        question = {
            "format": _FORMAT_VERSION,
            "model": self.name,
            "parameters": self.parameters,
            "request": request.to_json(),
        }
        text = json.dumps(question, sort_keys=True, ensure_ascii=True)
        key = hashlib.sha256(text.encode()).hexdigest()
        if not self._regenerate:
            for file in reversed(self._entries(key)):
                reply = _read(file)
                if reply is not None:
                    return reply
        self._say(f"asking {self.name} ...")
        reply = self._model.ask(request)
        if _is_complete(reply):
            self._write(key, {**question, "reply": dataclasses.asdict(reply)})
        return reply

    def _entries(self, key: str) -> list[Path]:
        return sorted(self._folder.glob(f"{key}-*.json"))

    def _write(self, key: str, content: dict[str, Any]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # Written beside and then linked: whole or not at all, and never over another.
            temporary = self._folder / f".{key}-{os.getpid()}.partial"
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
            number = len(self._entries(key)) + 1
            while True:
                try:
                    os.link(temporary, self._folder / f"{key}-{number:04}.json")
                    break
                except FileExistsError:
                    number += 1
            temporary.unlink()
        except OSError:
            return


def _is_complete(reply: Reply) -> bool:
    if reply.finish_reason == "no pictures":
        return True
    try:
        usable_text(reply)
    except LanguageModelError:
        return False
    return reply.finish_reason == "stop"


def _read(file: Path) -> Reply | None:
    """The reply of an entry, or None if the file is damaged."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))["reply"]
        usage = Usage(**fields.pop("usage"))
        reply = Reply(**{**fields, "usage": usage, "from_cache": True})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return reply if isinstance(reply.text, str) else None
