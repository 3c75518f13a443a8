"""Where a run's metrics go beside `metrics.jsonl`: TensorBoard, Weights & Biases.

Names and meanings are in docs/metrics.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from lamour_jax.config import RunConfig
from lamour_jax.distributed import is_main
from lamour_jax.errors import UserError

Row = dict[str, float]


class Logger(Protocol):
    """Takes a run's metrics, a row an iteration."""

    def log(self, row: Row) -> None:
        """Takes the row of an iteration, its step under `env_steps`."""

    def close(self) -> None:
        """Finishes writing."""


class Loggers:
    """The loggers of one run, in a `with` block."""

    def __init__(self, config: RunConfig, folder: Path, earlier: Sequence[Row] = ()):
        """Opens the loggers that `config.log` names.

        Args:
            config: of the run.
            folder: of the run.
            earlier: rows of a run that goes on. What was logged after them is logged again.

        Raises:
            UserError: a logger cannot be opened.
        """
        names = config.log if is_main() else ()
        self._loggers: list[Logger] = []
        with contextlib.ExitStack() as opened:
            for name in names:
                self._loggers.append(KNOWN[name].open(config, folder, earlier))
                opened.callback(self._loggers[-1].close)
            self._closing = opened.pop_all()

    def __enter__(self) -> Loggers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.close()

    def log(self, row: Row) -> None:
        """Hands on a row."""
        for logger in self._loggers:
            logger.log(row)


def require(names: Sequence[str]) -> None:
    """Checks that the loggers can be used, before anything is written or compiled.

    Raises:
        UserError: one whose package is missing or not set up.
    """
    for name in names:
        KNOWN[name].require()


class TensorBoard:
    """Event files in `tensorboard/` of the run's folder, by tensorboardX (no TensorFlow)."""

    def __init__(self, folder: Path, earlier: Sequence[Row]):
        writer = importlib.import_module("tensorboardX").SummaryWriter
        path = folder / "tensorboard"
        # A run that goes on writes all rows again and has TensorBoard forget those of the older
        # files: what was measured after the checkpoint, and gaps where a process was killed.
        self._writer: Any = writer(str(path), purge_step=0 if path.exists() else None)
        for row in earlier:
            self.log(row)

    @staticmethod
    def require() -> None:
        _import("tensorboard", "tensorboardX", "SummaryWriter", "tensorboardX")

    @staticmethod
    def open(config: RunConfig, folder: Path, earlier: Sequence[Row]) -> TensorBoard:
        return TensorBoard(folder, earlier)

    def log(self, row: Row) -> None:
        for name, value in _scalars(row).items():
            self._writer.add_scalar(name, value, int(row["env_steps"]))

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run in the project `lamour_jax`, under the account that `wandb login` set up."""

    def __init__(self, config: RunConfig, folder: Path):
        wandb = importlib.import_module("wandb")
        try:
            self._run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "lamour_jax"),
                name=folder.name,
                # A run that goes on is the same run there.
                id=_identity(folder),
                resume="allow",
                dir=str(folder),
                config=dataclasses.asdict(config),
                # Several seeds in one process are several runs.
                reinit="create_new",
                # Nothing but the metrics: no copy of the console, the code or the git state.
                settings=wandb.Settings(
                    console="off", silent=True, save_code=False, disable_git=True
                ),
            )
        except wandb.Error as error:
            raise UserError(f"--log wandb: {' '.join(str(error).split())}") from None

    @staticmethod
    def require() -> None:
        wandb = _import("wandb", "wandb", "init", "'lamour-jax[wandb]'")
        mode = os.environ.get("WANDB_MODE", "online")
        if mode == "online" and not wandb.api.api_key:
            raise UserError(
                "--log wandb: no account is set up; run `wandb login`, or set WANDB_MODE=offline"
            )

    @staticmethod
    def open(config: RunConfig, folder: Path, earlier: Sequence[Row]) -> WeightsAndBiases:
        return WeightsAndBiases(config, folder)

    def log(self, row: Row) -> None:
        # Steps only ever rise there; the rows between a checkpoint and the end of an interrupted
        # run are measured again to the bit, and the service has them already.
        if row["env_steps"] >= self._run.step:
            self._run.log(_scalars(row), step=int(row["env_steps"]))

    def close(self) -> None:
        self._run.finish()


KNOWN: dict[str, type[TensorBoard] | type[WeightsAndBiases]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


def _scalars(row: Row) -> Row:
    """Returns the metrics of a row that have a value; the step and the clock are not among them."""
    return {name: value for name, value in row.items() if "/" in name and math.isfinite(value)}


def _import(name: str, module: str, attribute: str, package: str) -> Any:
    try:
        imported = importlib.import_module(module)
        # An empty folder of that name (wandb makes one) can be imported, too.
        getattr(imported, attribute)
    except (ImportError, AttributeError):
        raise UserError(
            f"--log {name} needs the package {module}, which is not installed: "
            f"`pip install {package}`"
        ) from None
    return imported


def _identity(folder: Path) -> str:
    """Returns the run's name at the service, made once and kept in its folder."""
    file = folder / "wandb_id"
    if not file.exists():
        file.write_text(os.urandom(8).hex(), encoding="utf-8")
    return file.read_text(encoding="utf-8")
