"""A run's folder: new, writable, and nobody else's; what is written in it is whole and strict."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from lamour_jax.errors import UserError
from lamour_jax.run import folder as run_folder
from lamour_jax.run.folder import RunFolder


def test_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "b")
    assert [entry.name for entry in folder.path.iterdir()] == [".lock"]
    folder.release()
    assert list(folder.path.iterdir()) == []


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    RunFolder(tmp_path)


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="is not empty; give --out a new folder"):
        RunFolder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file, file / "below"):
        with pytest.raises(UserError, match="is a file; give --out a new folder"):
            RunFolder(path)
    assert file.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no place is unwritable for root here")
def test_unwritable_place_is_refused() -> None:
    with pytest.raises(UserError, match="/proc/lamour cannot be written: "):
        RunFolder(Path("/proc/lamour"))


def test_json_is_strict(tmp_path: Path) -> None:
    content = {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (1, -math.inf)}}
    RunFolder(tmp_path).write_json("result.json", content)

    def never(constant: str) -> None:
        raise AssertionError(constant)

    written = json.loads((tmp_path / "result.json").read_text(), parse_constant=never)
    assert written == {"a": None, "b": [None, 1.5], "c": {"d": [1, None]}}


def test_metrics_are_one_line_each(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append_metrics({"env_steps": 1, "loss": 0.5})
    folder.append_metrics({"env_steps": 2, "loss": math.nan})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"env_steps": 1, "loss": 0.5},
        {"env_steps": 2, "loss": None},
    ]


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_text("config.yaml", "old")

    def full_disk(self: Path, text: str, encoding: str) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        folder.write_text("config.yaml", "new")
    assert (tmp_path / "config.yaml").read_text() == "old"


def test_default_folders_name_the_robot_and_are_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [RunFolder.make_default("ant") for _ in range(3)]  # two of them in the same second
    assert len(set(paths)) == 3
    assert all(path.parent == Path("runs") and "-ant" in path.name for path in paths)


HOLDER = """
import sys, time
from pathlib import Path
from lamour_jax.run.folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.write_text("config.yaml", "")
print("held", flush=True)
time.sleep(600)
"""


def test_a_folder_has_one_process_until_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "run"
    command = [sys.executable, "-c", HOLDER, str(path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UserError) as raised:
            RunFolder.reopen(path)
        said = str(raised.value)
        assert f"the folder {path} is in use by process {holder.pid} on " in said
    finally:
        holder.kill()
        holder.wait()
    RunFolder.reopen(path).release()
    assert [entry.name for entry in path.iterdir()] == ["config.yaml"]


def of_two_processes(
    monkeypatch: pytest.MonkeyPatch, folder: RunFolder, index: int, said: list[str]
) -> None:
    """Lets `folder.share()` be called by one process of two; `said` is what the main one says."""
    monkeypatch.setattr(run_folder, "several", lambda: True)
    monkeypatch.setattr(run_folder, "is_main", lambda: index == 0)
    monkeypatch.setattr(run_folder, "from_main", lambda text: said.pop(0) if said else text)
    monkeypatch.setattr(run_folder, "on_any", lambda *flags: flags)
    monkeypatch.setattr(run_folder, "_APPEARS_WITHIN", 0.2)
    folder.share()


def test_the_main_process_shares_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = RunFolder(tmp_path / "run")
    main.write_text("reward.py", "code")
    main.write_text("result.json", "not for others")
    follower = RunFolder.follow(main.path)
    (main.path / ".token.partial").touch()
    of_two_processes(monkeypatch, follower, 1, ["token", '{"reward.py": "code"}'])
    assert (follower.path / "reward.py").read_text() == "code"
    (main.path / ".token.partial").unlink()
    of_two_processes(monkeypatch, main, 0, [])
    assert {file.name for file in main.path.iterdir()} == {".lock", "reward.py", "result.json"}


def test_processes_that_do_not_see_one_folder_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = RunFolder.follow(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not every process of this run sees the folder"):
        of_two_processes(monkeypatch, follower, 1, ["token", "{}"])
