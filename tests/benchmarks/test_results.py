"""The tables of results: the page that is made from them, and rows that are added."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.results import FACTS, FOLDER, SUBJECTS, command_line, keep, page, read


def test_the_page_is_made_of_the_tables() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert text == page(), "run: python -m benchmarks.results"
    assert {file.stem for file in FOLDER.glob("*.csv")} == set(SUBJECTS)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_row_says_where_it_comes_from(subject: str) -> None:
    rows = read(subject)
    assert set(SUBJECTS[subject].key) <= set(rows[0])
    assert all(row[fact] for row in rows for fact in FACTS)


def test_what_is_measured_again_takes_the_place_of_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in FOLDER.iterdir():
        shutil.copy(file, tmp_path)
    measured = {"robot": "dog", "axis": "environments", "num_envs": 16, "training_ms": 12.345678}
    kept = dict.fromkeys(FACTS, "known") | {"command": "python -m benchmarks.scaling --env dog"}
    monkeypatch.setattr(results, "facts", lambda command: kept | {"command": command})
    for milliseconds in (12.345678, 9.0):
        row = measured | {"training_ms": milliseconds, "no_such_column": 1.0}
        keep("scaling", [row], kept["command"], tmp_path)
    *_, former, latter = read("scaling", tmp_path)
    assert (former["training_ms"], latter["training_ms"]) == ("12.3457", "9")
    assert "no_such_column" not in latter
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert kept["command"] in text
    assert (
        "| dog | environments | 16 | 9 |" in text and "12.3" not in text.split(kept["command"])[1]
    )


def test_a_command_is_kept_without_where_it_writes() -> None:
    given = ["--env", "ant", "--out", "there.csv", "--keep"]
    assert command_line("benchmarks.scaling", given) == "python -m benchmarks.scaling --env ant"
    assert command_line("b", ["--out", "a b"], where=True) == "python -m b --out 'a b'"
