"""Metrics go to TensorBoard, and to Weights & Biases when asked; a missing logger is said."""

from __future__ import annotations

import importlib
import math
import struct
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

import lamour_jax.train as command
from lamour_jax.config import RunConfig, override
from lamour_jax.errors import UserError
from lamour_jax.loggers import Loggers, require
from lamour_jax.train import Arguments, main, resolve

CONFIG = RunConfig()


def row(steps: int, **values: float) -> dict[str, float]:
    named = {name.replace("_", "/", 1): value for name, value in values.items()}
    return {"env_steps": steps, "wall_seconds": 0.1 * steps, **named}


def events(folder: Path) -> list[Any]:
    """Reads TensorBoard's event files, oldest first: length, checksum, message, checksum."""
    event_pb2 = importlib.import_module("tensorboardX.proto.event_pb2")
    read = []
    for file in sorted((folder / "tensorboard").iterdir(), key=lambda file: file.stat().st_ctime):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            read.append(event_pb2.Event.FromString(content[at + 12 : at + 12 + length]))
            at += 12 + length + 4
    return read


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """Returns what TensorBoard shows: a session that starts forgets the steps from its own on."""
    points: list[tuple[int, float]] = []
    for event in events(folder):
        if event.HasField("session_log"):
            points = [point for point in points if point[0] < event.step]
        points += [(event.step, v.simple_value) for v in event.summary.value if v.tag == name]
    return points


def test_tensorboard_has_every_value(tmp_path: Path) -> None:
    with Loggers(CONFIG, tmp_path) as loggers:
        loggers.log(row(64, training_loss=1.0, episode_return=math.nan))
        loggers.log(row(128, training_loss=0.5, episode_return=3.0))
    assert curve(tmp_path, "training/loss") == [(64, 1.0), (128, 0.5)]
    assert curve(tmp_path, "episode/return") == [(128, 3.0)], "a mean over nothing has no value"
    tags = {value.tag for event in events(tmp_path) for value in event.summary.value}
    assert tags == {"training/loss", "episode/return"}


def test_a_run_that_goes_on_repeats_no_step(tmp_path: Path) -> None:
    rows = [row(step, training_loss=float(step)) for step in range(1, 7)]
    with Loggers(CONFIG, tmp_path) as loggers:
        for entry in rows[:5]:
            loggers.log(entry)
    # The checkpoint was after the third.
    with Loggers(CONFIG, tmp_path, rows[:3]) as loggers:
        for entry in rows[3:]:
            loggers.log(entry)
    assert curve(tmp_path, "training/loss") == [(step, float(step)) for step in range(1, 7)]
    # Without a checkpoint it begins anew.
    with Loggers(CONFIG, tmp_path) as loggers:
        loggers.log(rows[0])
    assert curve(tmp_path, "training/loss") == [(1, 1.0)]


def test_nothing_is_logged_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with Loggers(override(CONFIG, "log=[]"), tmp_path) as loggers:
        loggers.log(row(1, training_loss=1.0))
    assert list(tmp_path.iterdir()) == []


def test_the_option() -> None:
    assert resolve(Arguments()).log == ("tensorboard",)
    assert resolve(Arguments(log="none")).log == ()
    assert resolve(Arguments(log="tensorboard,wandb")).log == ("tensorboard", "wandb")
    config = resolve(Arguments(set=("log=[wandb]",)))
    assert config.log == ("wandb",)
    assert RunConfig.from_yaml(config.to_yaml()) == config
    with pytest.raises(UserError, match="log at 0 must be 'tensorboard' or 'wandb', not 1"):
        resolve(Arguments(set=("log=[1]",)))


@pytest.mark.parametrize(
    ("option", "missing", "message"),
    [
        ("paper", "", "log at 0 must be 'tensorboard' or 'wandb', not 'paper'"),
        ("tensorboard,wandb", "wandb", "`pip install 'lamour-jax[wandb]'`"),
        ("tensorboard", "tensorboardX", "`pip install tensorboardX`"),
    ],
)
def test_a_logger_that_is_missing_is_said_before_anything_happens(
    option: str,
    missing: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(command, "run_stage", lambda *_: pytest.fail("the run began"))
    assert main(["--log", option, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_of_that_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))  # and back again
    del sys.modules["wandb"]
    with pytest.raises(UserError, match="needs the package wandb"):
        require(["wandb"])


class StandIn(types.ModuleType):
    """Stands in for wandb's module: what is handed to it is kept."""

    Error = ValueError
    Settings = dict
    api = types.SimpleNamespace(api_key="a-key")

    def __init__(self) -> None:
        super().__init__("wandb")
        self.step = 0
        self.opened: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.refuses = False

    def init(self, **options: Any) -> StandIn:
        if self.refuses:
            raise self.Error("the service\ndoes not answer")
        self.opened.append(options)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))
        self.step = step + 1

    def finish(self) -> None:
        self.opened[-1]["finished"] = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return module


BOTH = override(CONFIG, "log=[tensorboard, wandb]")


def test_weights_and_biases_goes_on_with_the_same_run(wandb: StandIn, tmp_path: Path) -> None:
    with Loggers(BOTH, tmp_path) as loggers:
        for step in (1, 2, 3):
            loggers.log(row(step, training_loss=1.0))
    with Loggers(BOTH, tmp_path, [row(1, training_loss=1.0)]) as loggers:
        for step in (2, 3, 4):
            loggers.log(row(step, training_loss=1.0))
    assert [step for step, _ in wandb.logged] == [1, 2, 3, 4], "no step twice"
    assert wandb.logged[0][1] == {"training/loss": 1.0}
    first, second = wandb.opened
    assert first["id"] == second["id"]
    assert first["finished"]
    assert first["config"]["env"] == "half_cheetah"
    assert first["settings"]["console"] == "off", "the console is not copied to the service"


def test_weights_and_biases_that_cannot_be_used(
    wandb: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb, "api", types.SimpleNamespace(api_key=None))
    with pytest.raises(UserError, match="run `wandb login`, or set WANDB_MODE=offline"):
        require(["wandb"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    require(["wandb"])
    wandb.refuses = True
    before = set(threading.enumerate())
    with pytest.raises(UserError, match="^--log wandb: the service does not answer$"):
        Loggers(BOTH, tmp_path)
    # What was opened before it is closed again: TensorBoard's writer has a thread.
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if type(thread).__name__ == "_EventLoggerThread"]


def test_the_real_weights_and_biases_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    key = "0123456789abcdef" * 2 + "01234567"
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    require(["wandb"])
    folder = tmp_path / "run"
    folder.mkdir()
    with Loggers(override(CONFIG, "log=[wandb]"), folder) as loggers:
        loggers.log(row(64, training_loss=0.25))
    importlib.import_module("wandb").teardown()  # waits until everything is written
    [written] = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    assert b"training/loss" in content
    assert b"0.25" in content
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes()
    said = capfd.readouterr()
    assert key not in said.out + said.err
    assert said.out == ""
