"""A run's folder: made once, never over another run's, every file written whole.

A run that was interrupted goes on in the folder that it has (`reopen`).
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import math
import shutil
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from lamour_jax.distributed import from_main, is_main, on_any, several
from lamour_jax.errors import UserError
from lamour_jax.files import json_line, write_bytes, write_json, write_text
from lamour_jax.run import lock

# What every process of a run reads.
_SHARED = ("config.yaml", "metrics.jsonl", "reward.py", "reward_report.json")
# Seconds that a network's file system may take to show what another host has written.
_APPEARS_WITHIN = 30.0
# What a run writes before its settings, with which it has begun.
_EARLY = ("generation", "reward.py", "reward_report.json", "reward_report.txt")


class RunFolder:
    """Names the files of a run.

    Attributes:
        path: the folder.
        checkpoints: where the checkpoints are.
    """

    def __init__(self, path: Path, again: bool = False):
        """Creates the folder.

        Args:
            path: of the folder.
            again: whether it may hold what a run leaves that ended before its settings were
                written.

        Raises:
            UserError: it holds something already, is a file, or cannot be written; or another
                process has it.
        """
        self._name(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = _occupied(path, again)
            if not occupied:
                lock.take(path)
                # Another process may have been faster.
                occupied = _occupied(path, again)
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"output folder {path} is a file; give --out a new folder") from None
        except OSError as error:
            raise UserError(f"output folder {path} cannot be written: {error.strerror}") from None
        if occupied:
            self.release()
            raise UserError(
                f"output folder {path} is not empty; give --out a new folder (nothing was changed)"
            )

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Returns the folder of a run that was interrupted.

        Raises:
            UserError: there is no run in it, or one that is finished, or it cannot be written; or
                another process has it.
        """
        if not (path / "config.yaml").is_file():
            raise UserError(f"no run in {path}: it has no config.yaml")
        if (path / "result.json").exists():
            raise UserError(f"the run in {path} is already finished: it has a result.json")
        try:
            lock.take(path)
        except OSError as error:
            raise UserError(f"run folder {path} cannot be written: {error.strerror}") from None
        folder = cls.__new__(cls)
        folder._name(path)
        return folder

    @classmethod
    def follow(cls, main: Path) -> RunFolder:
        """Returns the folder of another process than the main one, whose folder is `main`.

        What it writes is thrown away when the process ends; checkpoints are everybody's.
        """
        folder = cls.__new__(cls)
        folder._name(Path(tempfile.mkdtemp(prefix="lamour_jax-")), main)
        atexit.register(shutil.rmtree, folder.path, ignore_errors=True)
        return folder

    def share(self) -> None:
        """Gives the other processes what the main one has written so far; called by all of them.

        It is sent, not read: a network's file system may show them what was there before.

        Raises:
            UserError: not all of them see the main one's folder, where their checkpoints go.
        """
        if not several():
            return
        mark = self._main / f".{from_main(uuid.uuid4().hex)}.partial"
        texts = {}
        if is_main():
            mark.touch()
            there = [name for name in _SHARED if (self.path / name).is_file()]
            texts = {name: (self.path / name).read_text(encoding="utf-8") for name in there}
        texts = json.loads(from_main(json.dumps(texts)))
        [missing] = on_any(not _appears(mark))
        if is_main():
            mark.unlink()
        if missing:
            raise UserError(
                f"not every process of this run sees the folder {self._main}: give --out on "
                "storage that all hosts share"
            )
        for name, text in texts.items() if not is_main() else ():
            self.write_text(name, text)

    def _name(self, path: Path, main: Path | None = None) -> None:
        self.path, self._main = path, main or path
        self.checkpoints = self._main / "checkpoints"

    @classmethod
    def make_default(cls, name: str) -> Path:
        """Makes `runs/<time>-<name>` below the current folder, which no other process has made.

        Raises:
            UserError: it cannot be made.
        """
        wanted = Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
        try:
            wanted.parent.mkdir(exist_ok=True)
            for number in itertools.count(1):
                path = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
                with contextlib.suppress(FileExistsError):
                    path.mkdir()
                    break
        except OSError as error:
            raise UserError(f"output folder {wanted} cannot be made: {error.strerror}") from None
        return path

    def release(self) -> None:
        """Lets other processes have the folder."""
        lock.release(self.path)

    def write_text(self, name: str, text: str) -> None:
        """Writes a file whole, or not at all."""
        write_text(self.path / name, text)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file whole, or not at all."""
        write_bytes(self.path / name, content)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Writes strict JSON: NaN becomes null."""
        write_json(self.path / name, content)

    def metrics(self) -> list[dict[str, Any]]:
        """Returns the rows of `metrics.jsonl` (see `read_metrics`)."""
        return read_metrics(self.path)

    def cut_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Leaves only `rows` in `metrics.jsonl`."""
        self.write_text("metrics.jsonl", "".join(json_line(row) + "\n" for row in rows))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json_line(row) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run's `metrics.jsonl` up to one that is not whole; null becomes NaN."""
    file = run / "metrics.jsonl"
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            break  # half written when the run was interrupted
        rows.append({k: math.nan if value is None else value for k, value in row.items()})
    return rows


def read_result(run: Path) -> dict[str, Any]:
    """Returns a finished run's `result.json`.

    Raises:
        UserError: the run is not finished, or the file is damaged.
    """
    file = run / "result.json"
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(result, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        raise UserError(
            f"the run in {run} is not finished; go on by "
            f"`python -m lamour_jax.train --resume {run}`"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error})") from None
    return result


def _appears(file: Path) -> bool:
    """Returns whether a file is there, or comes to be seen soon."""
    end = time.monotonic() + _APPEARS_WITHIN
    while not file.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _occupied(path: Path, again: bool) -> bool:
    """Whether a folder holds something; `again`, something else than an early end leaves."""
    names = {entry.name for entry in path.iterdir()} - {lock.NAME}
    return any(not (again and (name in _EARLY or name.endswith(".partial"))) for name in names)
