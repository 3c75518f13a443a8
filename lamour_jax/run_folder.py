"""A run's folder: made once, never over another run's, every file written whole."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from lamour_jax.errors import UserError


class RunFolder:
    """Names the files of a run.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path):
        """Creates the folder.

        Raises:
            UserError: it holds something already, is a file, or cannot be written.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = any(path.iterdir())
            probe = path / ".writable"
            if not occupied:
                probe.touch()
                probe.unlink()
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"output folder {path} is a file; give --out a new folder") from None
        except OSError as error:
            raise UserError(f"output folder {path} cannot be written: {error.strerror}") from None
        if occupied:
            raise UserError(
                f"output folder {path} is not empty; give --out a new folder (nothing was changed)"
            )

    @classmethod
    def default_path(cls, name: str) -> Path:
        """Returns `runs/<time>-<name>` below the current folder."""
        return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"

    def write_text(self, name: str, text: str) -> None:
        """Writes a file whole, or not at all."""
        temporary = self.path / f".{name}.partial"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.path / name)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes strict JSON: NaN becomes null."""
        self.write_text(name, json.dumps(_strict(content), indent=2) + "\n")

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_strict(row)) + "\n")


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
