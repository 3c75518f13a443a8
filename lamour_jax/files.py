"""Files that are written whole, or not at all; and JSON that every reader takes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Writes a file whole, or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole, or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes strict JSON, whole or not at all: NaN becomes null."""
    write_text(path, json.dumps(plain_json(content), indent=2) + "\n")


def json_line(content: dict[str, Any]) -> str:
    """Returns strict JSON on one line: NaN becomes null."""
    return json.dumps(plain_json(content), allow_nan=False)


def plain_json(value: Any) -> Any:
    """Returns what JSON can say: tuples become lists, numbers that are not finite None."""
    if isinstance(value, dict):
        return {key: plain_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
